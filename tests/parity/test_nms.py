"""BatchedNms against torchvision: the same boxes in the same order."""

from __future__ import annotations

import os

import numpy as np
import onnx.inliner
import onnxruntime as ort
import openvino
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from test_nms import CASES, OUTPUTS, Case, _model, _run

from plugins.nms.cases import crowd
from plugins.nms.op import LARGEST_CANDIDATES, NmsAttributes
from plugins.nms.reference import batched_nms, greedy

assert OUTPUTS


def _theirs(boxes: np.ndarray, scores: np.ndarray, iou: float) -> np.ndarray:
    """Flattened (row, class) pairs that torchvision keeps, each class for itself."""
    rows, classes = scores.shape
    every = torch.from_numpy(np.repeat(boxes, classes, 0))
    of_class = torch.arange(classes).repeat(rows)
    flat = torch.from_numpy(scores.ravel())
    return torchvision.ops.boxes._batched_nms_vanilla(every, flat, of_class, iou).numpy()


def _check(boxes: np.ndarray, scores: np.ndarray, iou: float, answer: object) -> None:
    """`answer(case)` keeps the pairs that torchvision keeps, in its order."""
    rows, classes = scores.shape
    pairs = rows * classes
    case = Case(boxes[None], scores[None], NmsAttributes(iou, -1.0, pairs, pairs))
    _, _, of_class, index, count = answer(case)  # type: ignore[operator]
    ours = (index * classes + of_class)[0, : count[0]]
    theirs = _theirs(boxes, scores, iou)
    # torchvision sorts the kept boxes of all classes again, by an order that is not stable.
    if len(np.unique(scores)) == scores.size:
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert set(ours.tolist()) == set(theirs.tolist())


@settings(max_examples=1000, deadline=None)
@given(
    st.integers(0, 1_000_000), st.integers(1, 25), st.integers(1, 3), st.floats(0, 1), st.booleans()
)
def test_a_thousand_random_cases(
    seed: int, rows: int, classes: int, iou: float, whole: bool
) -> None:
    """The reference keeps what torchvision keeps; whole numbers make IoUs that tie."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 20, (rows, 2)), rng.uniform(0, 12, (rows, 2))
    boxes = np.concatenate([corner, corner + size], -1)
    boxes = (np.round(boxes) if whole else boxes).astype(np.float32)
    _check(boxes, rng.random((rows, classes)).astype(np.float32), iou, lambda c: batched_nms(*c))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1_000_000), st.integers(1, 60), st.integers(1, 3), st.floats(0, 1))
def test_the_function_too(seed: int, rows: int, classes: int, iou: float) -> None:
    """So does the function on onnxruntime."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 30, (rows, 2)), rng.uniform(0, 12, (rows, 2))
    boxes = np.concatenate([corner, corner + size], -1).astype(np.float32)
    _check(boxes, rng.random((rows, classes)).astype(np.float32), iou, _run)


def test_chains_ties_and_thousands() -> None:
    """A chain of 60, equal scores, and 4,663 boxes as an RPN leaves them."""
    chain = CASES["chain"]
    _check(chain.boxes[0], chain.scores[0], 0.5, _run)
    ties = CASES["equal scores"]
    _check(ties.boxes[0], ties.scores[0], 0.5, _run)
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 800, (4663, 2)), rng.uniform(5, 120, (4663, 2))
    boxes = np.concatenate([corner, corner + size], -1).astype(np.float32)
    _check(boxes, rng.random((4663, 1)).astype(np.float32), 0.7, _run)


def test_twenty_thousand_boxes() -> None:
    """The reference (which the kernels are compared with) and the function keep theirs."""
    case = crowd(LARGEST_CANDIDATES)
    boxes, scores = case.boxes[0], case.scores[0, :, 0]
    theirs = torchvision.ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5).numpy()
    np.testing.assert_array_equal(greedy(boxes, scores, 0.5), theirs)
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < 12 << 30:
        pytest.skip("the function needs 9 GB for 20,000 candidates")
    _, _, _, index, count = _run(case)
    np.testing.assert_array_equal(index[0, : count[0]], theirs)


# Of equal scores OpenVINO's TopK takes any first.
@pytest.mark.parametrize("name", [name for name in CASES if name != "equal scores"])
def test_openvino_runs_the_inlined_function(name: str) -> None:
    """OpenVINO gives onnxruntime's answer on every case."""
    case = CASES[name]
    model = onnx.inliner.inline_local_functions(_model(case)).SerializeToString()
    feeds = {"boxes": case.boxes, "scores": case.scores}
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    found = compiled(feeds)
    expected = ort.InferenceSession(model).run(None, feeds)
    for k, right in enumerate(expected):
        np.testing.assert_allclose(found[k], right, rtol=1e-6)
