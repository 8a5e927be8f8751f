"""From a graph's padded rows to results on the picture, without a network."""

from __future__ import annotations

import numpy as np
import pytest
from networks import instance_card

from engine import OptionError, Segmenter
from engine.agreement import agreement
from engine.backends import Tensors
from engine.backends.fake import FakeBackend
from engine.detector import decode_keypoints

ROWS = 4


def _answer(boxes: list[list[float]], scores: list[float], keypoints: int = 0) -> Tensors:
    count = len(boxes)
    found = {
        "boxes": np.zeros((ROWS, 4), np.float32),
        "scores": np.zeros(ROWS, np.float32),
        "classes": np.full(ROWS, -1, np.int32),
        "count": np.array([count], np.int32),
        "masks": np.zeros((ROWS, 28, 28), np.float32),
    }
    found["boxes"][:count] = np.reshape(boxes, (-1, 4))
    found["scores"][:count] = scores
    found["classes"][:count] = np.arange(count) % 2
    found["masks"][:count] = 1
    if keypoints:
        found["keypoints"] = np.zeros((ROWS, keypoints, 56, 56), np.float32)
        found["keypoints"][:, :, 14, 42] = 9
    return found


def test_boxes_come_back_to_the_picture() -> None:
    """The graph's boxes are of the resized picture; results are of the one that was given."""
    card = instance_card(framework="torchvision")
    asked: list[Tensors] = []

    def answer(inputs: Tensors) -> Tensors:
        asked.append(inputs)
        return _answer([[100, 200, 300, 400], [0, 0, 1066, 800]], [0.9, 0.6])

    with Segmenter(FakeBackend(card, answer)) as segmenter:
        found = segmenter(np.zeros((480, 640, 3), np.uint8))
        assert len(segmenter(np.zeros((480, 640, 3), np.uint8), score_threshold=0.7)) == 1
        assert len(segmenter(np.zeros((480, 640, 3), np.uint8), top=1)) == 1
    assert asked[0]["size"].tolist() == [800, 1066]
    assert asked[0]["picture"].shape == (480, 640, 3)
    np.testing.assert_allclose(found.boxes[0], [60.04, 120, 180.11, 240], atol=0.01)
    np.testing.assert_allclose(found.boxes[1], [0, 0, 640, 480], atol=1e-4)
    assert found.labels.tolist() == [0, 1]
    assert found.masks[1].mean() > 0.99
    assert found.to_coco(7)[1]["category_id"] == card.category_ids[1]


def test_detectron2_drops_what_lies_outside() -> None:
    """After scaling its boxes are clipped, and empty ones are gone."""
    card = instance_card(framework="detectron2")
    rows = _answer([[1067, 0, 1070, 800], [0, 0, 10, 10]], [0.9, 0.6])
    with Segmenter(FakeBackend(card, lambda _: rows)) as segmenter:
        found = segmenter(np.zeros((480, 640, 3), np.uint8))
    assert len(found) == 1
    assert found.scores.tolist() == pytest.approx([0.6])


def test_nothing_found() -> None:
    """Empty results have the shapes of full ones."""
    card = instance_card(keypoints=["a", "b"])
    with Segmenter(FakeBackend(card, lambda _: _answer([], [], keypoints=2))) as segmenter:
        found = segmenter(np.zeros((50, 60, 3), np.uint8))
    assert found.masks.shape == (0, 50, 60)
    assert found.keypoints.shape == (0, 2, 3)
    assert found.to_coco() == []


def test_a_network_without_masks() -> None:
    """Boxes are all there is, and asking for masks is an error that says so."""
    card = instance_card(mask_size=0)
    rows = {k: v for k, v in _answer([[0, 0, 9, 9]], [0.9]).items() if k != "masks"}
    with Segmenter(FakeBackend(card, lambda _: rows)) as segmenter:
        found = segmenter(np.zeros((50, 60, 3), np.uint8))
    assert "segmentation" not in found.to_coco()[0]
    for wanted in (lambda: found.masks, found.crops, found.rle, found.polygons):
        with pytest.raises(OptionError, match="boxes and no masks"):
            wanted()


@pytest.mark.parametrize("framework", ["torchvision", "detectron2"])
def test_a_keypoint_is_where_its_map_is_highest(framework: str) -> None:
    """One cell of a map: the point is that cell's middle in the box."""
    maps = np.zeros((1, 1, 56, 56), np.float32)
    maps[0, 0, 14, 42] = 9
    points = decode_keypoints(maps, np.array([[10, 20, 66, 132]], np.float32), framework)
    x, y, score = points[0, 0]
    assert x == pytest.approx(10 + 42.5, abs=0.51)
    assert y == pytest.approx(20 + 2 * 14.5, abs=1.01)
    if framework == "torchvision":
        assert 7 < score < 9, "between cells the map is lower"
    else:
        assert 0 < score < 1.2


def test_agreement_pairs_by_label_and_place() -> None:
    """Equal boxes of another label are no pair; order does not matter; masks are compared."""
    card = instance_card(framework="torchvision")
    picture = np.zeros((800, 800, 3), np.uint8)
    first = _answer([[10, 10, 90, 90], [10, 10, 90, 90], [200, 200, 300, 300]], [0.9, 0.8, 0.7])
    second = _answer([[200, 200, 300, 300], [10, 10, 90, 91]], [0.7, 0.65])
    a = Segmenter(FakeBackend(card, lambda _: first))(picture)
    b = Segmenter(FakeBackend(card, lambda _: second))(picture)
    same = agreement(a, b)
    assert same.pairs.tolist() == [[1, 1], [2, 0]]
    assert same.matched == pytest.approx(2 / 3)
    assert same.boxes.tolist() == pytest.approx([1, 0])
    assert same.masks[1] == 1
    assert same.masks[0] > 0.97
    assert agreement(a[[]], b[[]]).matched == 1
