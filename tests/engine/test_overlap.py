"""Overlap-tile: what tiles give is what the whole picture gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import BackendError, OptionError
from engine.large import LargePicture
from engine.overlap import mirrored, overlap_tile

SIDES = st.integers(1, 40)


class Unpadded:
    """Labels from a neighbourhood, without padding, as U-Net's convolutions are."""

    def __init__(self, reach: int) -> None:
        self.reach = reach
        self.kernel = np.random.default_rng(reach).integers(-3, 4, (2 * reach + 1,) * 2)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        grey = picture.sum(2, dtype=np.float64)
        sums = cv2.filter2D(grey, cv2.CV_64F, self.kernel.astype(np.float64))
        inside = sums[self.reach : -self.reach or None, self.reach : -self.reach or None]
        return (np.rint(inside).astype(np.int64) % 7).astype(np.uint8)


@settings(max_examples=200, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 5), st.integers(0, 6), st.booleans())
def test_tiles_are_not_seen(
    height: int, width: int, tall: int, wide: int, reach: int, more: int, on_disk: bool
) -> None:
    """Any picture, tile and border that is wide enough, against the mirrored picture as one."""
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    border = reach + more
    network = Unpadded(reach)
    whole = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), "reflect")

    def run(tile: np.ndarray) -> np.ndarray:
        assert tile.shape == (tall + 2 * border, wide + 2 * border, 3)
        labels = network(tile)
        return labels[more : len(labels) - more, more : labels.shape[1] - more]

    found = overlap_tile(run, LargePicture(picture) if on_disk else picture, (tall, wide), border)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, network(whole))


@settings(max_examples=100, deadline=None)
@given(SIDES, st.integers(-90, 90), st.integers(1, 90))
def test_mirrors_are_numpys(length: int, start: int, count: int) -> None:
    """Again and again where the border is wider than the picture."""
    picture = np.arange(length * 3, dtype=np.uint8).reshape(length, 1, 3)
    expected = np.pad(picture, ((200, 200), (0, 0), (0, 0)), "reflect")[start + 200 :][:count]
    np.testing.assert_array_equal(mirrored(picture, (start, start + count), (0, 1)), expected)


def test_mistakes() -> None:
    """One sentence each."""
    picture = np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(OptionError, match="a border of -1"):
        overlap_tile(lambda tile: tile[..., 0], picture, (3, 3), -1)
    with pytest.raises(BackendError, match=r"gives \[5, 5\] for a tile of \[3, 3\]"):
        overlap_tile(lambda tile: tile[..., 0], picture, (3, 3), 1)
