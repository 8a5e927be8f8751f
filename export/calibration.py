"""Which values of a graph leave fp16's range on a picture: their nodes have to stay in fp32."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from engine import Segmenter
from engine.backends import Backend, Tensors, open_backend
from engine.backends.fake import FakeBackend
from engine.picture import Picture
from export.model_file import save_onnx
from export.precision import LARGEST_HALF, element_types, label

PROBE = "largest_of_"


def overflowing(proto: onnx.ModelProto, picture: Picture) -> dict[str, float]:
    """The nodes whose results do not fit into fp16, and how large they become.

    Run on onnxruntime as an application would run it, all levels of a pyramid included.

    Args:
        proto: an exported graph in fp32, with its card.
        picture: uint8 [H, W, 3], BGR; one that shows what the model is for.

    Returns:
        The largest absolute value of each node's float results, where it is above 65,504 or not a
        number.
    """
    probed, made_by = _with_probes(proto)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probed.onnx"
        save_onnx(probed, path)
        backend = open_backend(path)
        seen = _Seen(backend)
        with Segmenter(FakeBackend(backend.card, seen)) as segmenter:
            segmenter(picture)
        backend.close()
    return {
        made_by[name]: value for name, value in seen.largest.items() if not value <= LARGEST_HALF
    }


class _Seen:
    """Runs the probed graph, and keeps the largest value of each probe over all calls."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.largest: dict[str, float] = {}

    def __call__(self, inputs: Tensors) -> Tensors:
        found = self._backend.run(inputs)
        for name, value in found.items():
            if name.startswith(PROBE):
                name = name.removeprefix(PROBE)
                before, now = self.largest.get(name, 0.0), float(value)
                # What is not a number is never below anything: it stays.
                self.largest[name] = before if now <= before or before != before else now
        return {name: value for name, value in found.items() if not name.startswith(PROBE)}


def _with_probes(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, Mapping[str, str]]:
    """A copy with the largest absolute value of each float as an output, and each one's node."""
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    types = element_types(onnx.shape_inference.infer_shapes(proto, data_prop=True).graph)
    made_by: dict[str, str] = {}
    for node in proto.graph.node:
        for name in node.output:
            if types.get(name) == TensorProto.FLOAT:
                made_by[name] = label(node)
                absolute, probe = f"absolute_of_{name}", PROBE + name
                model.graph.node.append(helper.make_node("Abs", [name], [absolute]))
                model.graph.node.append(
                    helper.make_node("ReduceMax", [absolute], [probe], keepdims=0)
                )
                model.graph.output.append(
                    helper.make_tensor_value_info(probe, TensorProto.FLOAT, [])
                )
    return model, made_by
