"""PyramidRoiAlign against torchvision: the same numbers."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import onnx.inliner
import openvino
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from test_roi_align import CASES, Case, _inputs, _model, _run

from plugins.roi_align.cases import SIZE
from plugins.roi_align.op import RoiAlignAttributes
from plugins.roi_align.reference import level_of, pyramid_roi_align


def _theirs(case: Case) -> np.ndarray:
    """`roi_align` on each level, the regions distributed by our rule."""
    boxes, features, attributes = case
    boxes = np.where(np.isfinite(boxes), boxes, np.float32(0))
    size = attributes.output_size
    found = np.zeros((*boxes.shape[:2], features[0].shape[1], size, size), np.float32)
    for b in range(len(boxes)):
        levels = np.array([level_of(box, attributes) for box in boxes[b]], np.int64)
        for level, stride in enumerate(attributes.strides):
            mine = np.flatnonzero(levels == level)
            pictures = np.full((len(mine), 1), b, np.float32)
            rois = torch.from_numpy(np.concatenate([pictures, boxes[b][mine]], 1))
            found[b][mine] = torchvision.ops.roi_align(
                torch.from_numpy(features[level]), rois, size, 1 / stride,
                attributes.sampling_ratio, attributes.aligned,
            ).numpy()  # fmt: skip
    return found


@pytest.mark.parametrize("name", CASES)
def test_it_is_roi_align(name: str) -> None:
    """The reference and the function are within 1e-5 of torchvision on every case."""
    case = CASES[name]
    expected = _theirs(case)
    np.testing.assert_allclose(pyramid_roi_align(*case), expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(_run(case, "sorted"), expected, atol=1e-5, rtol=0)
    if case.attributes.sampling_ratio:
        np.testing.assert_allclose(_run(case, "gathered"), expected, atol=1e-5, rtol=0)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1_000_000), st.sampled_from([0, 2]), st.floats(2, 9))
def test_it_is_multi_scale_roi_align(seed: int, ratio: int, octave: float) -> None:
    """With torchvision's rules it is MultiScaleRoIAlign, levels included."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    features = [
        rng.random((2, 3, -(-height // s), -(-width // s)), dtype=np.float32)
        for s in (4, 8, 16, 32)
    ]
    centre = rng.random((2, 10, 2)) * (width, height)
    side = 2.0 ** rng.uniform(1, octave, (2, 10, 2))
    boxes = np.concatenate([centre - side / 2, centre + side / 2], -1).astype(np.float32)
    pooler = torchvision.ops.MultiScaleRoIAlign(list("0123"), 7, ratio)
    expected = pooler(
        OrderedDict(zip("0123", map(torch.from_numpy, features), strict=True)),
        [torch.from_numpy(b) for b in boxes],
        [SIZE, SIZE],
    ).numpy()
    case = Case(boxes, features, RoiAlignAttributes(7, ratio, aligned=False))
    found = _run(case, "sorted").reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in CASES if name != "no regions"])
def test_openvino_runs_the_inlined_function(name: str) -> None:
    """OpenVINO gives the same numbers."""
    case = CASES[name]
    model = onnx.inliner.inline_local_functions(_model(case, "sorted")).SerializeToString()
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    found = compiled(_inputs(case))[0]
    np.testing.assert_allclose(found, _run(case, "sorted"), atol=1e-5, rtol=0)
