"""Mask R-CNN from picture to full-resolution masks: ours against torchvision's several forms.

    python benchmarks/peers.py

The same weights, picture and number of detections in every row, interleaved A B C A B C in one
run. torchvision's export is timed whole, and in its strong form: cut before the Loop that pastes
masks, which OpenCV then does. Needs torchvision and OpenVINO: run it in the environment of
`make parity`.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Annotated, Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import openvino
import torch
import torchvision
import typer
from onnx import AttributeProto, helper
from rich.progress import Progress
from rich.table import Table
from torch import nn

from benchmarks.peer_networks import network, to_tensor
from engine import OptionError, Segmenter
from engine.picture import Picture, read_picture
from export.checkpoints.recognize import read_network
from export.detector_graph import make_card, trace
from export.model_file import save_onnx, set_card
from export.training.scenes import draw_scene
from maskrt.console import console, run_script

NAME = "maskrcnn_resnet50_fpn"
MASK = 28
Call = Callable[[], Any]


def main(
    picture: Annotated[
        Path | None, typer.Option(help="A picture; left out: a drawn scene of 640 x 480.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Timed runs of each, after one to warm up.")] = 7,
    only: Annotated[str, typer.Option(help="Rows whose name has one of these, by comma.")] = "",
) -> None:
    """Time all forms."""
    if rounds < 1:
        raise OptionError(f"--rounds is {rounds}; give 1 or more")
    pixels = scene() if picture is None else read_picture(picture)
    with console.status("weights that behave like trained ones, and exports"):
        model = network(NAME, [pixels])
        with tempfile.TemporaryDirectory() as folder:
            calls = dict(_forms(model, pixels, Path(folder)))
    chosen = [part.strip() for part in only.split(",") if part.strip()]
    calls = {k: v for k, v in calls.items() if not chosen or any(part in k for part in chosen)}
    times: dict[str, list[float]] = {name: [] for name in calls}
    with Progress(console=console) as progress, torch.inference_mode():
        task = progress.add_task("rounds", total=rounds + 1)
        for number in range(rounds + 1):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if number:
                    times[name].append(time.perf_counter() - start)
            progress.advance(task)
    console.print(_table(times, pixels, rounds))


def scene() -> Picture:
    """The picture of 640 x 480, drawn."""
    drawn = draw_scene(np.random.default_rng(3), 640).picture
    return np.ascontiguousarray(drawn[80:560])


def _forms(model: nn.Module, pixels: Picture, folder: Path) -> Iterator[tuple[str, Call]]:
    """Name and call of each form; a call gives full-resolution masks."""
    tensor = to_tensor(pixels)
    array = tensor.numpy()
    yield "torchvision, eager", lambda: model([tensor])
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    yield "torchvision, eager, channels last", lambda: last([tensor])
    # Compiled by its first call, in the round that is not timed; it needs a C++ compiler.
    compiled = torch.compile(copy.deepcopy(model))
    yield "torchvision, torch.compile", lambda: compiled([tensor])

    whole, cut = folder / "whole.onnx", folder / "cut.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, ([tensor],), whole, opset_version=18, dynamo=False, input_names=["image"],
            dynamic_axes={"image": {1: "h", 2: "w"}},
        )  # fmt: skip
    onnx.save(_cut(onnx.load(whole)), cut)

    options = ort.SessionOptions()
    options.log_severity_level = 3
    size = pixels.shape[:2]
    sessions = [ort.InferenceSession(path, options) for path in (whole, cut)]
    yield "its export, onnxruntime", lambda: sessions[0].run(None, {"image": array})
    yield (
        "its export cut + cv2 paste, onnxruntime",
        lambda: _paste(sessions[1].run(None, {"image": array}), size),
    )
    core = openvino.Core()
    for hint in ("f32", "bf16"):
        settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        first, second = (
            core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
            for path in (whole, cut)
        )
        yield f"its export, OpenVINO {hint}", _infer(first, array)
        yield f"its export cut + cv2 paste, OpenVINO {hint}", _infer(second, array, size)

    checkpoint, ours = folder / "weights.pth", folder / "ours.onnx"
    torch.save(model.state_dict(), checkpoint)
    rcnn = read_network(checkpoint)
    graph = trace(rcnn)  # type: ignore[arg-type]
    set_card(graph, make_card(rcnn))  # type: ignore[arg-type]
    save_onnx(graph, ours)
    for name, settings in (
        ("onnxruntime", {}),
        ("OpenVINO f32", {"backend": "openvino"}),
        ("OpenVINO bf16", {"backend": "openvino", "precision": "bf16"}),
    ):
        yield f"MaskRT, {name}", _segment(Segmenter(ours, **settings), pixels)


def _segment(segmenter: Segmenter, pixels: Picture) -> Call:
    return lambda: segmenter(pixels).masks


def _infer(request: Any, array: np.ndarray, size: tuple[int, int] | None = None) -> Call:
    def call() -> Any:
        outputs = list(request.infer([array]).values())
        return outputs if size is None else _paste(outputs, size)

    return call


def _cut(model: onnx.ModelProto) -> onnx.ModelProto:
    """The export up to the small masks: what its paste Loop reads."""
    graph = model.graph
    producers = {output: node for node in graph.node for output in node.output}
    # From the masks' probabilities on, until something pads them: that is pasting.
    masks = [node for node in graph.node if node.op_type == "Sigmoid"][-1].output[0]
    while True:
        readers = [n for n in graph.node if masks in n.input and n.op_type != "Shape"]
        if not readers or readers[0].op_type in ("Pad", "Loop"):
            break
        masks = readers[0].output[0]
    del graph.output[3]
    graph.output.append(
        helper.make_tensor_value_info(masks, onnx.TensorProto.FLOAT, ["n", 1, MASK, MASK])
    )
    needed, kept = [output.name for output in graph.output], set()
    while needed:
        node = producers.get(needed.pop())
        if node is not None and id(node) not in kept:
            kept.add(id(node))
            needed.extend([*node.input, *_outer(node)])
    nodes = [node for node in graph.node if id(node) in kept]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _outer(node: onnx.NodeProto) -> set[str]:
    """Names that a node's bodies read."""
    found: set[str] = set()
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            for inner in attribute.g.node:
                found |= set(inner.input) | _outer(inner)
            found |= {output.name for output in attribute.g.output}
    return found


