"""Mask NMS against the plain algorithm on whole bitmaps."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.paste import Crop
from engine.suppress import mask_iou, suppress

SIDE = 30


def _masks(seed: int, count: int) -> list[Crop]:
    rng = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        h, w = rng.integers(1, 14, 2)
        y, x = rng.integers(0, SIDE - 14, 2)
        mask = rng.random((h, w)) < 0.8
        mask[0, 0] = mask[-1, -1] = True
        crops.append(Crop(mask, int(x), int(y)))
    return crops


def _bitmap(crop: Crop) -> np.ndarray:
    full = np.zeros((SIDE, SIDE), bool)
    x0, y0, x1, y1 = crop.box
    full[y0:y1, x0:x1] = crop.mask
    return full


def _plain(crops: list[Crop], iou: float, limit: int) -> list[int]:
    kept: list[int] = []
    for k, crop in enumerate(crops):
        a = _bitmap(crop)
        others = [_bitmap(crops[j]) for j in kept]
        if all((a & b).sum() <= iou * (a | b).sum() for b in others) and len(kept) < limit:
            kept.append(k)
    return kept


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 25), st.floats(0, 1), st.integers(1, 30))
def test_it_is_greedy_nms(seed: int, count: int, iou: float, limit: int) -> None:
    """The same results stay as with whole bitmaps and no short cuts."""
    crops = _masks(seed, count)
    expected = list(range(min(limit, count))) if iou == 1 else _plain(crops, iou, limit)
    assert suppress(crops, iou, limit) == expected


@given(st.integers(0, 10_000))
def test_iou_is_that_of_the_bitmaps(seed: int) -> None:
    """Intersection over union does not depend on how the masks are cropped."""
    a, b = _masks(seed, 2)
    whole_a, whole_b = _bitmap(a), _bitmap(b)
    assert mask_iou(a, b) == (whole_a & whole_b).sum() / (whole_a | whole_b).sum()
    assert mask_iou(a, a) == 1


def test_one_keeps_even_the_same_mask_twice() -> None:
    """An IoU of 1 switches NMS off."""
    crop = _masks(0, 1)[0]
    assert suppress([crop, crop], 1, 9) == [0, 1]
    assert suppress([crop, crop], 0.99, 9) == [0]
    assert suppress([], 0.5, 9) == []
