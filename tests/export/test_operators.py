"""The operators in PyTorch: what they give, and the nodes that export writes of them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

import plugins
from engine import ModelError, OptionError
from export.functions import add_bodies
from export.operators import TRANSLATIONS, batched_nms, pyramid_roi_align
from plugins.nms import reference as nms_reference
from plugins.nms.cases import cases as nms_cases
from plugins.nms.op import NmsAttributes
from plugins.roi_align import reference as roi_reference
from plugins.roi_align.cases import cases as roi_cases
from plugins.roi_align.op import RoiAlignAttributes

NMS = NmsAttributes(0.45, 0.05, 200, 20)


@pytest.mark.parametrize("name", ["random", "a box for each class", "chain"])
def test_nms_is_the_reference(name: str) -> None:
    """Run eagerly it gives the reference's arrays."""
    case = nms_cases()[name]
    found = batched_nms(torch.tensor(case.boxes), torch.tensor(case.scores), case.attributes)
    for a, b in zip(found, nms_reference.batched_nms(*case), strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


def test_roi_align_is_the_reference() -> None:
    """Run eagerly it gives the reference's regions, aligned or not."""
    for case in roi_cases().values():
        features = [torch.tensor(f) for f in case.features]
        found = pyramid_roi_align(torch.tensor(case.boxes), features, case.attributes)
        expected = roi_reference.pyramid_roi_align(*case)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


class Both(nn.Module):
    """Boxes, and what is in them, on a pyramid of as many levels as are given."""

    def __init__(self, *aligned: bool) -> None:
        super().__init__()
        self.aligned = aligned

    def forward(self, boxes: Tensor, scores: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        """NMS's outputs, then one tensor of regions for each value of `aligned`."""
        found = batched_nms(boxes, scores, NMS)
        strides = tuple(4 << k for k in range(len(features)))
        regions = [
            pyramid_roi_align(found[0], features, RoiAlignAttributes(3, 2, aligned, strides))
            for aligned in self.aligned
        ]
        return *found, *regions


def _inputs(height: int, width: int, rows: int, levels: int = 3) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    at = torch.rand(2, rows, 2) * torch.tensor([width, height])
    boxes = torch.cat([at, at + torch.rand(2, rows, 2) * 90], -1)
    features = [torch.rand(2, 6, height >> 2 + k, width >> 2 + k) for k in range(levels)]
    return boxes, torch.rand(2, rows, 3), *features


def _export(model: nn.Module, inputs: tuple[Tensor, ...]) -> onnx.ModelProto:
    open_ = torch.export.Dim.DYNAMIC
    shapes = [{1: open_}, {1: open_}, *[{2: open_, 3: open_} for _ in inputs[2:]]]
    program = torch.onnx.export(
        model, inputs, dynamo=True, verbose=False, custom_translation_table=TRANSLATIONS,
        dynamic_shapes=({"boxes": shapes[0], "scores": shapes[1], "features": tuple(shapes[2:])}),
    )  # fmt: skip
    return program.model_proto


@pytest.mark.filterwarnings("ignore")
def test_export_writes_the_nodes() -> None:
    """One node an operator, valid by its schema, and the graph gives what the module gives."""
    plugins.register_schemas()
    inputs = _inputs(120, 160, 70)
    proto = _export(Both(False), inputs)
    ours = [node for node in proto.graph.node if node.domain == plugins.DOMAIN]
    assert [node.op_type for node in ours] == ["BatchedNms", "PyramidRoiAlign"]
    written = {a.name: onnx.helper.get_attribute_value(a) for a in ours[0].attribute}
    assert written == pytest.approx(NMS.for_node())
    add_bodies(proto)
    onnx.checker.check_model(proto)
    inlined = onnx.inliner.inline_local_functions(proto).SerializeToString()
    session = ort.InferenceSession(inlined)
    for size in ((120, 160, 70), (200, 96, 33)):
        inputs = _inputs(*size)
        names = [i.name for i in session.get_inputs()]
        feeds = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        for a, b in zip(session.run(None, feeds), Both(False)(*inputs), strict=True):
            np.testing.assert_allclose(a, b.numpy(), atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_one_body_serves_all_nodes_or_none() -> None:
    """A model whose nodes need two bodies is refused, and one whose nodes agree is not."""
    inputs = _inputs(64, 64, 9, levels=1)
    add_bodies(_export(Both(True, True), inputs))
    with pytest.raises(ModelError, match="PyramidRoiAlign nodes have different levels or differ"):
        add_bodies(_export(Both(True, False), inputs))


def test_as_many_levels_as_strides() -> None:
    """The message has the strides and the number of levels."""
    attributes = RoiAlignAttributes(7, 2, aligned=False)
    with pytest.raises(OptionError, match=r"strides is \(4, 8, 16, 32\), and there are 1 levels"):
        pyramid_roi_align(torch.zeros(1, 1, 4), [torch.zeros(1, 1, 8, 8)], attributes)
