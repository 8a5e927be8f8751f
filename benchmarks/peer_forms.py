"""The forms that a torchvision Mask R-CNN comes in, and ours, with the same weights.

What is torchvision's gets its input ready made (float, RGB, planes), ours the picture. What a form
does before and after its network is its own affair and is in the stage "network", except where
OpenCV pastes the masks: that is "paste".
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import openvino
import torch
from onnx import AttributeProto, helper
from torch import nn

from benchmarks.harness.answers import Answer
from benchmarks.peer_networks import to_tensor
from benchmarks.peer_report import OURS, Form, Opened
from engine import Segmenter
from engine.picture import Picture
from engine.stages import stage
from export.checkpoints.recognize import read_network
from export.detector_graph import make_card, trace
from export.model_file import save_onnx, set_card

MASK = 28
Run = Callable[[np.ndarray], list[np.ndarray]]
"""An exported network: boxes, labels, scores and masks of a float picture."""


class Exports:
    """The network's files, each made when it is first asked for.

    Args:
        model: torchvision's.
        example: the picture that it is traced with, float [3, H, W].
        folder: where the files go.
    """

    def __init__(self, model: nn.Module, example: torch.Tensor, folder: Path) -> None:
        self._model, self._example, self._folder = model, example, folder

    @cached_property
    def whole(self) -> Path:
        """The export by torchvision and torch, for pictures of any size."""
        path = self._folder / "whole.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self._model, ([self._example],), path, opset_version=18, dynamo=False,
                input_names=["image"], dynamic_axes={"image": {1: "h", 2: "w"}},
            )  # fmt: skip
        return path

    @cached_property
    def cut(self) -> Path:
        """The same without the Loop that pastes masks."""
        path = self._folder / "cut.onnx"
        onnx.save(_cut(onnx.load(self.whole)), path)
        return path

    @cached_property
    def ours(self) -> Path:
        """Our export of the same weights."""
        checkpoint, path = self._folder / "weights.pth", self._folder / "ours.onnx"
        torch.save(self._model.state_dict(), checkpoint)
        rcnn = read_network(checkpoint)
        graph = trace(rcnn)  # type: ignore[arg-type]
        set_card(graph, make_card(rcnn))  # type: ignore[arg-type]
        save_onnx(graph, path)
        return path


def forms(model: nn.Module, pictures: Sequence[Picture], folder: Path) -> Iterator[Form]:
    """All of them, not yet open.

    Args:
        model: torchvision's Mask R-CNN, evaluating.
        pictures: uint8 [H, W, 3] BGR.
        folder: for files; it has to be there while forms are open.
    """
    tensors = [to_tensor(picture) for picture in pictures]
    sizes = [picture.shape[:2] for picture in pictures]
    files = Exports(model, tensors[0], folder)

    def eager(make: Callable[[], Callable[..., Any]]) -> Callable[[], Opened]:
        return lambda: _eager(make(), tensors)

    def exported(load: Callable[[Path], Run], paste: bool) -> Callable[[], Opened]:
        def opened() -> Opened:
            path = files.cut if paste else files.whole
            return _exported(load(path), path, tensors, sizes if paste else None)

        return opened

    yield Form("torchvision, eager", "torch cpu", eager(lambda: model))
    last = {"memory_format": torch.channels_last}
    yield Form(
        "torchvision, eager, channels last", "torch cpu",
        eager(lambda: copy.deepcopy(model).to(**last)),
    )  # fmt: skip
    # Compiled by its first call, before anything is timed; it needs a C++ compiler.
    yield Form(
        "torchvision, torch.compile", "torch.compile cpu",
        eager(lambda: torch.compile(copy.deepcopy(model))),
    )  # fmt: skip
    hints = {"f32": "fp32", "bf16": "bf16"}
    loaders = {"onnxruntime": (_onnxruntime, "fp32")}
    loaders |= {f"OpenVINO {h}": (_openvino(h), precision) for h, precision in hints.items()}
    for name, (load, precision) in loaders.items():
        backend = f"{name.lower()} cpu"
        yield Form(f"its export, {name}", backend, exported(load, False), precision)
        yield Form(f"its export cut + cv2 paste, {name}", backend, exported(load, True), precision)
    for name, options in (
        ("onnxruntime", {}),
        ("OpenVINO f32", {"backend": "openvino"}),
        ("OpenVINO bf16", {"backend": "openvino", "precision": "bf16"}),
    ):
        yield Form(
            f"{OURS}, {name}", f"{name.lower()} cpu", _ours(files, pictures, options),
            options.get("precision", "fp32"), options,
        )  # fmt: skip


def _eager(network: Callable[..., Any], tensors: Sequence[torch.Tensor]) -> Opened:
    def call(k: int) -> dict[str, torch.Tensor]:
        with stage("network"):
            answer: dict[str, torch.Tensor] = network([tensors[k]])[0]
            return answer

    def found(answer: dict[str, torch.Tensor]) -> Answer:
        return _answer(*(answer[name].numpy() for name in ("boxes", "labels", "scores")))

    return Opened(call, found)


def _exported(
    run: Run, path: Path, tensors: Sequence[torch.Tensor], sizes: Sequence[tuple[int, ...]] | None
) -> Opened:
    """Sizes, [height, width] of each picture, if OpenCV is to paste its masks."""
    arrays = [tensor.numpy() for tensor in tensors]

    def call(k: int) -> list[np.ndarray]:
        with stage("network"):
            boxes, labels, scores, masks = run(arrays[k])
        if sizes is not None:
            with stage("paste"):
                masks = _paste(boxes, masks[:, 0], sizes[k])
        return [boxes, labels, scores, masks]

    return Opened(call, lambda answer: _answer(*answer[:3]), path)


def _answer(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> Answer:
    return {
        "boxes": boxes.tolist(),
        "labels": (labels - 1).tolist(),  # the background is torchvision's class 0
        "scores": scores.tolist(),
    }


def _onnxruntime(path: Path) -> Run:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # While a call lasts its threads spin, as they do for any user. For some 40 ms after it they
    # would take a core from whoever comes next, which is another form here.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda array: session.run(None, {"image": array})


def _openvino(hint: str) -> Callable[[Path], Run]:
    def load(path: Path) -> Run:
        core = openvino.Core()
        settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        model = core.compile_model(core.read_model(path), "CPU", settings)
        request = model.create_infer_request()
        return lambda array: list(request.infer([array]).values())

    return load


def _ours(
    files: Exports, pictures: Sequence[Picture], options: dict[str, str]
) -> Callable[[], Opened]:
    def opened() -> Opened:
        segmenter = Segmenter(files.ours, **options)

        def call(k: int) -> Any:
            found = segmenter(pictures[k])
            return found, found.masks

        def found(answer: Any) -> Answer:
            instances, _ = answer
            rows = {name: getattr(instances, name) for name in ("boxes", "labels", "scores")}
            return {name: values.tolist() for name, values in rows.items()}

        return Opened(call, found, files.ours)

    return opened


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


def _paste(boxes: np.ndarray, small: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """What a competent user would do: one cv2.resize for each box."""
    masks = np.zeros((len(boxes), *size), bool)
    for mask, values, box in zip(masks, small, boxes, strict=True):
        x0, y0 = np.floor(box[:2]).astype(int)
        x1, y1 = np.ceil(box[2:]).astype(int)
        shape = (max(x1 - x0, 1), max(y1 - y0, 1))
        part = cv2.resize(values, shape, interpolation=cv2.INTER_LINEAR) > 0.5
        mask[y0:y1, x0:x1] = part[: size[0] - y0, : size[1] - x0]
    return masks
