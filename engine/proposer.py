"""DeepMask: the windows of a pyramid, the best of them, and their masks on the picture."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .backends import Backend
from .card import ProposalCard
from .errors import OptionError
from .paste import paste_all
from .picture import Picture
from .prepare import pyramid, resize
from .results import Instances
from .suppress import suppress
from .tiling import tiles
from .windows import window_boxes

TILE = 2048
"""Largest side of what one call of the graph is given: it bounds what the network holds."""


@dataclass(frozen=True)
class _Winners:
    """The best windows so far: scores [K], boxes [K, 4], mask logits [K, S, S], scores falling."""

    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    logits: NDArray[np.float32]

    def merged(self, other: _Winners, limit: int) -> _Winners:
        """The best `limit` of both; of equal scores those of `self` come first."""
        scores = np.concatenate([self.scores, other.scores])
        order = np.argsort(-scores, kind="stable")[:limit]
        boxes = np.concatenate([self.boxes, other.boxes])
        logits = np.concatenate([self.logits, other.logits])
        return _Winners(scores[order], boxes[order], logits[order])


def propose(
    backend: Backend,
    card: ProposalCard,
    bgr: Picture,
    *,
    scales: Sequence[float] | None,
    score_threshold: float,
    mask_nms: float | None,
    top: int,
) -> Instances:
    """The objects of a picture; what is None is as the card has it.

    Args:
        backend: runs the graph.
        card: its card.
        bgr: uint8 [H, W, 3].
        scales: the pyramid, as factors on the picture's size.
        score_threshold: results score at least this.
        mask_nms: a mask whose IoU with a better one is above this is dropped; 1 keeps all.
        top: how many results at most.

    Raises:
        OptionError: scales or mask_nms out of range.
    """
    scales = card.scales if scales is None else list(scales)
    mask_nms = card.mask_nms if mask_nms is None else mask_nms
    if not scales or not all(math.isfinite(s) and s > 0 for s in scales):
        raise OptionError(f"scales is {list(scales)}; give at least one factor above 0")
    if not 0 <= mask_nms <= 1:
        raise OptionError(f"mask_nms is {mask_nms}; give a number from 0 to 1")
    # Masks that NMS drops make room for others, so that more than `top` compete.
    limit = top if mask_nms >= 1 else max(top, card.proposals)
    winners = _winners(backend, card, bgr, scales, score_threshold, limit)
    return _finish(card, winners, (bgr.shape[0], bgr.shape[1]), mask_nms, top)


def _winners(
    backend: Backend,
    card: ProposalCard,
    bgr: Picture,
    scales: Sequence[float],
    score_threshold: float,
    limit: int,
) -> _Winners:
    """The best `limit` windows over all levels of the pyramid."""
    size = card.mask_size
    best = _Winners(
        np.zeros(0, np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros((0, size, size), np.float32),
    )
    floor = score_threshold
    # The largest level has the most windows: after it few of the others' are winners.
    height, width = bgr.shape[:2]
    for level in pyramid(height, width, sorted(scales, reverse=True), card.patch // 2):
        resized = resize(bgr, level, card.resize)
        for tile in tiles(level.height, level.width, card, _largest_input(card)):
            rows, columns = tile.rows, tile.columns
            part = resized[rows.start : rows.stop, columns.start : columns.stop]
            found = backend.run(
                {
                    "picture": np.ascontiguousarray(part),
                    # A window that cannot be among the best any more needs no mask.
                    "min_score": np.array([floor], np.float32),
                    "owned": tile.owned,
                }
            )
            count = int(found["count"][0])
            windows = found["windows"][:count] + tile.offset
            boxes = window_boxes(windows, level, card.patch, card.stride)
            new = _Winners(found["scores"][:count], boxes, found["masks"][:count])
            best = best.merged(new, limit)
            if len(best.scores) == limit:
                floor = max(floor, float(best.scores[-1]))
    return best


def _largest_input(card: ProposalCard) -> tuple[int, int]:
    """Height and width of what one call takes at most: a plan may be built for less than TILE."""
    built = re.fullmatch(r"(\d+)x(\d+)", card.runtime.get("max", ""))
    height, width = (int(side) for side in built.groups()) if built else (TILE, TILE)
    return min(height, TILE), min(width, TILE)


def _finish(
    card: ProposalCard, winners: _Winners, size: tuple[int, int], mask_nms: float, top: int
) -> Instances:
    threshold = math.log(card.mask_threshold / (1 - card.mask_threshold))
    crops = paste_all(winners.logits, winners.boxes, size, threshold)
    # A window may hold no pixel of the picture above the threshold: that is no object.
    seen = [k for k, crop in enumerate(crops) if crop.mask.size]
    kept = [seen[k] for k in suppress([crops[k] for k in seen], mask_nms, top)]
    boxes = np.array([crops[k].box for k in kept], np.float32).reshape(-1, 4)
    return Instances(
        size=size,
        boxes=boxes,
        scores=winners.scores[kept],
        labels=np.zeros(len(kept), np.int64),
        names=list(card.labels),
        mask_values=winners.logits[kept],
        mask_boxes=winners.boxes[kept],
        mask_threshold=threshold,
    )
