"""BatchedNms as one would explain it: greedy, one box at a time. For tests; slow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugins.nms.op import NmsAttributes


class Detections(NamedTuple):
    """What comes out; rows past `count` are zeros, with class and index -1.

    Attributes:
        boxes: float32 [B, K, 4].
        scores: float32 [B, K], falling.
        classes: int32 [B, K].
        indices: int32 [B, K], the row of the input.
        count: int32 [B].
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int32]
    indices: NDArray[np.int32]
    count: NDArray[np.int32]


def batched_nms(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], attributes: NmsAttributes
) -> Detections:
    """Greedy NMS of each picture.

    Args:
        boxes: float32 [B, N, 4] xyxy, or [B, N, C, 4] with one box a class.
        scores: float32 [B, N, C].
        attributes: see there.
    """
    pictures = scores.shape[0]
    size = attributes.detections
    out = Detections(
        np.zeros((pictures, size, 4), np.float32),
        np.zeros((pictures, size), np.float32),
        np.full((pictures, size), -1, np.int32),
        np.full((pictures, size), -1, np.int32),
        np.zeros(pictures, np.int32),
    )
    for b in range(pictures):
        for n, c in _kept(boxes[b], scores[b], attributes)[:size]:
            k = out.count[b]
            out.boxes[b, k] = boxes[b, n] if boxes.ndim == 3 else boxes[b, n, c]
            out.scores[b, k] = scores[b, n, c]
            out.classes[b, k], out.indices[b, k] = c, n
            out.count[b] += 1
    return out


def _kept(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], attributes: NmsAttributes
) -> list[tuple[int, int]]:
    """The (row, class) pairs that stay, the best first.

    A pair competes if its score is finite and above the threshold and its box is finite. Of
    equal scores the pair that comes first in [N, C] is the better one.
    """
    threshold = np.float32(attributes.for_node()["iou_threshold"])
    pairs = [
        (n, c)
        for n in range(scores.shape[0])
        for c in range(scores.shape[1])
        if np.isfinite(scores[n, c])
        and scores[n, c] > np.float32(attributes.score_threshold)
        and np.isfinite(boxes[n] if boxes.ndim == 2 else boxes[n, c]).all()
    ]
    pairs.sort(key=lambda pair: -scores[pair])  # a stable sort
    kept: list[tuple[int, int]] = []
    for n, c in pairs[: attributes.candidates]:
        box = boxes[n] if boxes.ndim == 2 else boxes[n, c]
        rivals = [p for p in kept if attributes.class_agnostic or p[1] == c]
        others = [boxes[m] if boxes.ndim == 2 else boxes[m, d] for m, d in rivals]
        if not any(_iou(other, box) > threshold for other in others):
            kept.append((n, c))
    return kept


def greedy(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float
) -> NDArray[np.int64]:
    """Rows [K] of one class's boxes [N, 4] that stay, the best first: for thousands of boxes."""
    waiting = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        with np.errstate(invalid="ignore", divide="ignore"):
            waiting = waiting[~(_iou(boxes[best], boxes[waiting].T) > np.float32(threshold))]
    return np.array(kept, np.int64)


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union in fp32, areas as products of differences; b is [4] or [4, N].

    Two boxes without area have 0 / 0, which is above no threshold: they do not suppress each
    other.
    """
    width = np.maximum(np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]), np.float32(0))
    height = np.maximum(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]), np.float32(0))
    shared = width * height
    area_a, area_b = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(shared / (area_a + area_b - shared), np.float32)