def _paste(outputs: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """What a competent user would do: one cv2.resize for each box."""
    boxes = next(x for x in outputs if x.ndim == 2)
    small = next(x for x in outputs if x.ndim == 4)[:, 0]
    masks = np.zeros((len(boxes), *size), bool)
    for mask, values, box in zip(masks, small, boxes, strict=True):
        x0, y0 = np.floor(box[:2]).astype(int)
        x1, y1 = np.ceil(box[2:]).astype(int)
        shape = (max(x1 - x0, 1), max(y1 - y0, 1))
        part = cv2.resize(values, shape, interpolation=cv2.INTER_LINEAR) > 0.5
        mask[y0:y1, x0:x1] = part[: size[0] - y0, : size[1] - x0]
    return masks


def _table(times: dict[str, list[float]], pixels: Picture, rounds: int) -> Table:
    """Medians, and medians of the ratios round by round."""
    height, width = pixels.shape[:2]
    table = Table(
        title=f"Mask R-CNN R50-FPN, {width} x {height} resized to 800, picture in, masks out; "
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, onnxruntime "
        f"{ort.__version__}, OpenVINO {openvino.__version__.split('-')[0]}; median of {rounds}"
    )
    ours = [name for name in times if name.startswith("MaskRT")]
    for column in ("", "ms", *(f"to {name.removeprefix('MaskRT, ')}" for name in ours)):
        table.add_column(column, justify="left" if not column else "right")
    for name, values in times.items():
        ratios = [median(a / b for a, b in zip(values, times[k], strict=True)) for k in ours]
        table.add_row(name, f"{1000 * median(values):.0f}", *(f"{r:.2f}" for r in ratios))
    return table


if __name__ == "__main__":
    run_script(main)
