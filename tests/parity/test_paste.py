"""Pasting against torchvision, pixel for pixel: boxes in the picture, over its border, flat."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from engine.paste import bitmaps

SIZE = 67, 93


def boxes(kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random boxes xyxy: within the picture, over its border, tiny, huge, without an area."""
    height, width = SIZE
    centre = rng.uniform(-0.2, 1.2, (count, 2)) * [width, height]
    half = {
        "ordinary": rng.uniform(2, 30, (count, 2)),
        "tiny": rng.uniform(0.01, 1.5, (count, 2)),
        "huge": rng.uniform(100, 700, (count, 2)),
        "flat": rng.uniform(1, 30, (count, 2)) * rng.permuted([[0.0, 1.0]] * count, axis=1),
        "whole pixels": rng.integers(1, 30, (count, 2)),
    }[kind]
    if kind == "whole pixels":
        centre = centre.round()
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32)


@pytest.mark.parametrize("kind", ["ordinary", "tiny", "huge", "flat", "whole pixels"])
def test_every_pixel_is_torchvisions(kind: str) -> None:
    """200 boxes of each kind; pixels within 1e-5 of the threshold may be either."""
    rng = np.random.default_rng(len(kind))
    made = boxes(kind, 200, rng)
    masks = rng.random((200, 28, 28)).astype(np.float32)
    found = bitmaps(masks, made, SIZE, 0.5, "torchvision")
    compared = 0
    for mask, box, ours in zip(masks, made, found, strict=True):
        given = torch.from_numpy(mask)[None, None], torch.from_numpy(box)[None]
        try:
            values = paste_masks_in_image(*given, SIZE)[0, 0].numpy()
        except RuntimeError:  # it cannot take a box that is wholly outside of the picture
            assert not ours.any()
            continue
        clear = np.abs(values - 0.5) > 1e-5
        np.testing.assert_array_equal(ours[clear], (values > 0.5)[clear])
        compared += 1
    assert compared >= 120
