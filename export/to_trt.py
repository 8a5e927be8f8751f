"""An exported ONNX file to a strongly typed TensorRT plan, its card beside it.

    python export/to_trt.py MODEL.onnx --backend rtx --output FILE

Also `maskrt build`. The builder of TensorRT for RTX needs no GPU.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
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

import plugins
from engine import Segmenter
from engine.card import Card, InstanceCard
from engine.errors import OptionError
from engine.files import write_aside
from engine.fit import fitted_size
from engine.picture import Picture, read_picture
from export import rtx
from export.detector_parity import compare_detections
from export.graph import read_onnx, save_onnx, set_card
from export.precision import to_half
from export.tensorrt_graph import for_tensorrt
from export.verify import check_parity, noise
from maskrt.console import console
from plugins import library


class Target(str, Enum):
    """What builds the plan."""

    rtx = "rtx"


class Operators(str, Enum):
    """How PyramidRoiAlign and BatchedNms are computed."""

    auto = "auto"
    plugins = "plugins"
    bodies = "bodies"


class Precision(str, Enum):
    """What the layers that carry the work compute in."""

    fp16 = "fp16"
    fp32 = "fp32"


def main(
    model: Annotated[Path, typer.Argument(help="An ONNX file from to_onnx.py.")],
    output: Annotated[Path, typer.Option(help="The plan to write; the card goes to FILE.json.")],
    backend: Annotated[Target, typer.Option(help="The builder.")] = Target.rtx,
    precision: Annotated[Precision, typer.Option()] = Precision.fp16,
    operators: Annotated[
        Operators,
        typer.Option(help="Our operators as plugins (auto: where they are compiled) or bodies."),
    ] = Operators.auto,
    smallest: Annotated[str | None, typer.Option("--min", help="Smallest input, HxW.")] = None,
    usual: Annotated[str | None, typer.Option("--opt", help="Input to be fastest at.")] = None,
    largest: Annotated[str | None, typer.Option("--max", help="Largest input.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Picture for the parity report; left out: noise.")
    ] = None,
) -> None:
    """Compile an exported model; fp16 parity is measured on onnxruntime before."""
    graph, card = read_onnx(model)
    profile = _profile(card, smallest, usual, largest)
    sample = noise() if picture is None else read_picture(picture)
    trt = rtx.load_builder()  # before the work, not after it
    with_plugins = _uses_plugins(graph, operators)
    if with_plugins:
        plugins.load(trt)
    if precision is Precision.fp16:
        graph, card = _typed(graph, card, model, sample)

    start = time.perf_counter()
    with Progress(console=console) as progress:
        plan = rtx.build(for_tensorrt(graph, with_plugins=with_plugins), profile, progress)
    seconds = time.perf_counter() - start
    sizes = (profile.smallest, profile.usual, profile.largest)
    card = replace(
        card,
        runtime={
            "flavour": f"tensorrt-{backend.value}",
            "version": plan.version,
            "operators": "plugins" if with_plugins else "bodies",
            **{key: f"{h}x{w}" for key, (h, w) in zip(("min", "opt", "max"), sizes, strict=True)},
        },
        plan_sha256=hashlib.sha256(plan.data).hexdigest(),
    )
    with write_aside(output) as aside, write_aside(Path(f"{output}.json")) as beside:
        aside.write_bytes(plan.data)
        beside.write_text(card.to_json(indent=2) + "\n")
    console.print(
        f"wrote {output} ({len(plan.data) / 1e6:.1f} MB, {precision.value}, TensorRT-RTX "
        f"{plan.version}, {seconds:.1f} s) and {output}.json; built, not executed: running it "
        "needs a GPU"
    )


def _uses_plugins(graph: onnx.ModelProto, operators: Operators) -> bool:
    if not any(node.op_type in library.OPERATORS for node in graph.graph.node):
        return False
    if operators is Operators.auto:
        return library.find() is not None
    return operators is Operators.plugins


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
            names = "fp32", "fp16 (typed graph on onnxruntime)"
            if isinstance(card, InstanceCard):
                found = compare_detections(reference, typed, sample)
                console.print(found.table(*names))
                found.require(matched=0.9, score=0.1, masks=0.95)
            else:
                windows = check_parity(reference.backend, typed.backend, sample)
                console.print(windows.table(*names))
                windows.require(score=0.05, mask=0.1, same_windows=0.95)
    return half, card


def _profile(
    card: Card, smallest: str | None, usual: str | None, largest: str | None
) -> rtx.Profile:
    """Sizes as the user gives them; what is left out is as the model wants it."""
    defaults = ((1, 1), (480, 640), (2048, 2048))
    fits = isinstance(card, InstanceCard) and card.framework == "torchvision" and not card.canvas
    if isinstance(card, InstanceCard):
        if card.canvas:
            canvas = card.canvas[0], card.canvas[1]
            defaults = (canvas, canvas, canvas)
        elif fits:
            defaults = ((32, 32), (480, 640), (2160, 3840))
        else:  # a picture comes in resized
            side = card.largest_side
            defaults = ((32, 32), fitted_size(480, 640, card), (side, side))
    sizes = []
    for option, text, default in zip(
        ("--min", "--opt", "--max"), (smallest, usual, largest), defaults, strict=True
    ):
        height, _, width = (text or "").partition("x")
        if text is not None and not (height.isdecimal() and width.isdecimal()):
            raise OptionError(f"{option} is {text!r}; give height x width, like 480x640")
        sizes.append(default if text is None else (int(height), int(width)))
        if 0 in sizes[-1]:
            raise OptionError(f"{option} is {text!r}; give sides of 1 or more")
    if any(not a <= b <= c for a, b, c in zip(*sizes, strict=True)):
        raise OptionError(f"--min, --opt and --max are {sizes} and do not rise; swap them")
    if not fits:
        return rtx.Profile(*sizes)
    assert isinstance(card, InstanceCard)
    side = card.largest_side
    fitted = ((32, 32), fitted_size(*sizes[1], card), (side, side))
    return rtx.Profile(*sizes, fitted=fitted)
