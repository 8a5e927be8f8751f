"""A part of a resized picture, made from the part of the picture that it shows.

What comes out is what resizing the whole picture and cutting the part out would give, to one
level of 255: OpenCV computes bilinear weights in eleven bits, here they have 24.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .large import AnyPicture, part_of
from .picture import Picture

BAND = 1 << 25
"""Bytes of the picture that are read at a time."""

Taps: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
"""For each result the first pixel that it is made of, [n], and the weights of that and the next
ones, [n, taps]."""


def resize_part(
    picture: AnyPicture,
    size: tuple[int, int],
    rows: tuple[int, int],
    columns: tuple[int, int],
    rule: str,
) -> Picture:
    """Some rows and columns of a resized picture: uint8 [rows, columns, 3].

    Args:
        picture: uint8 [H, W, 3], or one on the disk.
        size: height and width of the whole resized picture.
        rows: the first one, and the one behind the last.
        columns: the same of columns.
        rule: "bilinear" for the 2 x 2 neighbours; "area" for the mean of the covered pixels;
            "triangle" for Pillow's bilinear filter, which covers more where a picture gets smaller.
    """
    height, width = picture.shape[:2]
    if size == (height, width):
        return part_of(picture, *rows, *columns)
    taps = RULES[rule]
    first_row, row_weights = taps(height, size[0], *rows)
    first_column, column_weights = taps(width, size[1], *columns)
    left, right = _reach(first_column, column_weights, width)
    resized = np.empty((len(first_row), len(first_column), 3), np.uint8)
    # Rows go first: where a picture gets smaller, few are left for the slower columns.
    read = 3 * (right - left) * max(1.0, height / size[0])
    step = max(1, int(BAND / read))
    for start in range(0, len(first_row), step):
        band = slice(start, start + step)
        top, bottom = _reach(first_row[band], row_weights[band], height)
        part = part_of(picture, top, bottom, left, right)
        mixed = _mixed(part, first_row[band] - top, row_weights[band])
        mixed = _mixed(mixed.swapaxes(0, 1), first_column - left, column_weights)
        resized[band] = np.rint(mixed.swapaxes(0, 1))
    return resized


def _mixed(
    part: NDArray[Any], first: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Weighted sums along the first axis."""
    total = np.zeros((len(first), *part.shape[1:]), np.float32)
    for k, weight in enumerate(weights.T.astype(np.float32)):
        total += part[np.minimum(first + k, len(part) - 1)] * weight[:, None, None]
    return total


def _reach(first: NDArray[np.int64], weights: NDArray[np.float64], length: int) -> tuple[int, int]:
    return int(first[0]), min(int(first[-1]) + weights.shape[1], length)


def _neighbours(length: int, count: int, start: int, stop: int) -> Taps:
    """The two pixels whose centres are next to a result's; at an edge that pixel alone."""
    at = (np.arange(start, stop) + 0.5) * (length / count) - 0.5
    at = np.clip(at, 0, length - 1)
    first = at.astype(np.int64)
    beyond = at - first
    return first, np.stack([1 - beyond, beyond], 1)


def _means(length: int, count: int, start: int, stop: int) -> Taps:
    """Each pixel by how much of it a result covers."""
    scale = length / count
    begin = np.arange(start, stop) * scale
    first = begin.astype(np.int64)
    pixels = first[:, None] + np.arange(int(np.ceil(scale)) + 1)
    covered = np.minimum(pixels + 1, (begin + scale)[:, None]) - np.maximum(pixels, begin[:, None])
    return first, np.clip(covered, 0, None) / scale


def triangles(length: int, count: int, start: int, stop: int) -> Taps:
    """Each pixel by its distance to a result's centre (Resample.c of Pillow: bilinear)."""
    scale = length / count
    wide = max(scale, 1.0)
    centre = (np.arange(start, stop) + 0.5) * scale
    first = np.maximum((centre - wide + 0.5).astype(np.int64), 0)
    behind = np.minimum((centre + wide + 0.5).astype(np.int64), length)
    pixels = first[:, None] + np.arange(int((behind - first).max()))
    weights = np.maximum(1 - np.abs((pixels - centre[:, None] + 0.5) / wide), 0)
    weights[pixels >= behind[:, None]] = 0
    return first, weights / weights.sum(1, keepdims=True)


RULES: dict[str, Callable[[int, int, int, int], Taps]] = {
    "bilinear": _neighbours,
    "area": _means,
    "triangle": triangles,
}
