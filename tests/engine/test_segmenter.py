"""The segmenter over networks whose answer is known: places, merging, options."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import RectangleNetwork, grid
from networks import answer as padded
from networks import card as any_card

from engine import (
    BackendError,
    Card,
    OptionError,
    PictureError,
    ProposalCard,
    Segmenter,
)
from engine.backends.fake import FakeBackend
from engine.prepare import pyramid
from engine.windows import window_boxes

MakeCard = Callable[..., Card]
SCALES = [2.0 ** (k / 2) for k in range(-4, 4)]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(240, 320), (203, 311), (97, 250)])
@pytest.mark.parametrize("corner", ["middle", "top left", "bottom right"])
def test_windows_map_to_the_picture_exactly(
    make_card: MakeCard, scale: float, size: tuple[int, int], corner: str
) -> None:
    """A pattern at a known place lands within half a pixel of it, at every scale and border."""
    height, width = size
    side = min(30 / scale, 0.7 * min(size))  # the window sees 64 / scale pixels
    x0 = {"middle": 0.41 * width, "top left": 0.0, "bottom right": width - side}[corner]
    y0 = {"middle": 0.17 * height, "top left": 0.0, "bottom right": height - side}[corner]
    box = (x0, y0, x0 + side, y0 + side)
    card = make_card(proposals=1)
    segmenter = Segmenter(FakeBackend(card, RectangleNetwork(card, size, box)))
    found = segmenter(np.zeros((*size, 3), np.uint8), scales=[scale])
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], box, atol=0.5 + 1e-3)
    # Each pixel whose centre is clear of the edges is right, not the box alone.
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    depth = np.minimum(np.minimum(xs - box[0], box[2] - xs), np.minimum(ys - box[1], box[3] - ys))
    # The distance bends at the rectangle's corners, within a cell: there bilinear
    # interpolation rounds it off.
    cell = 1.5 * (64 / 56) / scale
    at_x = np.minimum(np.abs(xs - box[0]), np.abs(xs - box[2])) < cell
    at_y = np.minimum(np.abs(ys - box[1]), np.abs(ys - box[3])) < cell
    clear = (np.abs(depth) > 0.05) & ~(at_x & at_y)
    assert clear.mean() > 0.4
    window = found.mask_boxes[0]
    seen = (xs > window[0]) & (xs < window[2]) & (ys > window[1]) & (ys < window[3])
    np.testing.assert_array_equal(found.masks[0][clear & seen], (depth > 0)[clear & seen])


def test_window_boxes_follow_the_formula() -> None:
    """Window (i, j) at scale s is centred at (16 j / s, 16 i / s) and patch / s large."""
    level = pyramid(300, 400, [0.5], 0)[0]
    boxes = window_boxes(np.array([[0, 0], [3, 5]]), level, 160, 16)
    np.testing.assert_allclose(boxes, [[-160, -160, 160, 160], [0, -64, 320, 256]])
    odd = pyramid(101, 203, [0.5], 0)[0]
    assert (odd.height, odd.width) == (50, 102)
    box = window_boxes(np.array([[1, 1]]), odd, 160, 16)[0]
    np.testing.assert_allclose((box[0] + box[2]) / 2, 16 * 203 / 102, rtol=1e-6)
    np.testing.assert_allclose((box[1] + box[3]) / 2, 16 * 101 / 50, rtol=1e-6)


class RandomNetwork:
    """Scores that depend on the level alone, masks that fill their window."""

    def __init__(self, card: ProposalCard, seed: int) -> None:
        self.card, self.seed = card, seed
        self.floors: list[float] = []

    def level(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        windows = grid(height, width)
        rng = np.random.default_rng([self.seed, height, width])
        return rng.random(len(windows)).astype(np.float32), windows

    def __call__(self, inputs) -> dict:
        scores, windows = self.level(*inputs["picture"].shape[:2])
        self.floors.append(float(inputs["min_score"][0]))
        masks = np.ones((len(windows), 2, 2), np.float32)
        return padded(scores, windows, masks, self.card.proposals, self.floors[-1])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 999), st.integers(1, 60), st.integers(1, 200), st.integers(1, 200))
def test_scales_are_merged_as_one_list(seed: int, top: int, height: int, width: int) -> None:
    """The best N over all scales are those of one sorted list, whatever floor the graph got."""
    card = any_card(mask_size=2, proposals=60, top=top, scales=[0.5, 1.0, 2.0])
    network = RandomNetwork(card, seed)
    found = Segmenter(FakeBackend(card, network))(np.zeros((height, width, 3), np.uint8))
    every = [
        network.level(level.height, level.width)[0]
        for level in pyramid(height, width, card.scales, card.patch // 2)
    ]
    expected = np.sort(np.concatenate(every))[::-1][:top]
    np.testing.assert_array_equal(found.scores, expected)
    assert network.floors == sorted(network.floors)


def test_defaults_are_the_cards_and_arguments_win(make_card: MakeCard) -> None:
    """Threshold, number, NMS and scales come from the card unless they are given."""
    card = make_card(mask_size=2, proposals=40, top=12, score_threshold=0.5, scales=[1.0])
    network = RandomNetwork(card, 0)
    segmenter = Segmenter(FakeBackend(card, network))
    picture = np.zeros((90, 130, 3), np.uint8)
    assert segmenter.card is card
    assert len(segmenter(picture)) == 12
    assert segmenter(picture).scores.min() >= 0.5
    assert len(segmenter(picture, top=3)) == 3
    assert len(segmenter(picture, score_threshold=0, top=40)) == 40
    assert len(segmenter(picture, score_threshold=1.0)) == 0
    # All masks fill their windows: NMS at 0.2 leaves windows that share little.
    assert len(segmenter(picture, mask_nms=0.2)) < 12
    calls = len(network.floors)
    segmenter(picture, scales=(0.5, 0.7, 1))
    assert len(network.floors) == calls + 3


@pytest.mark.parametrize(
    "options",
    [
        {"scales": []}, {"scales": [0]}, {"scales": [float("nan")]}, {"score_threshold": -0.1},
        {"score_threshold": float("nan")}, {"mask_nms": 1.5}, {"top": 0}, {"color": "hsv"},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(make_card: MakeCard, options: dict) -> None:
    """Each is an OptionError that has the option's name in it."""
    card = make_card(mask_size=2)
    segmenter = Segmenter(FakeBackend(card, RandomNetwork(card, 0)))
    with pytest.raises(OptionError, match=next(iter(options))):
        segmenter(np.zeros((9, 9, 3), np.uint8), **options)


