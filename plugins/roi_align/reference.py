"""PyramidRoiAlign as the papers say it: region by region, bin by bin. For tests; slow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plugins.roi_align.op import RoiAlignAttributes

Array = NDArray[np.float32]


def pyramid_roi_align(
    boxes: Array, features: Sequence[Array], attributes: RoiAlignAttributes
) -> Array:
    """Float32 [B, R, C, S, S] from boxes [B, R, 4] and one [B, C, H, W] a level.

    A coordinate that is not finite counts as 0.
    """
    boxes = np.where(np.isfinite(boxes), boxes, np.float32(0))
    size = attributes.output_size
    shape = (*boxes.shape[:2], features[0].shape[1], size, size)
    regions = np.zeros(shape, np.float32)
    for b, r in np.ndindex(*boxes.shape[:2]):
        level = level_of(boxes[b, r], attributes)
        scaled = boxes[b, r] / np.float32(attributes.strides[level])
        regions[b, r] = roi_align(features[level][b], scaled, attributes)
    return regions


def level_of(box: Array, attributes: RoiAlignAttributes) -> int:
    """Index of the level that a box belongs to (Feature Pyramid Networks, equation 1).

    A box without area belongs to the finest level.
    """
    area = (box[2] - box[0]) * (box[3] - box[1])
    if not area > 0:
        return 0
    ratio = np.sqrt(area) / np.float32(attributes.canonical_size) + np.float32(attributes.eps_ratio)
    level = np.floor(
        np.float32(attributes.canonical_level) + np.log2(ratio) + np.float32(attributes.eps_level)
    )
    return int(np.clip(level - attributes.finest_level, 0, len(attributes.strides) - 1))


def roi_align(features: Array, box: Array, attributes: RoiAlignAttributes) -> Array:
    """Float32 [C, S, S] of one region; the box is in cells of these features [C, H, W]."""
    size, aligned = attributes.output_size, attributes.aligned
    x0, y0, x1, y1 = box - np.float32(0.5 if aligned else 0)
    width, height = x1 - x0, y1 - y0
    if not aligned:  # a region is at least one cell large
        width, height = max(width, np.float32(1)), max(height, np.float32(1))
    bin_w, bin_h = width / np.float32(size), height / np.float32(size)
    across = attributes.sampling_ratio or max(math.ceil(bin_w), 0)
    down = attributes.sampling_ratio or max(math.ceil(bin_h), 0)
    out = np.zeros((features.shape[0], size, size), np.float32)
    for i, j in np.ndindex(size, size):
        for u, v in np.ndindex(down, across):
            y = y0 + i * bin_h + np.float32(u + 0.5) * bin_h / np.float32(down)
            x = x0 + j * bin_w + np.float32(v + 0.5) * bin_w / np.float32(across)
            out[:, i, j] += sample(features, y, x)
    return out / np.float32(max(across * down, 1))


def sample(features: Array, y: np.float32, x: np.float32) -> Array:
    """[C], bilinear; within a cell of the border the border's value, farther outside zero."""
    height, width = features.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(features.shape[0], np.float32)
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    i, j = int(y), int(x)
    i2, j2 = min(i + 1, height - 1), min(j + 1, width - 1)
    a, b = np.float32(y - i), np.float32(x - j)
    top = features[:, i, j] * (1 - b) + features[:, i, j2] * b
    bottom = features[:, i2, j] * (1 - b) + features[:, i2, j2] * b
    return np.asarray(top * (1 - a) + bottom * a, np.float32)
