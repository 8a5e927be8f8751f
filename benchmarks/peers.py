"""Mask R-CNN from picture to full-resolution masks: ours against torchvision's several forms.

    python benchmarks/peers.py --images FOLDER --rounds 9 --json out/peers.json

The same weights, pictures and number of detections in every row, by the turns of the latency
harness (A B C, C B A) in one process; ratios are pair by pair, with intervals. What each form finds
is compared with what the first one does before anything is timed. torchvision's export is timed
whole, and in its strong form: cut before the Loop that pastes masks, which OpenCV then does. Its
sessions are onnxruntime's own default but for one thing: their threads stop spinning when a call
ends, as they would take the next form's core.

The weights are random ones that behave like trained ones on the first pictures. The JSON is
docs/latency-report.md's. A picture or form that does not work is told, the others go on, and the
exit code is 1. Needs torchvision and OpenVINO: run it in the environment of `make parity`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

try:
    import numpy as np
    import torch
    import typer
    from rich.padding import Padding
    from rich.progress import Progress
    from rich.text import Text

    from benchmarks.harness.contestants import told
    from benchmarks.harness.report import write
    from benchmarks.harness.tables import legend, surroundings
    from benchmarks.peer_forms import forms
    from benchmarks.peer_networks import network
    from benchmarks.peer_report import Contest, Form, table
    from engine import OptionError, PictureError
    from engine.files import check_writable
    from engine.picture import Picture, read_picture
    from export.training.scenes import draw_scene
    from maskrt.console import console, run_script
    from maskrt.inputs import files
except ModuleNotFoundError as error:
    sys.exit(
        f"error: the package {error.name} is not installed here; run `make parity` once and use "
        ".venv-parity/bin/python"
    )

NAME = "maskrcnn_resnet50_fpn"
SETTLED = 4
"""Pictures that the weights are settled on: they go through the network together."""


def main(
    images: Annotated[
        str | None,
        typer.Option(
            "--images", "--picture",
            help="A picture, a folder or a pattern; left out: a drawn scene of 640 x 480.",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(help="Timed runs of each on each picture, after those to warm up.")
    ] = 7,
    only: Annotated[str, typer.Option(help="Rows whose name has one of these, by comma.")] = "",
    output: Annotated[
        Path | None, typer.Option("--json", help="Write the report and every call's time there.")
    ] = None,
) -> None:  # fmt: skip
    """Time all forms."""
    if rounds < 1:
        raise OptionError(f"--rounds is {rounds}; give 1 or more")
    if output is not None:
        check_writable(output)
    pictures, left_out = ({"drawn scene": scene()}, []) if images is None else read(images)
    contest = Contest(NAME, list(pictures), rounds, sys.argv[1:])
    for why in left_out:
        contest.fail(why)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        with console.status("weights that behave like trained ones"):
            model = network(NAME, list(pictures.values())[:SETTLED])
        chosen = wanted(list(forms(model, list(pictures.values()), Path(folder))), only)
        _measure(contest, chosen)
    if output is not None:  # first: whatever the terminal does, the file is there
        write(contest.report, output)
    _tell(contest, list(pictures.values()))
    if output is not None:
        console.print(f"wrote {output}", markup=False)
    if contest.report["interrupted"]:
        raise typer.Exit(130)
    if contest.report["errors"]:
        raise typer.Exit(1)


def scene() -> Picture:
    """The picture of 640 x 480, drawn."""
    drawn = draw_scene(np.random.default_rng(3), 640).picture
    return np.ascontiguousarray(drawn[80:560])


def read(images: str) -> tuple[dict[str, Picture], list[str]]:
    """Pictures by name, all in memory, and why those that are left out cannot be read.

    Args:
        images: a picture, a folder or a pattern.

    Raises:
        OptionError: there are none, or it is a video.
        PictureError: none can be read.
    """
    found = files(images)
    pictures, left_out = {}, []
    for name, file in found.items():
        try:
            pictures[name] = read_picture(file)
        except PictureError as error:
            left_out.append(str(error))
    if not pictures:
        raise PictureError(f"none of {len(found)} pictures can be read: {left_out[0]}")
    return pictures, left_out


def wanted(every: list[Form], only: str) -> list[Form]:
    """The forms whose name has one of some words.

    Args:
        every: all forms.
        only: words, by comma; empty for all.

    Raises:
        OptionError: there are none.
    """
    words = [word.strip() for word in only.split(",") if word.strip()]
    chosen = [form for form in every if not words or any(word in form.name for word in words)]
    if not chosen:
        raise OptionError(
            f"--only is {only!r}, which is in no row's name: {'; '.join(f.name for f in every)}"
        )
    return chosen


def _measure(contest: Contest, chosen: list[Form]) -> None:
    """Open and time them. Ctrl-C ends the measurement and not the report."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("opening", total=len(chosen))
        try:
            for form in chosen:
                progress.update(task, description=f"opening {form.name}")
                contest.open(form)
                progress.advance(task)
            progress.update(task, description="timing", completed=0, total=1)
            contest.run(lambda share: progress.update(task, completed=share))
        except KeyboardInterrupt:
            contest.report["interrupted"] = True
            contest.fail("stopped before the end: this is what had been measured until then")


def _tell(contest: Contest, pictures: list[Picture]) -> None:
    """The forms, the table, the machine, and what went wrong."""
    for letter, name, about in legend(contest.report):
        console.print(Text.assemble((f"{letter} {name}", "bold")))
        console.print(Padding(Text(about, "dim"), (0, 0, 0, 2)))
    height, width = pictures[0].shape[:2]
    size = f"{width} x {height}" if len(pictures) == 1 else f"{len(pictures)} pictures"
    console.print(
        table(contest.report, f"Mask R-CNN R50-FPN, {size} resized to 800, picture in, masks out")
    )
    for name, said in surroundings(contest.report):
        console.print(Text.assemble((f"{name} ", "bold"), said))
    for error in contest.report["errors"]:
        console.print(Text.assemble(("error: ", "bold red"), told(error)))


if __name__ == "__main__":
    run_script(main)
