"""Windows map to the picture exactly: what a network sees at a place lands at that place.

Three networks, from the exact to the honest: one that knows where a straight edge is (nothing is
lost: pixels must be right to the last one), one that knows a rectangle, and one that knows nothing
but the pixels of the level that it is given, borders included.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import (
    CELLS,
    PATCH,
    SCALES,
    STRIDE,
    EdgeNetwork,
    RectangleNetwork,
    SeeingNetwork,
    card,
)

from engine import Card, Segmenter
from engine.backends.fake import FakeBackend
from engine.prepare import Level, pyramid
from engine.windows import window_boxes

MakeCard = Callable[..., Card]
sides = st.integers(1, 400)


# ---- the formula


@given(sides, sides, st.floats(0.05, 4), st.integers(0, 60), st.integers(0, 60))
def test_a_window_is_centred_on_its_stride(
    height: int, width: int, scale: float, i: int, j: int
) -> None:
    """Window (i, j) is centred at 16 (j, i) of the level's pixels and a patch wide, mapped back."""
    level = pyramid(height, width, [scale], 0)[0]
    boxes = window_boxes(np.array([[i, j]], np.int32), level, 160, STRIDE)
    assert boxes.dtype == np.float32
    assert boxes.shape == (1, 4)
    x0, y0, x1, y1 = boxes[0].astype(np.float64)
    per_x, per_y = level.width / width, level.height / height
    place = [(x0 + x1) / 2 * per_x, (y0 + y1) / 2 * per_y, (x1 - x0) * per_x, (y1 - y0) * per_y]
    # float32 has seven digits, and the level at most 1600 pixels.
    np.testing.assert_allclose(place, [STRIDE * j, STRIDE * i, 160, 160], rtol=1e-5, atol=2e-3)


def test_window_boxes_by_hand() -> None:
    """At half size a window of 160 covers 320 pixels, and no windows are no boxes."""
    level = pyramid(300, 400, [0.5], 0)[0]
    boxes = window_boxes(np.array([[0, 0], [3, 5]]), level, 160, 16)
    np.testing.assert_allclose(boxes, [[-160, -160, 160, 160], [0, -64, 320, 256]])
    assert window_boxes(np.zeros((0, 2), np.int32), level, 160, 16).shape == (0, 4)
    uneven = Level(height=50, width=102, scale_y=50 / 101, scale_x=102 / 203)
    box = window_boxes(np.array([[1, 1]]), uneven, 160, 16)[0]
    np.testing.assert_allclose((box[0] + box[2]) / 2, 16 * 203 / 102, rtol=1e-6)
    np.testing.assert_allclose((box[1] + box[3]) / 2, 16 * 101 / 50, rtol=1e-6)


# ---- a straight edge: nothing is lost on the way


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    scale=st.floats(0.25, 2.83), window=st.integers(0, 10_000), upright=st.booleans(),
    side=st.sampled_from([-1.0, 1.0]), share=st.floats(0, 1),
)  # fmt: skip
def test_a_straight_edge_comes_back_to_its_place(
    size: tuple[int, int], scale: float, window: int, upright: bool, side: float, share: float
) -> None:
    """Logits u - u0 along an axis give exactly the pixels whose centres are beyond u0 / scale.

    Bilinear interpolation of a linear function is that function, so no pixel may be wrong, at any
    scale and in any window; at most those whose centre is on the edge to the fourth digit.
    """
    one = card(proposals=1)
    at = (share * size[1], share * size[0])
    normal = (side, 0.0) if upright else (0.0, side)
    network = EdgeNetwork(one, size, normal, at, window)
    found = Segmenter(FakeBackend(one, network))(np.zeros(size, np.uint8), scales=[scale])
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    beyond = (xs - at[0]) * normal[0] + (ys - at[1]) * normal[1]
    windows = found.mask_boxes if len(found) else _only_window(size, scale, window)
    x0, y0, x1, y1 = windows[0]
    inside = (xs >= x0) & (xs < x1) & (ys >= y0) & (ys < y1)
    # Beyond the centres of the outermost cells the value is constant: an edge there moves.
    half = np.array([x1 - x0, y1 - y0]) / CELLS / 2
    edge, low, high = (at[0], x0, x1) if upright else (at[1], y0, y1)
    margin = half[0] if upright else half[1]
    if not low + margin <= edge <= high - margin:
        on_edge = np.abs(beyond) < margin + 1e-3
    else:
        on_edge = np.abs(beyond) < 1e-3
    mask = found.masks[0] if len(found) else np.zeros(size, bool)
    clear = ~on_edge & (np.abs(xs - x0) > 1e-3) & (np.abs(xs - x1) > 1e-3)
    clear &= (np.abs(ys - y0) > 1e-3) & (np.abs(ys - y1) > 1e-3)
    np.testing.assert_array_equal(mask[clear], (inside & (beyond > 0))[clear])


