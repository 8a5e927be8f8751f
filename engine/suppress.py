"""Mask NMS: of two results that cover the same pixels, the one with the higher score stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .paste import Crop


def mask_iou(a: Crop, b: Crop) -> float:
    """Intersection over union of two masks of one picture."""
    shared = _intersection(a, b)
    union = int(a.mask.sum()) + int(b.mask.sum()) - shared
    return shared / union if union else 0.0


def suppress(crops: Sequence[Crop], iou: float, limit: int) -> list[int]:
    """Indices of the results that stay, in their order.

    Args:
        crops: masks, the best score first.
        iou: a mask that shares more than this with a kept one is dropped; 1 keeps all.
        limit: how many to keep at most.
    """
    if iou >= 1:
        return list(range(min(limit, len(crops))))
    boxes = np.array([crop.box for crop in crops], np.int64).reshape(-1, 4)
    areas = [int(crop.mask.sum()) for crop in crops]
    kept: list[int] = []
    for k, crop in enumerate(crops):
        if len(kept) >= limit:
            break
        others = boxes[kept]
        overlap = np.minimum(others[:, 2:], boxes[k, 2:]) - np.maximum(others[:, :2], boxes[k, :2])
        for near in np.flatnonzero((overlap > 0).all(1)):
            other = kept[near]
            # The masks cannot share more than the smaller one, nor than their boxes do.
            most = min(areas[k], areas[other], int(overlap[near].prod()))
            if most <= iou * (areas[k] + areas[other] - most):
                continue
            shared = _intersection(crop, crops[other])
            if shared > iou * (areas[k] + areas[other] - shared):
                break
        else:
            kept.append(k)
    return kept


def _intersection(a: Crop, b: Crop) -> int:
    ax0, ay0, ax1, ay1 = a.box
    bx0, by0, bx1, by1 = b.box
    x0, y0, x1, y1 = max(ax0, bx0), max(ay0, by0), min(ax1, bx1), min(ay1, by1)
    if x1 <= x0 or y1 <= y0:
        return 0
    part_a = a.mask[y0 - ay0 : y1 - ay0, x0 - ax0 : x1 - ax0]
    part_b = b.mask[y0 - by0 : y1 - by0, x0 - bx0 : x1 - bx0]
    return int(np.count_nonzero(part_a & part_b))
