"""The `maskrt` command: one subcommand for each step of the way.

A subcommand's module is imported when it is the one asked for: `maskrt segment` must not wait for
torch, and an edge device has none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple


class Command(NamedTuple):
    """Where a subcommand is, what `maskrt --help` says of it, and the extra that it needs."""

    module: str
    function: str
    help: str
    extra: str


COMMANDS = {
    "segment": Command("maskrt.segment", "segment", "Find the objects of a picture.", "viz"),
    "export": Command("export.to_onnx", "main", "A checkpoint to an ONNX file.", "export"),
    "build": Command("export.to_trt", "main", "An ONNX file to a TensorRT plan.", "build"),
    "inspect": Command(
        "maskrt.inspect", "inspect", "What a model is, and whether it runs here.", "cli"
    ),
    "verify": Command("maskrt.verify", "verify", "Do two models agree on pictures?", "cli"),
    "train": Command("export.train", "main", "Train a DeepMask.", "export"),
    "demo": Command("maskrt.demo", "demo", "Export, build and segment a photo.", "export,rtx,viz"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; `arguments` are sys.argv's without the program by default."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        import typer
    except ImportError:
        sys.exit("error: the maskrt command needs typer and rich; pip install 'maskrt[cli]'")
    from maskrt.console import run

    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Trained segmentation models in, a lean runtime out.",
    )
    asked = arguments[0] if arguments else None
    for name, command in COMMANDS.items():
        function = _load(name, command) if name == asked else _named(command)
        app.command(name, help=None if name == asked else command.help)(function)
    run(app, arguments)


def _load(name: str, command: Command) -> Callable[..., Any]:
    try:
        return getattr(import_module(command.module), command.function)  # type: ignore[no-any-return]
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("engine", "export", "maskrt"):
            raise
        sys.exit(
            f"error: maskrt {name} needs the package {error.name}, which is not installed; "
            f"pip install 'maskrt[{command.extra}]'"
        )


def _named(command: Command) -> Callable[[], None]:
    """A function that stands for a command that was not asked for."""

    def stand_in() -> None:
        raise AssertionError(command.module)

    return stand_in


if __name__ == "__main__":
    main()
