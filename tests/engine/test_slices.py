"""Slices of large pictures: an object comes out once and whole, wherever the seams are."""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import card as proposal_card
from networks import instance_card

from benchmarks.oracle import Oracle, numbers_in, painted
from engine import OptionError, Segmenter
from engine.backends.fake import FakeBackend
from engine.card import InstanceCard
from engine.large import LargePicture
from engine.slices import slices


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(64, 900), st.data())
def test_slices_cover_the_picture(height: int, width: int, side: int, data: st.DataObject) -> None:
    """Every point has one owner, and what overlaps is in the owner's slice with room around."""
    overlap = data.draw(st.integers(0, side // 2))
    found = slices(height, width, side, overlap)
    assert bool(found) == (height > side or width > side)
    for length, spans in (
        (height, sorted({part.rows for part in found}, key=lambda span: span.start)),
        (width, sorted({part.columns for part in found}, key=lambda span: span.start)),
    ):
        if not found:
            continue
        assert (spans[0].start, spans[-1].stop) == (0, length)
        assert (spans[0].first, spans[-1].last) == (-np.inf, np.inf)
        for span in spans:
            assert span.stop - span.start == min(side, length)
        for one, other in pairwise(spans):
            assert one.last == other.first
            # An object of `overlap` pixels with its centre on either side of the line is whole.
            assert one.stop - one.last >= overlap / 2
            assert other.first - other.start >= overlap / 2


def scene(seed: int, height: int, width: int, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """A picture of ellipses of all sizes, apart from each other, and their masks."""
    rng = np.random.default_rng(seed)
    masks: list[np.ndarray] = []
    taken = np.zeros((height, width), bool)
    for _ in range(count):
        axes = np.exp(rng.uniform(np.log(6), np.log(150), 2)).astype(int)
        centre = int(rng.integers(0, width)), int(rng.integers(0, height))
        drawn = np.zeros((height, width), np.uint8)
        cv2.ellipse(drawn, centre, axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 1, -1)
        around = cv2.dilate(drawn, np.ones((5, 5), np.uint8)) > 0
        if drawn.sum() < 150 or (around & taken).any():
            continue
        taken |= around
        masks.append(drawn > 0)
    labels = rng.integers(0, 2, len(masks)).tolist()
    return painted(masks, labels), masks


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(200, 700), st.integers(200, 900), st.integers(220, 400),
)  # fmt: skip
def test_an_object_comes_out_once_and_whole(seed: int, height: int, width: int, side: int) -> None:
    """What fits into the overlap, and what only the whole picture shows, by a good eye."""
    picture, masks = scene(seed, height, width, 40)
    oracle = Oracle(
        instance_card(framework="torchvision", smallest_side=800), smallest=5, error=0.01
    )
    found = Segmenter(oracle.backend())(picture, slices=side, top=300)
    shown = numbers_in(picture)
    assert len(found) == len(masks)
    for number in range(1, len(masks) + 1):
        right = shown == number
        same = [iou(mask, right) for mask in found.masks]
        assert max(same) > 0.6, number  # a thin one in 28 cells
        assert sum(value > 0.3 for value in same) == 1


def test_small_objects_are_found_by_slices_alone() -> None:
    """What is too small once the whole picture is made small; large ones by the whole alone."""
    small = np.zeros((2000, 3000), bool)
    small[500:520, 700:722] = True
    large = np.zeros((2000, 3000), bool)
    large[600:1800, 300:2800] = True
    picture = painted([small, large], [0, 1])
    oracle = Oracle(instance_card(), smallest=12)
    segmenter = Segmenter(oracle.backend())
    assert segmenter(picture).labels.tolist() == [1]
    assert oracle.calls == 1
    found = segmenter(picture, slices=640)
    assert sorted(found.labels.tolist()) == [0, 1]
    tiny = found[int(np.flatnonzero(found.labels == 0)[0])]
    np.testing.assert_allclose(tiny.boxes[0], [700, 500, 722, 520], atol=2)
    huge = found[int(np.flatnonzero(found.labels == 1)[0])]
    np.testing.assert_allclose(huge.boxes[0], [300, 600, 2800, 1800], atol=150)
    assert found.size == (2000, 3000)


def test_a_picture_on_the_disk_is_read_by_slices() -> None:
    """As in memory."""
    picture, _ = scene(3, 500, 700, 20)
    card = instance_card(smallest_side=500)
    opened = LargePicture(picture)
    in_memory = Segmenter(Oracle(card).backend())(picture, slices=300)
    found = Segmenter(Oracle(card).backend())(opened, slices=300)
    np.testing.assert_allclose(found.boxes, in_memory.boxes, atol=1e-3)


def test_objects_of_one_pass_are_not_compared() -> None:
    """Two that overlap in the network's own answer stay two."""
    card = instance_card(smallest_side=100, mask_size=0)

    def twins(_: object) -> dict[str, np.ndarray]:
        return {
            "boxes": np.array([[10, 10, 50, 50], [11, 10, 50, 50]], np.float32),
            "scores": np.array([0.9, 0.8], np.float32),
            "classes": np.zeros(2, np.int32),
            "count": np.array([2], np.int32),
        }

    assert (
        len(Segmenter(FakeBackend(card, twins))(np.zeros((100, 100, 3), np.uint8), slices=100)) == 2
    )


def test_boxes_without_masks_are_merged_by_overlap() -> None:
    """A network of boxes alone: what two passes found is one object, of two labels two."""
    card = instance_card(smallest_side=100, mask_size=0)

    def one(inputs: dict[str, np.ndarray], label_of_slices: int) -> dict[str, np.ndarray]:
        height, width = inputs["picture"].shape[:2]
        x, y, wide, tall = cv2.boundingRect(inputs["picture"][..., 2])
        box = np.array([x, y, x + wide, y + tall]) * np.tile(
            inputs["size"][::-1] / [width, height], 2
        )
        return {
            "boxes": box[None].astype(np.float32),
            "scores": np.array([0.9], np.float32),
            "classes": np.array([label_of_slices if width < 200 else 0], np.int32),
            "count": np.array([wide > 0], np.int32),
        }

    picture = np.zeros((100, 200, 3), np.uint8)
    picture[40:50, 95:105, 2] = 1
    for label, expected in ((0, 1), (1, 2)):
        segmenter = Segmenter(FakeBackend(card, partial(one, label_of_slices=label)))
        assert len(segmenter(picture, slices=150)) == expected


def told(card: InstanceCard, whole: list[tuple], in_slices: list[tuple]) -> Segmenter:
    """Finds boxes with a label and a score: some in the whole picture, others in slices of it.

    Each is x0, y0, x1, y1, label, score in the picture; pixels say where a slice begins.
    """

    def answer(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        picture = inputs["picture"]
        height, width = picture.shape[:2]
        top, left = (256 * int(picture[0, 0, k]) + int(picture[0, 1, k]) for k in (0, 1))
        given = whole if height * width == 1000 * 1000 else in_slices
        scale = inputs["size"][0] / height
        rows = []
        for x0, y0, x1, y1, label, score in given:
            box = np.clip([x0 - left, y0 - top, x1 - left, y1 - top], 0, [width, height] * 2)
            if (box[2:] > box[:2]).all():
                rows.append((*(box * scale), label, score))
        table = np.array(sorted(rows, key=lambda row: -row[5]), np.float32).reshape(-1, 6)
        maps = np.full((len(table), 1, 4, 4), -1, np.float32)
        maps[:, 0, 1, 1] = 1
        return {
            "boxes": table[:, :4], "classes": table[:, 4].astype(np.int32), "scores": table[:, 5],
            "count": np.array([len(table)], np.int32), "keypoints": maps,
            "masks": np.ones((len(table), 28, 28), np.float32),
        }  # fmt: skip

    return Segmenter(FakeBackend(card, answer))


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    """A picture of 1,000 x 1,000 whose pixels tell their own row and column."""
    rows, columns = np.mgrid[0:1000, 0:1000]
    picture = np.zeros((1000, 1000, 3), np.uint8)
    # A pair of neighbours has the high byte and the low one; slices begin at even columns here.
    odd = columns % 2 == 1
    picture[..., 0] = np.where(odd, rows % 256, rows // 256)
    first = columns - columns % 2
    picture[..., 1] = np.where(odd, first % 256, first // 256)
    return picture


CARD = instance_card(smallest_side=1000, largest_side=4000)
SIX = [(410 + 30 * k, 480, 435 + 30 * k, 520, 0, 0.95) for k in range(6)]


@pytest.mark.parametrize(
    ("whole", "in_slices", "left"),
    [
        ([(400, 470, 600, 530, 0, 0.6)], SIX, 7),  # six are not the part of one
        ([(400, 470, 600, 530, 0, 0.6)], SIX[:1], 1),  # one is
        ([(400, 470, 600, 530, 0, 0.4)], SIX[:1], 2),  # but not of what hardly is an object
        ([(400, 470, 600, 530, 1, 0.6)], SIX[:1], 2),  # nor of one with another label
        ([(400, 480, 420, 520, 0, 0.6)], [(400, 480, 421, 520, 0, 0.9)], 1),
        ([(100, 100, 900, 900, 0, 0.6)], [(100, 100, 900, 900, 0, 0.9)], 1),  # cut everywhere
        ([], [(100, 490, 500, 510, 0, 0.9)], 1),  # longer than the overlap: the largest piece
        ([], [], 0),
    ],
)
def test_what_stays(plain: np.ndarray, whole: list, in_slices: list, left: int) -> None:
    """Objects of two passes, by what they share, their labels and their scores."""
    found = told(CARD, whole, in_slices)(plain, slices=400)
    assert len(found) == left, found.boxes
    assert (np.diff(found.scores) <= 0).all()


def test_keypoints_of_a_slice_are_the_pictures(plain: np.ndarray) -> None:
    """They move as the boxes do."""
    card = instance_card(smallest_side=1000, largest_side=4000, keypoints=["nose"])
    found = told(card, [], [(700, 800, 740, 880, 0, 0.9)])(plain, slices=400)
    np.testing.assert_allclose(found.boxes, [[700, 800, 740, 880]], atol=0.01)
    np.testing.assert_allclose(found.keypoints[0, 0, :2], [715, 830], atol=1.5)


def test_the_owner_answers(plain: np.ndarray) -> None:
    """What two slices show comes from the one in whose core it lies, not from the surer one."""
    side, overlap = 400, 100
    part, other = slices(1000, 1000, side, overlap)[:2]
    assert other.columns.start < part.columns.last < part.columns.stop
    size = instance_card(smallest_side=400, largest_side=4000)
    middle = part.columns.last + 25

    def answer(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        picture = inputs["picture"]
        left = 256 * int(picture[0, 0, 1]) + int(picture[0, 1, 1])
        first = left == 0 and len(picture) < 1000
        box = [middle - 10 - left, 100, middle + (20 if first else 10) - left, 140]
        seen = len(picture) < 1000 and box[0] >= 0 and box[2] <= 400 and int(picture[0, 0, 0]) == 0
        return {
            "boxes": np.array([box], np.float32), "classes": np.zeros(1, np.int32),
            "scores": np.array([0.99 if first else 0.6], np.float32),
            "count": np.array([seen and int(picture[0, 1, 0]) == 0], np.int32),
            "masks": np.ones((1, 28, 28), np.float32),
        }  # fmt: skip

    found = Segmenter(FakeBackend(size, answer))(plain, slices=side, overlap=overlap)
    assert found.scores.tolist() == [pytest.approx(0.6)]


def test_many_objects_are_compared_in_time_and_memory() -> None:
    """Thousands of boxes of a survey: neighbours alone are compared."""
    card = instance_card(smallest_side=500, mask_size=0, top=5000)
    rng = np.random.default_rng(0)

    def crowd(_: object) -> dict[str, np.ndarray]:
        corner = rng.uniform(40, 400, (300, 2))
        return {
            "boxes": np.hstack([corner, corner + 12]).astype(np.float32),
            "scores": np.sort(rng.uniform(0.3, 1, 300))[::-1].astype(np.float32),
            "classes": np.zeros(300, np.int32), "count": np.array([300], np.int32),
        }  # fmt: skip

    start = time.perf_counter()
    found = Segmenter(FakeBackend(card, crowd))(np.zeros((4000, 4000, 3), np.uint8), slices=500)
    assert time.perf_counter() - start < 30
    assert len(found) == 5000


@pytest.mark.parametrize(
    ("side", "overlap"), [(63, 0), (100, 51), (100, -1), (0, None), (640.0, None), (640, 10.5)]
)
def test_bad_slices(side: float, overlap: float | None) -> None:
    """One sentence with both numbers."""
    segmenter = Segmenter(Oracle(instance_card()).backend())
    with pytest.raises(OptionError, match=f"slices is {side} and overlap"):
        segmenter(np.zeros((200, 200, 3), np.uint8), slices=side, overlap=overlap)


def test_options_of_the_other_kind() -> None:
    """DeepMask has windows of its own; an overlap needs slices."""
    with pytest.raises(OptionError, match="slices is 300, and fake has no slices"):
        Segmenter(FakeBackend(proposal_card(), Oracle(instance_card())))(
            np.zeros((200, 200, 3), np.uint8), slices=300
        )
    with pytest.raises(OptionError, match="overlap is 20 and there are no slices"):
        Segmenter(Oracle(instance_card()).backend())(np.zeros((9, 9, 3), np.uint8), overlap=20)
