"""The pyramid: one picture at several sizes, resized as its network was trained to see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .errors import PictureError
from .large import WHOLE, AnyPicture
from .picture import Picture
from .resample import resize_part

MAX_LEVEL_PIXELS = 1 << 29
"""Largest level, its border included, that is gone through; networks see it in tiles."""


@dataclass(frozen=True)
class Level:
    """One size of a picture.

    Attributes:
        height, width: of the resized picture, in pixels.
        scale_y, scale_x: its size over the picture's, exactly: sizes are whole pixels, so
            the two differ a little from each other and from the scale that was asked for.
    """

    height: int
    width: int
    scale_y: float
    scale_x: float


def pyramid(height: int, width: int, scales: Sequence[float], border: int) -> list[Level]:
    """The levels of a picture, one for each scale, each at least 1 x 1.

    Args:
        height: of the picture.
        width: of the picture.
        scales: factors on its size.
        border: pixels that the graph adds on every side.

    Raises:
        PictureError: a level would be larger than `MAX_LEVEL_PIXELS`.
    """
    levels = []
    for scale in scales:
        h, w = max(1, round(height * scale)), max(1, round(width * scale))
        if (h + 2 * border) * (w + 2 * border) > MAX_LEVEL_PIXELS:
            raise PictureError(
                f"a picture of {width} x {height} is {w} x {h} at scale {scale:g} and a level "
                f"has at most {MAX_LEVEL_PIXELS} pixels with its border; give smaller scales "
                "or a smaller picture"
            )
        levels.append(Level(h, w, h / height, w / width))
    return levels


def _filter(picture: AnyPicture, level: Level, rule: str) -> str:
    """What a rule means for a level: areas have a mean where neither side gets longer."""
    height, width, _ = picture.shape
    shrinks = level.height <= height and level.width <= width
    return "area" if rule == "area" and shrinks else "bilinear"


def resize(picture: Picture, level: Level, rule: str) -> Picture:
    """The picture at a level: uint8 [level.height, level.width, 3].

    Args:
        picture: uint8 [H, W, 3].
        level: the size wanted.
        rule: "bilinear" for the 2 x 2 neighbours at any scale; "area" for the mean of the
            covered pixels where the picture gets smaller, bilinear where it gets larger.
    """
    if (level.height, level.width) == picture.shape[:2]:
        return picture
    area = _filter(picture, level, rule) == "area"
    how = cv2.INTER_AREA if area else cv2.INTER_LINEAR
    resized = cv2.resize(picture, (level.width, level.height), interpolation=how)
    return np.ascontiguousarray(resized, dtype=np.uint8)


class Resized:
    """The picture at a level, for its parts: made at once where it is small enough.

    Args:
        picture: uint8 [H, W, 3], or one on the disk.
        level: the size wanted.
        rule: as in `resize`.
    """

    def __init__(self, picture: AnyPicture, level: Level, rule: str) -> None:
        self._picture, self._size = picture, (level.height, level.width)
        self._rule = _filter(picture, level, rule)
        self._whole: Picture | None = None
        if isinstance(picture, np.ndarray) and level.height * level.width <= WHOLE:
            self._whole = resize(picture, level, rule)

    def part(self, rows: tuple[int, int], columns: tuple[int, int]) -> Picture:
        """From the first of some rows and columns to the one behind the last."""
        if self._whole is not None:
            return self._whole[rows[0] : rows[1], columns[0] : columns[1]]
        return resize_part(self._picture, self._size, rows, columns, self._rule)
