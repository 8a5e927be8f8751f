"""Run-length encoding against pycocotools, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from engine.paste import EMPTY, Crop
from engine.rle import encode


def _tight(mask: np.ndarray) -> Crop:
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(ys):
        return EMPTY
    return Crop(mask[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1], int(xs[0]), int(ys[0]))


def _check(mask: np.ndarray) -> None:
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    found = encode(_tight(mask), *mask.shape)
    assert found["counts"].encode() == expected["counts"]
    assert found["size"] == expected["size"]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 10_000),
    st.integers(1, 8),
)  # fmt: skip
def test_any_mask(height: int, width: int, share: float, seed: int, grain: int) -> None:
    """Masks of any size, fill and grain are encoded as pycocotools encodes them."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // grain + 1, width // grain + 1)) < share
    _check(np.kron(coarse, np.ones((grain, grain), bool))[:height, :width])


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2000, 3000)])
def test_empty_and_full(size: tuple[int, int]) -> None:
    """No pixel, all pixels, and whole columns side by side, at any size."""
    _check(np.zeros(size, bool))
    _check(np.ones(size, bool))
    columns = np.zeros(size, bool)
    columns[:, size[1] // 3 : 2 * size[1] // 3 + 1] = True
    _check(columns)


def test_one_pixel_anywhere() -> None:
    """A single pixel is encoded right at each place of a picture."""
    for y in range(5):
        for x in range(7):
            mask = np.zeros((5, 7), bool)
            mask[y, x] = True
            _check(mask)
