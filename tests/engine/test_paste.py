"""Pasting against the formula in its docstring, pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.paste
from engine.paste import EMPTY, Crop, bitmaps, paste, paste_all

edges = st.floats(-60, 80, allow_nan=False, width=32)


def _full(crop: Crop, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, bool)
    x0, y0, x1, y1 = crop.box
    mask[y0:y1, x0:x1] = crop.mask
    return mask


def _formula(logits: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The interpolated logit at each pixel's centre, minus infinity outside the box."""
    x0, y0, x1, y1 = box.astype(np.float64)
    values = np.full(size, -np.inf)
    cells = logits.shape[0]
    for y in range(size[0]):
        for x in range(size[1]):
            cx, cy = x + 0.5, y + 0.5
            if not (x0 <= cx < x1 and y0 <= cy < y1):
                continue
            u = min(max((cx - x0) / (x1 - x0) * cells - 0.5, 0), cells - 1)
            v = min(max((cy - y0) / (y1 - y0) * cells - 0.5, 0), cells - 1)
            i, j = int(v), int(u)
            i2, j2 = min(i + 1, cells - 1), min(j + 1, cells - 1)
            a, b = v - i, u - j
            top = logits[i, j] * (1 - b) + logits[i, j2] * b
            bottom = logits[i2, j] * (1 - b) + logits[i2, j2] * b
            values[y, x] = top * (1 - a) + bottom * a
    return values


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000), cells=st.integers(1, 9), x=edges, y=edges,
    width=st.floats(0, 120, width=32), height=st.floats(0, 120, width=32),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
)  # fmt: skip
def test_paste_is_the_formula(
    seed: int, cells: int, x: float, y: float, width: float, height: float, size: tuple[int, int]
) -> None:
    """Boxes inside, outside, tiny and huge: each pixel is as bilinear interpolation says."""
    logits = np.random.default_rng(seed).normal(0, 3, (cells, cells)).astype(np.float32)
    box = np.array([x, y, x + width, y + height], np.float32)
    expected = _formula(logits, box, size)
    found = _full(paste(logits, box, size, 0.25), size)
    clear = ~(np.abs(expected - 0.25) < 1e-4)
    # A pixel's centre may lie on the box's edge to the last digit.
    np.testing.assert_array_equal(found[clear], (expected > 0.25)[clear])


def test_paste_agrees_with_opencv_on_whole_pixels() -> None:
    """On a box of whole pixels it is cv2.resize, which has the same convention."""
    logits = np.random.default_rng(1).normal(0, 2, (56, 56)).astype(np.float32)
    crop = paste(logits, np.array([10, 20, 110, 90]), (120, 130), 0)
    resized = cv2.resize(logits, (100, 70), interpolation=cv2.INTER_LINEAR)
    clear = np.abs(resized) > 1e-4
    found = _full(crop, (120, 130))[20:90, 10:110]
    np.testing.assert_array_equal(found[clear], (resized > 0)[clear])


def test_a_crop_is_tight() -> None:
    """Each border row and column of a crop has a pixel of the mask in it."""
    logits = np.full((8, 8), -1, np.float32)
    logits[2:5, 3:7] = 1
    crop = paste(logits, np.array([0, 0, 80, 80]), (80, 80), 0)
    for line in (crop.mask[0], crop.mask[-1], crop.mask[:, 0], crop.mask[:, -1]):
        assert line.any()
    assert crop.box == (30, 20, 70, 50)


def test_nothing_is_an_empty_crop() -> None:
    """Windows beside the picture, masks under the threshold and boxes without area are empty."""
    one = np.ones((4, 4), np.float32)
    for box in ([200, 0, 300, 50], [-50, -50, 0, 0], [5, 5, 5, 9], [5.1, 5.1, 5.2, 5.2]):
        assert paste(one, np.array(box, np.float32), (100, 100), 0) is EMPTY
    assert paste(-one, np.array([0, 0, 50, 50]), (100, 100), 0) is EMPTY
    assert paste(one, np.array([0, 0, 1, 1]), (100, 100), 0).mask.tolist() == [[True]]


def _random_boxes(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """Within the picture, over its border, beside it, tiny and huge."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-0.3, 1.3, (count, 2)) * size[::-1]
    half = 10 ** rng.uniform(-1.5, 2.8, (count, 2))
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32)


def test_detectron2s_rule_is_grid_sample() -> None:
    """1,000 boxes against PyTorch, but for pixels within 1e-5 of the threshold."""
    import torch
    from torch.nn.functional import grid_sample

    size = 45, 61
    boxes = _random_boxes(1000, size, 0)
    masks = np.random.default_rng(1).random((1000, 28, 28)).astype(np.float32)
    found = bitmaps(masks, boxes, size, 0.5, "detectron2")
    x0, y0, x1, y1 = torch.from_numpy(boxes).double().T[:, :, None]
    ys, xs = (torch.arange(n, dtype=torch.float64) + 0.5 for n in size)
    x, y = (xs - x0) / (x1 - x0) * 2 - 1, (ys - y0) / (y1 - y0) * 2 - 1
    grid = torch.stack(
        [x[:, None].expand(-1, size[0], -1), y[:, :, None].expand(-1, -1, size[1])], -1
    )
    tensor = torch.from_numpy(masks).double()[:, None]
    values = grid_sample(tensor, grid, align_corners=False)[:, 0].numpy()
    clear = np.abs(values - 0.5) > 1e-5
    np.testing.assert_array_equal(found[clear], (values >= 0.5)[clear])
    assert clear.mean() > 0.999
    assert 0.02 < found.mean() < 0.9


@pytest.mark.parametrize("several", [1, 1 << 40])
@pytest.mark.parametrize("rule", ["centres", "torchvision", "detectron2"])
def test_crops_and_bitmaps_are_the_same(
    rule: str, several: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every rule the tight crop holds exactly the bitmap's pixels, by one thread or more."""
    monkeypatch.setattr(engine.paste, "SEVERAL_THREADS", several)
    size = 45, 61
    boxes = _random_boxes(200, size, 2)
    masks = np.random.default_rng(3).random((200, 14, 14)).astype(np.float32)
    whole = bitmaps(masks, boxes, size, 0.5, rule)
    for mask, crop in zip(whole, paste_all(masks, boxes, size, 0.5, rule), strict=True):
        np.testing.assert_array_equal(_full(crop, size), mask)
