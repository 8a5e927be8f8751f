"""Run-length encoding against pycocotools, byte for byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from engine.paste import EMPTY, Crop
from engine.rle import encode, encode_all


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


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 30), st.integers(0, 9))
def test_many_at_once(seed: int, height: int, width: int, count: int) -> None:
    """Each of several masks is what it is alone: nothing runs from one into the next."""
    rng = np.random.default_rng(seed)
    masks = np.kron(rng.random((count, 6, 6)) < rng.random(), np.ones((1, 5, 5), bool))
    masks = masks[:, :height, :width]
    found = encode_all([(mask, 0, 0) for mask in masks], height, width)
    expected = coco.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    assert [one["counts"].encode() for one in found] == [one["counts"] for one in expected]


def test_a_picture_of_more_than_two_thousand_million_pixels() -> None:
    """Places beyond 2^31 are right: pycocotools finds the box there."""
    mask = np.ones((3, 4), bool)
    found = encode(Crop(mask, 49_990, 49_000), 50_000, 50_000)
    given = {"size": found["size"], "counts": found["counts"].encode()}
    assert coco.toBbox(given).tolist() == [49_990, 49_000, 4, 3]
    assert coco.area(given) == 12


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read on Linux")
def test_memory_of_a_hundred_masks_in_4k() -> None:
    """Under 60 MB more than before, where the bitmaps would be 830."""
    code = (
        "import numpy as np\n"
        "from benchmarks.paste import _made\n"
        "from engine.paste import regions\n"
        "from engine.rle import encode_all\n"
        "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "values, boxes = _made(100, 3840, 2160)\n"
        "encode_all(regions(values[:1], boxes[:1], (64, 64), 0.5, 'torchvision'), 64, 64)\n"
        "before = peak()\n"
        "found = encode_all(regions(values, boxes, (2160, 3840), 0.5, 'torchvision'), 2160, 3840)\n"
        "assert len(found) == 100\n"
        "print((peak() - before) / 1000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 60
