"""What a picture takes, from its file to its masks, and where that time goes.

    python benchmarks/latency.py out/demo/deepmask_small.onnx
    python benchmarks/latency.py A.onnx A.onnx@openvino,bf16 --html FILE

Each model runs in a process of its own, by turns of some tenths of a second: A B, B A, A B. The
scenarios are MLPerf's; docs/latency-report.md describes the report.
"""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

try:
    import typer

    from benchmarks.harness import baseline, markdown, page, report, terminal
    from benchmarks.harness.contestants import parse
    from benchmarks.harness.run import Settings, run_all
    from benchmarks.harness.scenarios import SCENARIOS
    from engine.errors import MaskRTError, OptionError
    from engine.files import check_writable
    from maskrt.console import console, run_script
except ModuleNotFoundError as error:
    sys.exit(f"error: the package {error.name} is not installed; pip install 'maskrt[bench]'")

PHOTO = Path(__file__).resolve().parent.parent / "maskrt" / "data" / "coins.png"
Scenario = Enum("Scenario", {name.replace(" ", "_"): name.replace(" ", "-") for name in SCENARIOS})  # type: ignore[misc]


class Output(str, Enum):
    """What is made of the masks."""

    rle = "rle"
    bitmaps = "bitmaps"
    none = "none"


def main(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Model files; MODEL@openvino,bf16, or @name=value of backend, device, threads, "
            "precision or commit (whose runtime is run)."
        ),
    ],
    images: Annotated[str, typer.Option(help="A picture, a folder or a pattern.")] = str(PHOTO),
    scenario: Annotated[
        list[Scenario] | None, typer.Option(help="Several times for several; all if left out.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of each model in each scenario.")] = 10.0,
    count: Annotated[int | None, typer.Option(help="Queries, in place of seconds.")] = None,
    streams: Annotated[int, typer.Option(help="Pictures at once, in multi-stream.")] = 4,
    rate: Annotated[float, typer.Option(help="Pictures a second, in server.")] = 30.0,
    output: Annotated[Output, typer.Option(help="What is made of the masks.")] = Output.rle,
    score_threshold: Annotated[
        float | None, typer.Option(help="Results score at least this; None: the model's own.")
    ] = None,
    warm_up: Annotated[float, typer.Option(help="Seconds of warming up, at most.")] = 30.0,
    to_json: Annotated[Path | None, typer.Option("--json", help="Write the report there.")] = None,
    to_html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots there.")
    ] = None,
    to_markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write the tables there.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--baseline", help="Fail if slower than this older report.")
    ] = None,
    allowed: Annotated[float, typer.Option(help="Times as long as in the baseline.")] = 1.1,
    any_machine: Annotated[
        bool, typer.Option("--any-machine", help="Take a baseline of another machine too.")
    ] = False,
) -> None:
    """Measure latency and throughput of models, backends, precisions or commits."""
    _check(
        seconds=seconds, count=count, streams=streams, rate=rate, allowed=allowed,
        warm_up=warm_up,
    )  # fmt: skip
    if score_threshold is not None and not 0 <= score_threshold <= 1:
        raise OptionError(f"--score-threshold is {score_threshold}; give a number from 0 to 1")
    contestants = parse(models)
    for path in filter(None, (to_json, to_markdown, to_html)):
        check_writable(path)
    older = baseline.read(against) if against is not None else None
    chosen = {one.value.replace("-", " ") for one in scenario or ()}
    settings = Settings(
        scenarios=[name for name in SCENARIOS if not chosen or name in chosen],
        images=images, seconds=seconds, count=count, streams=streams, rate=rate,
        output=output.value, score_threshold=score_threshold, warm_up=warm_up,
    )  # fmt: skip
    measured = run_all(contestants, settings, sys.argv[1:], console)
    failed = bool(measured["errors"])
    for path, write in (
        (to_json, report.write),
        (to_markdown, markdown.write),
        (to_html, page.write),
    ):
        if path is not None:
            try:
                write(measured, path)
            except MaskRTError as error:  # the other reports still come
                print(f"error: {error}", file=sys.stderr)
                failed = True
    terminal.show(measured, console)  # last: whatever the terminal does, the files are there
    if older is not None:
        judged = baseline.judge(older, measured, allowed, any_machine=any_machine)
        for line in judged.warnings:
            console.print(f"warning: {line}", markup=False)
        for line in judged.breaches:
            print(f"error: {line}", file=sys.stderr)
        failed |= bool(judged.breaches)
    if measured["interrupted"]:
        raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)


def _check(**options: float | None) -> None:
    """Refuse what cannot be measured, before anything is.

    Raises:
        OptionError: an option that is not above 0.
    """
    for name, value in options.items():
        if value is not None and not 0 < value < float("inf"):
            raise OptionError(
                f"--{name.replace('_', '-')} is {value}; give a finite number above 0"
            )


if __name__ == "__main__":
    run_script(main)
