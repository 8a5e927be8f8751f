"""BatchedNms: every form gives the reference's answer on the same cases."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
import onnxruntime as ort
import pytest
from graphs import one_node
from hypothesis import given, settings
from hypothesis import strategies as st

import plugins
from engine.errors import OptionError
from plugins.nms.cases import Case, cases
from plugins.nms.op import FIXED_FUNCTION, FUNCTION, NAME, NmsAttributes
from plugins.nms.reference import batched_nms

OUTPUTS = {
    "out_boxes": (np.float32, 3),
    "out_scores": (np.float32, 2),
    "out_classes": (np.int32, 2),
    "out_indices": (np.int32, 2),
    "count": (np.int32, 1),
}
CASES = cases()


def _model(
    case: Case, dynamic: tuple[str, ...] = (), body: onnx.FunctionProto = FUNCTION
) -> onnx.ModelProto:
    inputs = {"boxes": case.boxes, "scores": case.scores}
    return one_node(NAME, inputs, OUTPUTS, case.attributes.for_node(), body, dynamic)


def _run(case: Case, body: onnx.FunctionProto = FUNCTION) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    model = onnx.inliner.inline_local_functions(_model(case, body=body))
    session = ort.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"boxes": case.boxes, "scores": case.scores})


@pytest.mark.parametrize("body", [FUNCTION, FIXED_FUNCTION], ids=["live", "fixed"])
@pytest.mark.parametrize("name", CASES)
def test_the_function_is_the_reference(name: str, body: onnx.FunctionProto) -> None:
    """Boxes, scores, classes, indices and counts are the same, to the last bit."""
    case = CASES[name]
    expected = batched_nms(*case)
    for found, right in zip(_run(case, body), expected, strict=True):
        assert found.dtype == right.dtype
        np.testing.assert_array_equal(found, right)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000), pictures=st.integers(1, 2), rows=st.integers(1, 30),
    classes=st.integers(1, 3), iou=st.floats(0, 1), floor=st.floats(0, 0.9),
    whole=st.booleans(), per_class=st.booleans(), agnostic=st.booleans(),
)  # fmt: skip
def test_any_boxes(
    seed: int, pictures: int, rows: int, classes: int, iou: float, floor: float, whole: bool,
    per_class: bool, agnostic: bool,
) -> None:  # fmt: skip
    """Whatever the boxes, scores and settings; whole numbers make ties of scores and of IoUs."""
    rng = np.random.default_rng(seed)
    shape = (pictures, rows, classes, 2) if per_class else (pictures, rows, 2)
    corner, size = rng.uniform(0, 20, shape), rng.uniform(0, 12, shape)
    boxes = np.concatenate([corner, corner + size], -1)
    scores = rng.random((pictures, rows, classes))
    if whole:
        boxes, scores = np.round(boxes), np.round(scores * 5) / 5
    attributes = NmsAttributes(iou, floor, 40, 25, agnostic)
    case = Case(boxes.astype(np.float32), scores.astype(np.float32), attributes)
    for found, right in zip(_run(case), batched_nms(*case), strict=True):
        np.testing.assert_array_equal(found, right)


def test_the_reference_keeps_the_best_and_what_is_far() -> None:
    """A case worked by hand: B overlaps A by half, C touches nothing, D is of another class."""
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 6], [20, 20, 30, 30], [0, 0, 10, 10]]])
    scores = np.array([[[0.9, 0.0], [0.8, 0.0], [0.7, 0.0], [0.0, 0.6]]])
    out = batched_nms(
        boxes.astype(np.float32), scores.astype(np.float32), NmsAttributes(0.5, 0.1, 10, 5)
    )
    assert out.indices[0].tolist() == [0, 2, 3, -1, -1]
    assert out.classes[0].tolist() == [0, 0, 1, -1, -1]
    assert out.count.tolist() == [3]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"iou_threshold": 1.5}, "iou_threshold is 1.5"),
        ({"iou_threshold": float("nan")}, "iou_threshold is nan"),
        ({"score_threshold": float("inf")}, "score_threshold is inf"),
        ({"candidates": 0}, "candidates is 0"),
        ({"candidates": 30_000}, "candidates is 30000"),
        ({"detections": 200}, r"detections is 200; give .* candidates \(100\)"),
        ({"detections": 2.5}, "detections is 2.5"),
    ],
)
def test_wrong_attributes_are_refused_when_the_node_is_made(changes: dict, says: str) -> None:
    """The message has the operator's, the attribute's name and the value."""
    right = {"iou_threshold": 0.5, "score_threshold": 0, "candidates": 100, "detections": 10}
    with pytest.raises(OptionError, match=f"BatchedNms: {says}"):
        NmsAttributes(**(right | changes))


@given(st.floats(0, 1))
def test_the_threshold_is_rounded_down(value: float) -> None:
    """An fp32 IoU is above the node's threshold exactly when it is above the number given."""
    node = np.float32(NmsAttributes(value, 0, 9, 9).for_node()["iou_threshold"])
    assert float(node) <= value
    assert float(np.nextafter(node, np.float32(2))) > value


def test_the_schema_is_the_contract() -> None:
    """Registered, it makes the checker refuse a misspelt, a missing and an unknown attribute."""
    plugins.register_schemas()
    plugins.register_schemas()
    case = CASES["random"]
    onnx.checker.check_model(_model(case))
    inputs = {"boxes": case.boxes, "scores": case.scores}
    right = case.attributes.for_node()
    missing = {key: value for key, value in right.items() if key != "iou_threshold"}
    for attributes in (missing, missing | {"iou_treshold": 0.5}, right | {"more": 1}):
        with pytest.raises(onnx.checker.ValidationError):
            onnx.checker.check_model(one_node(NAME, inputs, OUTPUTS, attributes, None))


@pytest.mark.parametrize("per_class", [False, True])
def test_tensorrt_rtx_builds_it(per_class: bool) -> None:
    """The function is compiled on the CPU, for one box a row and for one a class."""
    pytest.importorskip("tensorrt_rtx", reason="no TensorRT for RTX on this platform")
    boxes = np.zeros((1, 1000, 80, 4) if per_class else (1, 1000, 4), np.float32)
    case = Case(boxes, np.zeros((1, 1000, 80), np.float32), NmsAttributes(0.5, 0.05, 1000, 100))
    assert build_rtx(_model(case, body=FIXED_FUNCTION)) > 100_000


def build_rtx(model: onnx.ModelProto, profile: dict | None = None) -> int:
    """Bytes of the plan that TensorRT for RTX builds."""
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(model.SerializeToString()), parser.get_error(0).desc()
    config = builder.create_builder_config()
    shapes = builder.create_optimization_profile()
    for name, sizes in (profile or {}).items():
        shapes.set_shape(name, *sizes)
    config.add_optimization_profile(shapes)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    return int(plan.nbytes)