def _only_window(size: tuple[int, int], scale: float, window: int) -> np.ndarray:
    """The box of the window that answered, where no pixel of it was above the threshold."""
    level = pyramid(*size, [scale], 0)[0]
    rows, columns = level.height // STRIDE + 1, level.width // STRIDE + 1
    chosen = np.array([divmod(window % (rows * columns), columns)])
    return window_boxes(chosen, level, PATCH, STRIDE)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(96, 128), (101, 143)])
@pytest.mark.parametrize("degrees", [0, 33, 90, 135, 200, 301])
def test_an_edge_is_where_it_is_in_every_window(
    make_card: MakeCard, scale: float, size: tuple[int, int], degrees: float
) -> None:
    """In all windows of a level, partly outside too, a slanted edge keeps its place to a pixel."""
    normal = (np.cos(np.radians(degrees)), np.sin(np.radians(degrees)))
    at = (0.43 * size[1], 0.37 * size[0])
    many = make_card(proposals=600, top=600)
    network = EdgeNetwork(many, size, normal, at)
    found = Segmenter(FakeBackend(many, network))(np.zeros(size, np.uint8), scales=[scale])
    assert len(found)
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    beyond = (xs - at[0]) * normal[0] + (ys - at[1]) * normal[1]
    half = (found.mask_boxes[0, 2:] - found.mask_boxes[0, :2]) / CELLS / 2
    for mask, (x0, y0, x1, y1) in zip(found.masks, found.mask_boxes, strict=True):
        # Within the centres of the outermost cells, where nothing is clipped.
        inside = (xs > x0 + half[0]) & (xs < x1 - half[0])
        inside &= (ys > y0 + half[1]) & (ys < y1 - half[1]) & (np.abs(beyond) > 1e-3)
        np.testing.assert_array_equal(mask[inside], (beyond > 0)[inside])
        outside = (xs < x0 - 1e-3) | (xs > x1 + 1e-3) | (ys < y0 - 1e-3) | (ys > y1 + 1e-3)
        assert not mask[outside].any()


