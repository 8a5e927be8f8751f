"""Two answers for the same picture: which results are the same ones, and how far apart they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .paste import Crop
from .results import Instances
from .suppress import mask_iou

SAME_IOU = 0.9
"""IoU of two boxes from which on they may be the same result."""


@dataclass(frozen=True)
class Agreement:
    """P pairs of results that two models share, and what each alone has.

    Attributes:
        expected: results of the reference.
        found: results of the other.
        pairs: int64 [P, 2], indices of the same result in both.
        boxes: float64 [P], the largest difference of a coordinate, in pixels.
        scores: float64 [P], difference of the scores.
        masks: float64 [P], IoU of the masks; empty without masks.
        areas: int64 [P], pixels of the reference's mask; empty without masks.
        keypoints: float64 [P, K], distance of each keypoint in pixels; [P, 0] without.
    """

    expected: int
    found: int
    pairs: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    masks: NDArray[np.float64]
    areas: NDArray[np.int64]
    keypoints: NDArray[np.float64]

    @property
    def matched(self) -> float:
        """Share of all results, of either, that have a partner: 1 for two empty answers."""
        most = max(self.expected, self.found)
        return len(self.pairs) / most if most else 1.0


def agreement(
    reference: Instances,
    other: Instances,
    *,
    crops: tuple[Sequence[Crop], Sequence[Crop]] | None = None,
    iou: float = SAME_IOU,
) -> Agreement:
    """Pair the results of two models, the reference's best first.

    A pair has one label and boxes whose IoU reaches `iou`. Where several could be the partner, it
    is the one with the nearest score: two classes' worth of near-copies must not be confused.

    Args:
        reference: what is right.
        other: what is compared with it.
        crops: masks of both, where they are at hand; made otherwise.
        iou: see above.
    """
    overlap = box_iou(reference.boxes, other.boxes)
    allowed = (overlap >= iou) & (reference.labels[:, None] == other.labels[None])
    free = np.ones(len(other), bool)
    pairs: list[tuple[int, int]] = []
    for row in range(len(reference)):
        candidates = np.flatnonzero(allowed[row] & free)
        if len(candidates):
            apart = np.abs(other.scores[candidates] - reference.scores[row])
            # Among equals, the better overlap.
            best = int(candidates[np.lexsort((-overlap[row, candidates], apart))[0]])
            free[best] = False
            pairs.append((row, best))
    chosen = np.array(pairs, np.int64).reshape(-1, 2)
    a, b = chosen[:, 0], chosen[:, 1]
    masks, areas = np.zeros(0), np.zeros(0, np.int64)
    if crops is not None or (reference.has_masks and other.has_masks):
        ours, theirs = crops or (reference.crops(), other.crops())
        masks = np.array([_mask_iou(ours[i], theirs[j]) for i, j in pairs])
        areas = np.array([int(ours[i].mask.sum()) for i, _ in pairs], np.int64)
    gaps = reference.boxes[a].astype(np.float64) - other.boxes[b]
    points = reference.keypoints[a, :, :2].astype(np.float64) - other.keypoints[b, :, :2]
    return Agreement(
        expected=len(reference),
        found=len(other),
        pairs=chosen,
        boxes=np.abs(gaps).max(1, initial=0),
        scores=np.abs(reference.scores[a].astype(np.float64) - other.scores[b]),
        masks=masks,
        areas=areas,
        keypoints=np.hypot(points[..., 0], points[..., 1]),
    )


def _mask_iou(a: Crop, b: Crop) -> float:
    """IoU of two masks; of two empty ones 1, for they agree."""
    return mask_iou(a, b) if a.mask.any() or b.mask.any() else 1.0


def box_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """IoU of each box of `a` [N, 4] with each of `b` [M, 4], xyxy: float64 [N, M]."""
    first, second = a[:, None].astype(np.float64), b[None].astype(np.float64)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(
        first[..., :2], second[..., :2]
    )
    shared = np.clip(sides, 0, None).prod(-1)
    areas = [np.clip(x[..., 2:] - x[..., :2], 0, None).prod(-1) for x in (first, second)]
    union = areas[0] + areas[1] - shared
    result: NDArray[np.float64] = np.where(union > 0, shared / np.where(union > 0, union, 1), 0.0)
    return result
