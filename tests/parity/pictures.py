"""What the detectors are compared on.

Drawn scenes, small and few, so that CI is quick; or, with MASKRT_PICTURES=FOLDER, twelve pictures
of different sizes from there and one of 1920 x 1080, at the networks' own resolution.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from engine.paste import EMPTY, Crop
from export.training.scenes import draw_scene

FOLDER = os.environ.get("MASKRT_PICTURES")
SIDES = {} if FOLDER else {"min_size": 320, "max_size": 500}
"""torchvision's options for the resized picture."""
LIMITS = {} if FOLDER else {"smallest_side": 320, "largest_side": 500}
"""The same, as our specs call them."""


def pictures() -> list[np.ndarray]:
    """uint8 [H, W, 3], BGR, no two of one size."""
    if FOLDER is None:
        scene = draw_scene(np.random.default_rng(1), 480).picture
        return [scene[:333], scene[:, :301], cv2.resize(scene[40:160], (640, 160))]
    found: dict[tuple[int, ...], np.ndarray] = {}
    for path in sorted(Path(FOLDER).rglob("*.jpg")):
        picture = cv2.imread(str(path))
        found.setdefault(picture.shape, picture)
    chosen = list(found.values())[:12]
    assert len(chosen) == 12, f"{FOLDER} has pictures of {len(chosen)} sizes and 12 are wanted"
    return [*chosen, cv2.resize(chosen[1], (1920, 1080))]


def tight(mask: np.ndarray) -> Crop:
    """The part of a bool mask [H, W] that has pixels in it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return EMPTY
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Crop(np.ascontiguousarray(part), int(columns[0]), int(rows[0]))
