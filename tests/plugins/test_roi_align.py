"""PyramidRoiAlign: both bodies give the reference's answer on the same cases."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
import onnxruntime as ort
import pytest
from graphs import one_node
from hypothesis import given, settings
from hypothesis import strategies as st
from test_nms import build_rtx

import plugins
from engine.errors import OptionError
from plugins.roi_align.bodies import gathered, sorted_by_level
from plugins.roi_align.cases import Case, cases
from plugins.roi_align.op import NAME, RoiAlignAttributes
from plugins.roi_align.reference import level_of, pyramid_roi_align, roi_align

BODIES = {"sorted": sorted_by_level, "gathered": gathered}
CASES = cases()


def _inputs(case: Case, dtype: type = np.float32) -> dict[str, np.ndarray]:
    features = {f"features{k}": f.astype(dtype) for k, f in enumerate(case.features)}
    return {"boxes": case.boxes} | features


def _model(
    case: Case, body: str, dtype: type = np.float32, dynamic: tuple[str, ...] = ()
) -> onnx.ModelProto:
    function = BODIES[body](len(case.features), aligned=case.attributes.aligned)
    outputs = {"regions": (dtype, 5)}
    attributes = case.attributes.for_node()
    return one_node(NAME, _inputs(case, dtype), outputs, attributes, function, dynamic)


def _run(case: Case, body: str) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    model = onnx.inliner.inline_local_functions(_model(case, body))
    session = ort.InferenceSession(model.SerializeToString(), options)
    return session.run(None, _inputs(case))[0]


@pytest.mark.parametrize(
    ("name", "body"),
    # The gathered body has a fixed number of samples.
    [
        (n, b)
        for n, c in CASES.items()
        for b in BODIES
        if b == "sorted" or c.attributes.sampling_ratio
    ],
)
def test_both_bodies_are_the_reference(name: str, body: str) -> None:
    """Regions inside, over the border, tiny, huge, empty and not finite: within 1e-5."""
    case = CASES[name]
    found = _run(case, body)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, pyramid_roi_align(*case), atol=1e-5, rtol=0)


def test_a_flat_map_is_flat_everywhere() -> None:
    """Inside a constant map every bin is that constant; far outside it is zero."""
    features = np.full((3, 20, 30), 2.5, np.float32)
    attributes = RoiAlignAttributes(4, 2, aligned=False)
    inside = roi_align(features, np.array([3, 4, 17.5, 12], np.float32), attributes)
    np.testing.assert_allclose(inside, 2.5, rtol=1e-6)
    outside = roi_align(features, np.array([90, 90, 99, 99], np.float32), attributes)
    assert not outside.any()


def test_a_ramp_is_sampled_where_the_bins_are() -> None:
    """On a map whose value is its column, a bin's value is its centre's place."""
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32), (1, 40, 40))
    box = np.array([4, 4, 24, 24], np.float32)
    for aligned in (False, True):
        attributes = RoiAlignAttributes(5, 2, aligned=aligned)
        centres = 4 + 4 * (np.arange(5) + 0.5) - (0.5 if aligned else 0)
        np.testing.assert_allclose(roi_align(ramp, box, attributes)[0, 2], centres, rtol=1e-6)


@settings(max_examples=200, deadline=None)
@given(st.floats(0.01, 5000), st.floats(0.01, 5000), st.floats(0, 900), st.floats(0, 900))
def test_levels_follow_the_formula(width: float, height: float, x: float, y: float) -> None:
    """Equation 1 in double precision gives the same level, but within 1e-5 of a step."""
    box = np.array([x, y, x + width, y + height], np.float32)
    attributes = RoiAlignAttributes(7, 2, aligned=False)
    area = (float(box[2]) - float(box[0])) * (float(box[3]) - float(box[1]))
    exact = 4 + np.log2(np.sqrt(area) / 224) if area > 0 else -99.0
    if abs(exact - round(exact)) > 1e-4:
        assert level_of(box, attributes) == np.clip(np.floor(exact), 2, 5) - 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"output_size": 0}, "output_size is 0"),
        ({"sampling_ratio": -1}, "sampling_ratio is -1"),
        ({"aligned": 1}, "aligned is 1"),
        ({"strides": ()}, r"strides is \(\)"),
        ({"strides": (8, 4)}, r"strides is \(8, 4\)"),
        ({"canonical_size": 0.0}, "canonical_size is 0.0"),
        ({"canonical_level": 99}, "canonical_level is 99"),
        ({"eps_level": -1.0}, "eps_level is -1.0"),
    ],
)
def test_wrong_attributes_are_refused_when_the_node_is_made(changes: dict, says: str) -> None:
    """The message has the operator's, the attribute's name and the value."""
    right = {"output_size": 7, "sampling_ratio": 2, "aligned": False}
    with pytest.raises(OptionError, match=f"PyramidRoiAlign: {says}"):
        RoiAlignAttributes(**(right | changes))


def test_functions_come_by_target() -> None:
    """Each target gets a body for both operators; another name is refused."""
    for target in plugins.TARGETS:
        found = plugins.functions(target, levels=1, aligned=True)
        assert set(found) == {"BatchedNms", "PyramidRoiAlign"}
        used = {node.op_type for node in found["PyramidRoiAlign"].node}
        assert ("RoiAlign" in used) == (target != "tensorrt-rtx")
        assert all(not node.domain for f in found.values() for node in f.node)
    with pytest.raises(OptionError, match="no target 'tflite'"):
        plugins.functions("tflite")
    with pytest.raises(OptionError, match="9 levels"):
        plugins.functions("openvino", levels=9)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_tensorrt_rtx_builds_it(dtype: type) -> None:
    """The gathered body is compiled on the CPU with open sizes, in fp32 and fp16."""
    pytest.importorskip("tensorrt_rtx", reason="no TensorRT for RTX on this platform")
    features = [np.zeros((1, 256, 200 >> k, 272 >> k), np.float32) for k in range(4)]
    attributes = RoiAlignAttributes(7, 2, aligned=False)
    case = Case(np.zeros((1, 1000, 4), np.float32), features, attributes)
    names = tuple(f"features{k}" for k in range(4))
    profile = {
        f"features{k}": tuple(
            (1, 256, high >> k, wide >> k) for high, wide in ((64, 64), (200, 272), (336, 336))
        )
        for k in range(4)
    }
    model = _model(case, "gathered", dtype, names)
    for value in model.graph.input[1:]:  # pictures and channels stay as they are
        for axis, size in ((0, 1), (1, 256)):
            value.type.tensor_type.shape.dim[axis].dim_value = size
    assert build_rtx(model, profile) > 100_000
