"""How much the objects of one picture share, for the pairs that are asked for.

Masks are compared at a size at which 256 pixels span what is compared: however large the picture
is, a comparison takes as long and as little memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .paste import bitmaps
from .results import Instances

FINEST = 256
"""Pixels along the longer side of what is compared, at most."""


class Overlaps:
    """Areas, and what two objects share, in pixels of the picture.

    Args:
        objects: of one picture; without masks their boxes count.
    """

    def __init__(self, objects: Instances) -> None:
        self._objects = objects
        self._areas: dict[int, float] = {}

    def area(self, k: int) -> float:
        """Of an object."""
        if k not in self._areas:
            self._areas[k] = self._shared([k])
        return self._areas[k]

    def shared(self, a: int, b: int) -> float:
        """Of what both have."""
        return self._shared([a, b])

    def _shared(self, some: list[int]) -> float:
        boxes = self._objects.boxes[some].astype(np.float64)
        low, high = boxes[:, :2].max(0), boxes[:, 2:].min(0)
        if self._objects.has_masks:
            # A mask may reach a pixel beyond its box: frameworks round, and let it fade out.
            low, high = np.floor(low) - 1, np.ceil(high) + 1
        low, high = np.maximum(low, 0), np.minimum(high, self._objects.size[::-1])
        if not (high > low).all():
            return 0.0
        if not self._objects.has_masks:
            return float((high - low).prod())
        return self._shared_masks(some, low, high)

    def _shared_masks(
        self, some: list[int], low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> float:
        objects = self._objects
        finer = min(1.0, FINEST / float((high - low).max()))
        width, height = np.ceil((high - low) * finer).astype(int).tolist()
        moved = (objects.mask_boxes[some] - np.tile(low, 2)) * finer
        masks = bitmaps(
            objects.mask_values[some], moved.astype(np.float32), (height, width),
            objects.mask_threshold, objects.mask_rule,
        )  # fmt: skip
        return float(np.count_nonzero(masks.all(0)) / finer**2)
