"""Masks and boxes that tests and benchmarks paste."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def scattered(count: int, cells: int, size: tuple[int, int], seed: int = 0) -> tuple[Array, Array]:
    """Smooth blobs over boxes as a detector gives them: within the picture, of all sizes.

    Args:
        count: N.
        cells: S.
        size: height and width of the picture.
        seed: of the random numbers.

    Returns:
        Masks float32 [N, S, S] from 0 to 1, and boxes float32 [N, 4], xyxy.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    centre = rng.uniform(0.1, 0.9, (count, 2)) * [width, height]
    half = 2.0 ** rng.uniform(-6, -1.5, (count, 2)) * [width, height]
    boxes = np.concatenate([centre - half, centre + half], 1)
    boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    at = (np.arange(cells) + 0.5) / cells * 2 - 1
    far = np.hypot(at[:, None], at * rng.uniform(0.5, 2, (count, 1, 1)))
    noise = rng.normal(0, 0.1, (count, cells, cells))
    return np.clip(1.2 - far + noise, 0, 1).astype(np.float32), boxes
