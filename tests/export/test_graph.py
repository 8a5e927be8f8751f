"""The exported file: the same answer as PyTorch at any size, and a card that says what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnxruntime as ort
import pytest
import torch

from engine.card import Card
from engine.errors import ModelError
from engine.tiling import EVERY_WINDOW
from export.graph import trace, weights_digest
from export.model_file import read_onnx, save_onnx, set_card
from export.models.dense import DenseDeepMask, window_count
from export.to_onnx import load
from export.verify import noise


@pytest.fixture(scope="module")
def session(exported: Path) -> ort.InferenceSession:
    return ort.InferenceSession(exported)


@pytest.fixture(scope="module")
def dense() -> DenseDeepMask:
    return DenseDeepMask(load("deepmask_small", None), 500)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (15, 17), (240, 131), (333, 500)])
@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_onnxruntime_equals_pytorch(
    session: ort.InferenceSession, dense: DenseDeepMask, size: tuple[int, int], floor: float
) -> None:
    """At any size the graph gives PyTorch's scores, windows, masks and count."""
    picture = noise(*size)
    with torch.no_grad():
        expected = dense([torch.from_numpy(picture)], torch.tensor([floor]))
    feeds = {"picture": picture, "min_score": np.array([floor], np.float32), "owned": EVERY_WINDOW}
    scores, windows, masks, count, _ = session.run(None, feeds)
    assert count[0] == expected.count.item()
    n = count[0]
    np.testing.assert_allclose(scores[:n], expected.scores[:n], atol=1e-5)
    # Where two scores are the same to the last digits either order is right.
    same = (windows[:n] == expected.windows[:n].numpy()).all(1)
    assert same.mean() > 0.98 if n else True
    np.testing.assert_allclose(masks[:n][same], expected.masks[:n].numpy()[same], atol=2e-3)
    assert not masks[n:].any()


def test_outputs_have_fixed_shapes(session: ort.InferenceSession) -> None:
    """Every picture gives 500 rows; `count` says how many are meant, never more than windows."""
    for size in ((1, 1), (200, 310)):
        feeds = {
            "picture": noise(*size),
            "min_score": np.zeros(1, np.float32),
            "owned": EVERY_WINDOW,
        }
        scores, windows, masks, count, piece = session.run(None, feeds)
        assert (scores.shape, scores.dtype) == ((500,), np.float32)
        assert (windows.shape, windows.dtype) == ((500, 2), np.int32)
        assert (masks.shape, masks.dtype) == ((500, 56, 56), np.float32)
        assert (count.shape, count.dtype) == ((1,), np.int32)
        assert (piece.shape, piece.dtype) == ((500,), np.int32)
        assert count[0] == min(500, window_count(*size))


def test_rows_under_the_floor_are_not_counted(session: ort.InferenceSession) -> None:
    """Raising min_score only shortens the list: its first rows stay as they are."""
    picture = noise(200, 310)
    every = session.run(
        None, {"picture": picture, "min_score": np.zeros(1, np.float32), "owned": EVERY_WINDOW}
    )
    floor = np.sort(every[0][: every[3][0]])[-7:-6]
    few = session.run(None, {"picture": picture, "min_score": floor, "owned": EVERY_WINDOW})
    assert few[3][0] == 7
    np.testing.assert_allclose(few[2][:7], every[2][:7], atol=1e-4)


def test_our_functions_have_standard_bodies(exported: Path) -> None:
    """Each node of the domain maskrt has its definition in the file, in plain ONNX operators."""
    proto = onnx.load(exported)
    ours = {node.op_type for node in proto.graph.node if node.domain == "maskrt"}
    bodies = {f.name: {n.domain for n in f.node} for f in proto.functions}
    assert ours == {"FirstRows", "PadRows"} == set(bodies)
    assert all(domains == {""} for domains in bodies.values())


def test_the_inliner_serves_runtimes_without_functions(exported: Path) -> None:
    """With the functions inlined the graph is standard ONNX and gives the same answer."""
    plain = onnx.inliner.inline_local_functions(onnx.load(exported))
    assert {n.domain for n in plain.graph.node} == {""}
    feeds = {
        "picture": noise(90, 120),
        "min_score": np.full(1, 0.1, np.float32),
        "owned": EVERY_WINDOW,
    }
    a = ort.InferenceSession(exported).run(None, feeds)
    b = ort.InferenceSession(plain.SerializeToString()).run(None, feeds)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


def test_the_card_is_in_the_file(exported: Path) -> None:
    """The card inside says what the network is and which weights it has."""
    proto, card = read_onnx(exported)
    assert (card.architecture, card.task, card.precision) == ("deepmask_small", "proposals", "fp32")
    assert (card.patch, card.stride, card.mask_size, card.proposals) == (128, 16, 56, 500)
    assert (card.score_threshold, card.mask_nms, card.top) == (0.75, 0.5, 100)
    assert card.weights_sha256 == weights_digest(load("deepmask_small", None).state_dict())
    assert set(card.built_by) == {"maskrt", "torch", "onnx", "python"}
    assert proto.producer_name == "maskrt"


def test_digest_sees_every_change() -> None:
    """A changed value, name or shape changes the digest; the order of the tensors does not."""
    a, b = torch.zeros(2, 3), torch.ones(4)
    digest = weights_digest({"a": a, "b": b})
    assert digest == weights_digest({"b": b, "a": a})
    others = ({"a": a + 1e-7, "b": b}, {"c": a, "b": b}, {"a": a.reshape(3, 2), "b": b}, {"a": a})
    assert len({digest, *map(weights_digest, others)}) == 5


def test_a_new_card_takes_the_old_ones_place(exported: Path, tmp_path: Path) -> None:
    """Setting a card twice leaves one, and other metadata alone."""
    proto, card = read_onnx(exported)
    onnx.helper.set_model_props(proto, {"mine": "1", "maskrt.card": "{}"})
    set_card(proto, card)
    save_onnx(proto, tmp_path / "again.onnx")
    again, read = read_onnx(tmp_path / "again.onnx")
    assert isinstance(read, Card)
    assert {p.key: p.value for p in again.metadata_props}["mine"] == "1"


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    """Bytes that are no ONNX model, or an empty one, are one sentence."""
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.onnx is not an ONNX model"):
        read_onnx(path)
    with pytest.raises(ModelError, match="does not exist"):
        read_onnx(tmp_path / "none.onnx")


def test_every_model_can_be_traced() -> None:
    """The released ResNet-50 net traces and agrees with PyTorch too."""
    from export.models.deepmask import MODELS

    torch.manual_seed(0)
    dense = DenseDeepMask(MODELS["deepmask_resnet50"](), 10)
    session = ort.InferenceSession(trace(dense).SerializeToString())
    picture = noise(100, 90)
    with torch.no_grad():
        expected = dense([torch.from_numpy(picture)], torch.zeros(1))
    feeds = {"picture": picture, "min_score": np.zeros(1, np.float32), "owned": EVERY_WINDOW}
    found = session.run(None, feeds)
    np.testing.assert_allclose(found[0], expected.scores, atol=1e-5)