# ---- a rectangle, in the best window


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(240, 320), (203, 311), (97, 250)])
@pytest.mark.parametrize("corner", ["middle", "top left", "bottom right"])
def test_a_rectangle_comes_back_to_its_place(
    make_card: MakeCard, scale: float, size: tuple[int, int], corner: str
) -> None:
    """A rectangle at a known place has its box within half a pixel, at every scale and border."""
    height, width = size
    side = min(30 / scale, 0.7 * min(size))  # the window sees 64 / scale pixels
    x0 = {"middle": 0.41 * width, "top left": 0.0, "bottom right": width - side}[corner]
    y0 = {"middle": 0.17 * height, "top left": 0.0, "bottom right": height - side}[corner]
    box = (x0, y0, x0 + side, y0 + side)
    one = make_card(proposals=1)
    segmenter = Segmenter(FakeBackend(one, RectangleNetwork(one, size, box)))
    found = segmenter(np.zeros((*size, 3), np.uint8), scales=[scale])
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], box, atol=0.5 + 1e-3)
    # Each pixel whose centre is clear of the edges is right, not the box alone.
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    depth = np.minimum(np.minimum(xs - box[0], box[2] - xs), np.minimum(ys - box[1], box[3] - ys))
    # The distance bends at the rectangle's corners, within a cell: there bilinear
    # interpolation rounds it off.
    cell = 1.5 * (PATCH / CELLS) / scale
    at_x = np.minimum(np.abs(xs - box[0]), np.abs(xs - box[2])) < cell
    at_y = np.minimum(np.abs(ys - box[1]), np.abs(ys - box[3])) < cell
    clear = (np.abs(depth) > 0.05) & ~(at_x & at_y)
    assert clear.mean() > 0.4
    window = found.mask_boxes[0]
    seen = (xs > window[0]) & (xs < window[2]) & (ys > window[1]) & (ys < window[3])
    np.testing.assert_array_equal(found.masks[0][clear & seen], (depth > 0)[clear & seen])


# ---- shapes in a picture, seen through its levels


def _depth(shape: str, place: str, size: tuple[int, int]) -> np.ndarray:
    """How far each pixel's centre lies within the shape, in pixels; negative outside."""
    height, width = size
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    radius = 0.23 * min(size)
    share = {"middle": (0.47, 0.53), "near corner": (0.0, 0.05), "far corner": (0.97, 1.0)}[place]
    cx, cy = round(share[0] * width), round(share[1] * height)
    if shape == "disc":
        return radius - np.hypot(xs - cx, ys - cy)
    if shape == "rectangle":
        return np.minimum(round(1.3 * radius) - np.abs(xs - cx), round(radius) - np.abs(ys - cy))
    return ((xs - cx) * 0.6 + (ys - cy) * 0.8) * (1 if place != "far corner" else -1)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(120, 160), (97, 143), (111, 75)])
@pytest.mark.parametrize("shape", ["disc", "rectangle", "half"])
@pytest.mark.parametrize("place", ["middle", "near corner", "far corner"])
def test_a_bright_shape_is_found_where_it_is(
    make_card: MakeCard, scale: float, size: tuple[int, int], shape: str, place: str
) -> None:
    """Every window that sees a shape, over the border too, gives just the shape's pixels in it.

    Pixels deeper inside or farther outside than half a pixel must be right. A level that is
    smaller than the picture keeps an edge to half a diagonal of its own pixels: there the bound
    is that. Errors of an edge are as often in as out: the centroid of what is seen in a window is
    within half a pixel of the truth, or 0.15 of a level's pixel where that is more.
    """
    depth = _depth(shape, place, size)
    # Drawn with the share of each pixel that it covers, from 0 (dark) to 255 (bright).
    grey = np.round(255 * np.clip(depth + 0.5, 0, 1)).astype(np.uint8)
    many = make_card(proposals=700, top=700)
    found = Segmenter(FakeBackend(many, SeeingNetwork(many)))(grey, scales=[scale])
    assert len(found)
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    level = pyramid(*size, [scale], 0)[0]
    pixel = 1 / min(level.scale_x, level.scale_y)  # the level's, in pixels of the picture
    bound = 0.5 if scale >= 1 else np.sqrt(0.5) * pixel
    for mask, (x0, y0, x1, y1) in zip(found.masks, found.mask_boxes, strict=True):
        inside = (xs >= x0) & (xs < x1) & (ys >= y0) & (ys < y1)
        wrong = (mask != (inside & (depth > 0))) & (np.abs(depth) > bound)
        assert not wrong.any(), (np.abs(depth)[wrong].max(), bound)
        truth = inside & (depth > 0)
        if truth.sum() == (depth > 0).sum() and truth.any():
            off = [ys[mask].mean() - ys[truth].mean(), xs[mask].mean() - xs[truth].mean()]
            assert np.abs(off).max() <= max(0.5, 0.15 * pixel), off
