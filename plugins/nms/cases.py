"""Named inputs that every form of BatchedNms is run on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugins.nms.op import NmsAttributes

Array = NDArray[np.float32]


class Case(NamedTuple):
    """Boxes [B, N, 4] or [B, N, C, 4], scores [B, N, C], and what the node is told."""

    boxes: Array
    scores: Array
    attributes: NmsAttributes


def cases() -> dict[str, Case]:
    """The cases by name."""
    attributes = NmsAttributes(0.5, 0.1, 100, 40)
    rng = np.random.default_rng(0)

    def random(*shape: int) -> Array:
        corner = rng.uniform(0, 60, (*shape, 2))
        size = rng.uniform(0, 30, (*shape, 2))
        return np.concatenate([corner, corner + size], -1).astype(np.float32)

    def scores(*shape: int) -> Array:
        return rng.random(shape).astype(np.float32)

    broken = random(1, 12)
    broken[0, 1, 2], broken[0, 4, 0], broken[0, 6, 3] = np.nan, np.inf, -np.inf
    broken_scores = scores(1, 12, 2)
    broken_scores[0, 0, 0], broken_scores[0, 2, 1], broken_scores[0, 3, 0] = np.nan, np.inf, -np.inf
    step = np.arange(60, dtype=np.float32)[None, :, None] * 4
    chain = np.concatenate([step, step * 0, step + 13, step * 0 + 10], -1)
    flat = random(1, 20)
    flat[0, ::2, 2] = flat[0, ::2, 0]
    return {
        "one box": Case(random(1, 1), scores(1, 1, 1) + 0.5, attributes),
        "random": Case(random(2, 80), scores(2, 80, 1), attributes),
        "classes share a box": Case(random(2, 40), scores(2, 40, 3), attributes),
        "a box for each class": Case(random(2, 40, 3), scores(2, 40, 3), attributes),
        "classes suppress each other": Case(
            random(1, 40), scores(1, 40, 3), NmsAttributes(0.3, 0.1, 90, 40, True)
        ),
        "none above the threshold": Case(random(1, 9), scores(1, 9, 1) * 0.1, attributes),
        "equal scores": Case(random(1, 30), np.full((1, 30, 2), 0.5, np.float32), attributes),
        "equal boxes": Case(random(1, 1).repeat(20, 1), scores(1, 20, 2), attributes),
        "no area": Case(flat, scores(1, 20, 1), attributes),
        "upside down": Case(random(1, 20)[..., [2, 3, 0, 1]], scores(1, 20, 1), attributes),
        "not finite": Case(broken, broken_scores, attributes),
        # Each box overlaps the next alone: the fixed point needs a round for each.
        "chain": Case(chain, np.linspace(1, 0.2, 60, dtype=np.float32)[None, :, None], attributes),
        "fewer candidates than boxes": Case(
            random(1, 50), scores(1, 50, 2), NmsAttributes(0.5, 0.0, 20, 15)
        ),
        "zero threshold": Case(random(1, 50), scores(1, 50, 1), NmsAttributes(0.0, 0.0, 50, 50)),
        "threshold of one": Case(random(1, 50), scores(1, 50, 1), NmsAttributes(1.0, 0.0, 50, 50)),
    }


def crowd(count: int) -> Case:
    """So many boxes of a picture's sizes, all of which compete and may stay."""
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 1300, (count, 2)), rng.uniform(8, 160, (count, 2))
    boxes = np.concatenate([corner, corner + size], -1).astype(np.float32)
    scores = rng.permutation(np.linspace(0.01, 1, count, dtype=np.float32))
    return Case(boxes[None], scores[None, :, None], NmsAttributes(0.5, 0.0, count, count))
