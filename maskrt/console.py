"""Where errors become text and an exit code, for every command and script alike."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence

import typer
from rich.console import Console

from engine.errors import MaskRTError

console = Console(highlight=False)
"""For what a command has to say; results for other programs go to files."""


def run(app: typer.Typer, arguments: Sequence[str], name: str = "maskrt") -> None:
    """Run a typer app as the program of this name.

    An error of our own family is one line on stderr and exit code 1; Ctrl-C is 130; anything
    else is a bug and keeps its traceback. What the terminal has no letters for is shown escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=list(arguments), prog_name=name)
    except MaskRTError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def run_script(command: Callable[..., None]) -> None:
    """Run a function as the script that was started: `python benchmarks/NAME.py` in its help."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    run(app, sys.argv[1:], f"python {sys.argv[0]}")