def test_no_object_is_an_ordinary_answer(make_card: MakeCard) -> None:
    """Zero results have the shapes and types of many."""
    card = make_card(mask_size=2)
    segmenter = Segmenter(FakeBackend(card, RandomNetwork(card, 0)))
    some = segmenter(np.zeros((50, 70, 3), np.uint8))
    none = segmenter(np.zeros((50, 70, 3), np.uint8), score_threshold=1)
    assert len(none) == 0 < len(some)
    for name in ("boxes", "scores", "labels", "mask_values", "mask_boxes", "masks"):
        a, b = getattr(some, name), getattr(none, name)
        assert (a.dtype, a.shape[1:]) == (b.dtype, b.shape[1:])


def test_windows_without_a_pixel_are_no_objects(make_card: MakeCard) -> None:
    """A mask that is nowhere above the threshold gives no instance."""
    card = make_card(mask_size=2)

    def answer(inputs) -> dict:
        windows = np.array([[0, 0], [1, 1]])
        masks = np.array([np.full((2, 2), -5), np.full((2, 2), 5)], np.float32)
        return padded(np.array([0.9, 0.8], np.float32), windows, masks, 5, 0)

    found = Segmenter(FakeBackend(card, answer))(np.zeros((40, 40, 3), np.uint8))
    np.testing.assert_allclose(found.scores, [0.8])


def test_a_level_that_is_too_large_is_refused(make_card: MakeCard) -> None:
    """A picture too large for a scale is refused before the level is made."""
    card = make_card(mask_size=2)
    segmenter = Segmenter(FakeBackend(card, RandomNetwork(card, 0)))
    with pytest.raises(PictureError, match="40000 x 40000 at scale 40"):
        segmenter(np.zeros((1000, 1000, 3), np.uint8), scales=[40])


@pytest.mark.parametrize("size", [(1, 1), (10, 30_000)])
def test_odd_sizes_are_segmented(make_card: MakeCard, size: tuple[int, int]) -> None:
    """One pixel and a long strip go through every level."""
    card = make_card(mask_size=2, scales=SCALES, top=5)
    found = Segmenter(FakeBackend(card, RandomNetwork(card, 0)))(np.zeros(size, np.uint8))
    assert found.size == size
    assert len(found) == 5


def test_threads_may_share_a_segmenter(make_card: MakeCard) -> None:
    """Calls from eight threads give what one thread gets."""
    card = make_card(mask_size=2, scales=[0.5, 1, 2], top=20)
    segmenter = Segmenter(FakeBackend(card, RandomNetwork(card, 5)))
    pictures = [np.zeros((40 + 7 * k, 60, 3), np.uint8) for k in range(8)]
    alone = [segmenter(p).scores.tolist() for p in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = [r.scores.tolist() for r in pool.map(segmenter, pictures)]
    assert together == alone


def test_a_closed_segmenter_says_so(make_card: MakeCard) -> None:
    """Leaving the `with` block closes the backend; a call after it is an error."""
    card = make_card(mask_size=2)
    with Segmenter(FakeBackend(card, RandomNetwork(card, 0))) as segmenter:
        pass
    assert segmenter.backend.closed
    with pytest.raises(BackendError, match="closed"):
        segmenter(np.zeros((9, 9, 3), np.uint8))
