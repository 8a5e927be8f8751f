"""Sizes and resizing as the two frameworks do them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import instance_card

from engine.errors import PictureError
from engine.fit import fitted, fitted_size, pillow_bilinear

sides = st.integers(1, 4000)


@given(height=sides, width=sides)
def test_torchvisions_size(height: int, width: int) -> None:
    """GeneralizedRCNNTransform: the smaller of two factors, fractions cut off."""
    card = instance_card(framework="torchvision")
    if max(height, width) / min(height, width) > 1000:
        return
    factor = min(800 / min(height, width), 1333 / max(height, width))
    expected = (max(1, int(height * factor)), max(1, int(width * factor)))
    assert fitted_size(height, width, card) == expected


@given(height=sides, width=sides)
def test_detectron2s_size(height: int, width: int) -> None:
    """ResizeShortestEdge: the shorter side first, then the longer one, rounded."""
    card = instance_card(framework="detectron2")
    new = (800.0, 800 / height * width) if height < width else (800 / width * height, 800.0)
    if max(new) > 1333:
        new = tuple(side * (1333 / max(new)) for side in new)
    expected = tuple(max(1, int(side + 0.5)) for side in new)
    assert fitted_size(height, width, card) == expected


def test_a_fixed_canvas_holds_any_picture() -> None:
    """What is too large for the canvas is made smaller in both directions alike."""
    card = instance_card(framework="torchvision", canvas=[640, 960])
    for picture in ((480, 640), (640, 480), (100, 3000), (3000, 100)):
        height, width = fitted_size(*picture, card)
        assert 1 <= height <= 640
        assert 1 <= width <= 960
        placed = fitted(np.full((*picture, 3), 200, np.uint8), (height, width), card)
        assert placed.shape == (640, 960, 3)
        assert (placed[:height, :width] == 200).all()
        assert not placed[height:].any()
        assert not placed[:, width:].any()


def test_no_picture_becomes_gigantic() -> None:
    """A card's sides decide, and what they would make too large is refused."""
    card = instance_card(framework="torchvision", smallest_side=16384, largest_side=16384)
    with pytest.raises(PictureError, match="would be resized to"):
        fitted_size(1000, 1000, card)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 1000), source=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)  # fmt: skip
def test_pillow_to_the_last_bit(
    seed: int, source: tuple[int, int], target: tuple[int, int]
) -> None:
    """Larger and smaller, in either direction, columns first.

    From 13.0 on Pillow takes rows first where many more rows than columns go, and rounds twice
    the other way round; what detectron2's results were published with did not.
    """
    rows, columns = source[0] - target[0], source[1] - target[1]
    assume(not (rows > 0 and rows > 2 * columns))
    image = pytest.importorskip("PIL.Image", reason="Pillow is compared with")
    picture = np.random.default_rng(seed).integers(0, 256, (*source, 3), np.uint8)
    expected = image.fromarray(picture).resize(target[::-1], image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pillow_bilinear(picture, target), np.asarray(expected))
