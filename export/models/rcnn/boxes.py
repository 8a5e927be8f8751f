"""Boxes from anchors and deltas (Girshick et al. 2014, appendix C; Ren et al. 2015, section 3)."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

LARGEST_LOG = math.log(1000 / 16)
"""What the logarithm of a side's growth is clamped to."""
RATIOS = (0.5, 1.0, 2.0)
"""Of an anchor's height to its width."""


def cell_anchors(sizes: tuple[int, ...], *, rounded: bool) -> Tensor:
    """Float32 [A, 4] xyxy around the origin: for each size all ratios.

    detectron2's order. torchvision counts the other way round; but its networks have one size a
    level.
    """
    corners = []
    for size, ratio in product(sizes, RATIOS):
        height, width = size * math.sqrt(ratio), size / math.sqrt(ratio)
        corners.append([-width / 2, -height / 2, width / 2, height / 2])
    anchors = torch.tensor(corners, dtype=torch.float32)
    return anchors.round() if rounded else anchors


def decode(boxes: Tensor, deltas: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Boxes [..., 4] moved and grown by deltas [..., 4]; shapes broadcast."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    width, height = x1 - x0, y1 - y0
    x, y = x0 + 0.5 * width, y0 + 0.5 * height
    dx, dy, dw, dh = (d / w for d, w in zip(deltas.unbind(-1), weights, strict=True))
    x, y = dx * width + x, dy * height + y
    # A minimum, not a clamp: NaN stays NaN, and NMS leaves it out.
    limit = torch.tensor(LARGEST_LOG)
    half_width = 0.5 * (torch.exp(torch.minimum(dw, limit)) * width)
    half_height = 0.5 * (torch.exp(torch.minimum(dh, limit)) * height)
    return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], -1)


def clip(boxes: Tensor, size: Tensor) -> Tensor:
    """Boxes [..., 4] inside a picture; size: float32 [2], height and width."""
    limit = torch.stack([size[1], size[0], size[1], size[0]])
    return torch.minimum(torch.relu(boxes), limit)


def smaller(boxes: Tensor, side: float) -> Tensor:
    """Bool [...]: whether a side of the box [..., 4] is below `side`."""
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return (width < side) | (height < side)
