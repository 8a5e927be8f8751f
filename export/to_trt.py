"""An exported ONNX file to a strongly typed TensorRT plan, its card beside it.

    python export/to_trt.py MODEL.onnx --backend rtx --output FILE

Also `maskrt build`. The builder of TensorRT for RTX needs no GPU.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":
    # As a script, sys.path[0] is this folder, where nothing of the project can be imported.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from maskrt.cli import main as command

    command(["build", *sys.argv[1:]])

import onnx
import typer
from rich.progress import Progress

from engine import Segmenter
from engine.card import Card
from engine.errors import OptionError
from engine.files import write_aside
from engine.picture import Picture, read_picture
from export import rtx
from export.graph import read_onnx, save_onnx, set_card
from export.precision import to_half, without_row_cuts
from export.verify import check_parity, noise
from maskrt.console import console


class Target(str, Enum):
    """What builds the plan."""

    rtx = "rtx"


class Precision(str, Enum):
    """What the layers that carry the work compute in."""

    fp16 = "fp16"
    fp32 = "fp32"


def main(
    model: Annotated[Path, typer.Argument(help="An ONNX file from to_onnx.py.")],
    output: Annotated[Path, typer.Option(help="The plan to write; the card goes to FILE.json.")],
    backend: Annotated[Target, typer.Option(help="The builder.")] = Target.rtx,
    precision: Annotated[Precision, typer.Option()] = Precision.fp16,
    smallest: Annotated[str, typer.Option("--min", help="Smallest level, HxW.")] = "1x1",
    usual: Annotated[str, typer.Option("--opt", help="Level to be fastest at.")] = "480x640",
    largest: Annotated[str, typer.Option("--max", help="Largest level.")] = "2048x2048",
    picture: Annotated[
        Path | None, typer.Option(help="Picture for the parity report; left out: noise.")
    ] = None,
) -> None:
    """Compile an exported model; fp16 parity is measured on onnxruntime before."""
    profile = _profile(smallest, usual, largest)
    sample = noise() if picture is None else read_picture(picture)
    graph, card = read_onnx(model)
    rtx.load_builder()  # before the work, not after it
    if precision is Precision.fp16:
        graph, card = _typed(graph, card, model, sample)

    with Progress(console=console) as progress:
        plan = rtx.build(without_row_cuts(graph), profile, progress)
    card = replace(
        card,
        runtime={
            "flavour": f"tensorrt-{backend.value}",
            "version": plan.version,
            "min": smallest,
            "opt": usual,
            "max": largest,
        },
        plan_sha256=hashlib.sha256(plan.data).hexdigest(),
    )
    with write_aside(output) as aside, write_aside(Path(f"{output}.json")) as beside:
        aside.write_bytes(plan.data)
        beside.write_text(card.to_json(indent=2) + "\n")
    console.print(
        f"wrote {output} ({len(plan.data) / 1e6:.1f} MB, {precision.value}, TensorRT-RTX "
        f"{plan.version}) and {output}.json; built, not executed: running it needs a GPU"
    )


def _typed(
    graph: onnx.ModelProto, card: Card, model: Path, sample: Picture
) -> tuple[onnx.ModelProto, Card]:
    """The graph in fp16 and its card, after the parity report on onnxruntime."""
    half, report = to_half(graph)
    card = replace(card, precision="fp16")
    set_card(half, card)
    console.print(f"{report.half_nodes} layers in fp16, {len(report.islands)} kept in fp32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "typed.onnx"
        save_onnx(half, path)
        with Segmenter(model) as reference, Segmenter(path) as typed:
            parity = check_parity(reference.backend, typed.backend, sample)
    console.print(parity.table("fp32", "fp16 (typed graph on onnxruntime)"))
    parity.require(score=0.05, mask=0.1, same_windows=0.95)
    return half, card


def _profile(smallest: str, usual: str, largest: str) -> rtx.Profile:
    sizes = []
    for option, text in (("--min", smallest), ("--opt", usual), ("--max", largest)):
        height, _, width = text.partition("x")
        if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
            raise OptionError(f"{option} is {text!r}; give height x width, like 480x640")
        sizes.append((int(height), int(width)))
    if any(not a <= b <= c for a, b, c in zip(*sizes, strict=True)):
        raise OptionError(f"--min {smallest} --opt {usual} --max {largest} do not rise; swap them")
    return rtx.Profile(*sizes)
