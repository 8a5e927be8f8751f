"""DeepMask: the windows of a pyramid, the best of them, and their masks on the picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .backends import Backend, Tensors
from .card import ProposalCard
from .large import AnyPicture
from .paste import Crop, paste, paste_all
from .pieces import Piece, calls, feed, input_limits
from .prepare import Resized, pyramid
from .results import Instances
from .stages import stage
from .suppress import suppress
from .tiling import tiles

FINEST = 512
"""Pixels along a mask's side, at most, where masks are compared."""


@dataclass(frozen=True)
class Winners:
    """The best windows so far: scores [K], boxes [K, 4], mask logits [K, S, S], scores falling."""

    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    logits: NDArray[np.float32]

    def merged(self, other: Winners, limit: int) -> Winners:
        """The best `limit` of both; of equal scores those of `self` come first."""
        scores = np.concatenate([self.scores, other.scores])
        order = np.argsort(-scores, kind="stable")[:limit]
        boxes = np.concatenate([self.boxes, other.boxes])
        logits = np.concatenate([self.logits, other.logits])
        return Winners(scores[order], boxes[order], logits[order])


def propose(
    backend: Backend,
    card: ProposalCard,
    bgr: AnyPicture,
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
        bgr: uint8 [H, W, 3], or one on the disk.
        scales: the pyramid, as factors on the picture's size.
        score_threshold: results score at least this.
        mask_nms: a mask whose IoU with a better one is above this is dropped; 1 keeps all.
        top: how many results at most.
    """
    scales = card.scales if scales is None else list(scales)
    mask_nms = card.mask_nms if mask_nms is None else mask_nms
    # Masks that NMS drops make room for others, so that more than `top` compete.
    limit = top if mask_nms >= 1 else max(top, card.proposals)
    winners = best_windows(backend, card, bgr, scales, score_threshold, limit)
    return _finish(card, winners, (bgr.shape[0], bgr.shape[1]), mask_nms, top)


def best_windows(
    backend: Backend,
    card: ProposalCard,
    bgr: AnyPicture,
    scales: Sequence[float],
    score_threshold: float,
    limit: int,
) -> Winners:
    """The best `limit` windows over all levels of the pyramid."""
    size = card.mask_size
    best = Winners(
        np.zeros(0, np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros((0, size, size), np.float32),
    )
    floor = score_threshold
    limits = input_limits(card)
    for call in calls(_pieces(bgr, card, scales, limits[0]), limits):
        with stage("prepare"):
            given = [None if piece is None else (piece.pixels, piece.tile.owned) for piece in call]
            # A window that cannot be among the best any more needs no mask.
            inputs = feed(given, floor, card)
        with stage("network"):
            found = backend.run(inputs)
        with stage("finish"):
            best = best.merged(_on_the_picture(found, call, card), limit)
        if len(best.scores) == limit:
            floor = max(floor, float(best.scores[-1]))
    return best


def _on_the_picture(found: Tensors, call: list[Piece | None], card: ProposalCard) -> Winners:
    """A graph's answer, its windows as boxes."""
    count = int(found["count"][0])
    windows, of = found["windows"][:count], found["piece"][:count]
    boxes = np.zeros((count, 4), np.float32)
    for k, piece in enumerate(call):
        if piece is not None:
            boxes[of == k] = piece.boxes(windows[of == k], card)
    return Winners(found["scores"][:count], boxes, found["masks"][:count])


def _pieces(
    bgr: AnyPicture, card: ProposalCard, scales: Sequence[float], largest: tuple[int, int]
) -> Iterator[Piece]:
    """The pyramid in tiles of at most `largest`.

    The largest level comes first. It has the most windows: after it few of the others' are winners.
    """
    height, width = bgr.shape[:2]
    for level in pyramid(height, width, sorted(scales, reverse=True), card.patch // 2):
        with stage("prepare"):
            resized = Resized(bgr, level, card.resize)
        for tile in tiles(level.height, level.width, card, largest):
            rows, columns = tile.rows, tile.columns
            with stage("prepare"):
                pixels = resized.part((rows.start, rows.stop), (columns.start, columns.stop))
            yield Piece(level, tile, pixels)


@stage("finish")
def _finish(
    card: ProposalCard, winners: Winners, size: tuple[int, int], mask_nms: float, top: int
) -> Instances:
    threshold = math.log(card.mask_threshold / (1 - card.mask_threshold))
    kept: list[int] = []
    boxes: list[tuple[int, int, int, int]] = []
    for k, crop in _competing(winners, size, threshold, mask_nms, top):
        # A window may hold no pixel of the picture above the threshold: that is no object.
        if crop.mask.size:
            kept.append(k)
            boxes.append(crop.box)
        if len(kept) == top:
            break
    return Instances(
        size=size,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=winners.scores[kept],
        labels=np.zeros(len(kept), np.int64),
        names=list(card.labels),
        mask_values=winners.logits[kept],
        mask_boxes=winners.boxes[kept],
        mask_threshold=threshold,
    )


def _competing(
    winners: Winners, size: tuple[int, int], threshold: float, mask_nms: float, top: int
) -> Iterator[tuple[int, Crop]]:
    """The windows that mask NMS leaves, by falling score, with their masks on the picture."""

    def whole(k: int) -> Crop:
        # One at a time: of a large picture's levels a mask alone may have millions of pixels.
        return paste(winners.logits[k], winners.boxes[k], size, threshold)

    count = len(winners.scores)
    if mask_nms >= 1 or not count:
        yield from ((k, whole(k)) for k in range(count))
        return
    # Masks are compared at their own size, unless they are so large that many fill the memory.
    finer = min(1.0, FINEST / float((winners.boxes[:, 2:] - winners.boxes[:, :2]).max()))
    smaller = math.ceil(size[0] * finer), math.ceil(size[1] * finer)
    crops = paste_all(winners.logits, winners.boxes * np.float32(finer), smaller, threshold)
    seen = [k for k, crop in enumerate(crops) if crop.mask.size]
    for place in suppress([crops[k] for k in seen], mask_nms, top):
        k = seen[place]
        yield k, crops[k] if finer == 1 else whole(k)
