"""Instances: every exit says the same of the same masks, for many, one and none."""

from __future__ import annotations

import json
import sys

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from engine import BackendError, Instances, OptionError

SIZE = (60, 80)


@pytest.fixture
def three() -> Instances:
    """Blobs inside, over the left border, and over the bottom right corner."""
    rng = np.random.default_rng(3)
    logits = cv2.GaussianBlur(rng.normal(0, 40, (16, 16, 3)), (0, 0), 2).transpose(2, 0, 1) + 1
    boxes = np.array([[20, 10, 52, 42], [-15, 5, 17, 37], [60, 40, 92, 72]], np.float32)
    some = Instances(
        SIZE, boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 1, 0]),
        ["coin", "key"], logits.astype(np.float32), boxes, 0.3,
    )  # fmt: skip
    tight = np.array([crop.box for crop in some.crops()], np.float32)
    return Instances(
        SIZE, tight, some.scores, some.labels, some.names, some.mask_values, boxes, 0.3
    )


def test_bitmaps_crops_and_rle_are_the_same_masks(three: Instances) -> None:
    """Decoded RLE and pasted crops equal the bitmaps."""
    assert three.masks.shape == (3, *SIZE)
    assert three.masks.dtype == bool
    assert three.masks.any((1, 2)).all()
    for mask, crop, rle in zip(three.masks, three.crops(), three.rle(), strict=True):
        x0, y0, x1, y1 = crop.box
        np.testing.assert_array_equal(mask[y0:y1, x0:x1], crop.mask)
        assert mask.sum() == crop.mask.sum()
        np.testing.assert_array_equal(coco.decode(rle), mask)


def test_filled_polygons_are_the_masks(three: Instances) -> None:
    """Filling an outline gives its part of the mask back, holes filled."""
    for mask, polygons in zip(three.masks, three.polygons(), strict=True):
        drawn = np.zeros(SIZE, np.uint8)
        for polygon in polygons:
            assert polygon.dtype == np.float32
            cv2.fillPoly(drawn, [np.round(polygon - 0.5).astype(np.int32)], 1)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, 2)
        filled = cv2.drawContours(np.zeros(SIZE, np.uint8), outlines, -1, 1, -1)
        np.testing.assert_array_equal(drawn, filled)


@pytest.mark.parametrize(
    ("index", "scores"),
    [
        (0, [0.9]), (-1, [0.7]), (np.int64(1), [0.8]), (slice(1, None), [0.8, 0.7]),
        ([2, 0], [0.7, 0.9]), (np.array([True, False, True]), [0.9, 0.7]), ([], []),
        (slice(3, 3), []),
    ],
)  # fmt: skip
def test_indexing(three: Instances, index: object, scores: list[float]) -> None:
    """A number, slice, list or bool array chooses rows of every field alike."""
    some = three[index]  # type: ignore[index]
    np.testing.assert_allclose(some.scores, scores)
    for name in ("boxes", "labels", "mask_values", "mask_boxes"):
        assert len(getattr(some, name)) == len(scores) == len(some)
    assert some.masks.shape == (len(scores), *SIZE)
    assert some.size == SIZE


def test_an_index_out_of_range_is_an_index_error(three: Instances) -> None:
    """As with any sequence, and iteration ends."""
    with pytest.raises(IndexError, match="no instance 3: there are 3"):
        three[3]
    assert [len(one) for one in three] == [1, 1, 1]


def test_coco_results_are_json(three: Instances) -> None:
    """Boxes are x, y, width, height around the mask; categories count from 1."""
    entries = json.loads(json.dumps(three.to_coco(image_id=7)))
    assert [e["category_id"] for e in entries] == [1, 2, 1]
    for entry in entries:
        assert entry["image_id"] == 7
        np.testing.assert_array_equal(coco.toBbox(entry["segmentation"]), entry["bbox"])


def test_supervision_gets_every_field(three: Instances) -> None:
    """Detections carry boxes, masks, scores, labels and names."""
    detections = three.to_supervision()
    assert len(detections) == 3
    np.testing.assert_array_equal(detections.xyxy, three.boxes)
    np.testing.assert_array_equal(detections.mask, three.masks)
    np.testing.assert_array_equal(detections.confidence, three.scores)
    assert detections.data["class_name"].tolist() == ["coin", "key", "coin"]


def test_drawing_leaves_the_picture_alone(three: Instances) -> None:
    """A drawn copy is coloured on the masks; the picture itself is as it was."""
    picture = np.full((*SIZE, 3), 128, np.uint8)
    drawn = three.draw(picture)
    assert (picture == 128).all()
    assert drawn.dtype == np.uint8
    changed = (drawn != 128).any(2)
    assert changed[three.masks.any(0)].mean() > 0.9
    with pytest.raises(OptionError, match="80 x 60"):
        three.draw(picture[:50])


def test_none_is_a_number_of_instances() -> None:
    """Every exit works for no objects."""
    none = Instances.empty(SIZE)
    assert len(none) == 0
    assert none.masks.shape == (0, *SIZE)
    assert none.rle() == none.polygons() == none.to_coco() == none.crops() == list(none) == []
    assert len(none.to_supervision()) == 0
    picture = np.full((*SIZE, 3), 9, np.uint8)
    np.testing.assert_array_equal(none.draw(picture), picture)
    assert len(none[np.zeros(0, bool)]) == 0


def test_masks_that_do_not_fit_are_refused_before_memory_is_taken() -> None:
    """A thousand masks of 100 megapixels are an error, not a crash."""
    many = Instances.empty((10_000, 10_000))
    big = Instances(
        many.size, np.zeros((1000, 4), np.float32), np.zeros(1000, np.float32),
        np.zeros(1000, np.int64), many.names, np.zeros((1000, 1, 1), np.float32),
        np.zeros((1000, 4), np.float32),
    )  # fmt: skip
    with pytest.raises(OptionError, match="1000 masks of 10000 x 10000"):
        _ = big.masks


def test_without_supervision_drawing_says_what_to_install(
    three: Instances, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime alone does not have it."""
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(BackendError, match=r"pip install 'maskrt\[viz\]'"):
        three.to_supervision()
