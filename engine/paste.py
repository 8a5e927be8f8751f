"""From a window's small mask to the picture's pixels.

A pixel belongs to the object when the mask's logits, interpolated bilinearly at the pixel's
centre, are above the threshold. The sigmoid is monotonic, so it need not be computed. Cells are
areas like pixels; beyond the centres of the outermost cells the border value holds
(align_corners=False in PyTorch's words).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from .stages import stage

Mask = NDArray[np.bool_]
Region: TypeAlias = tuple[Mask, int, int]
"""Bool [h, w], and the picture's pixel at its [0, 0], x and y."""


class Neighbours(NamedTuple):
    """Along one axis, what each of the pixels that a mask covers is interpolated from.

    Attributes:
        first: of these pixels in the picture.
        low, high: the cells beside each pixel's centre.
        low_weight, high_weight: theirs; 0 for a cell outside of the mask.
    """

    first: int
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    low_weight: NDArray[np.float32]
    high_weight: NDArray[np.float32]


@dataclass(frozen=True)
class Crop:
    """The part of a picture-sized mask that has pixels in it.

    Attributes:
        mask: bool [h, w]; its first and last row and column each hold a True. [0, 0] if none.
        x, y: the picture's pixel at mask[0, 0].
    """

    mask: Mask
    x: int
    y: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Edges of the box around it, xyxy."""
        height, width = self.mask.shape
        return self.x, self.y, self.x + width, self.y + height


SEVERAL_THREADS = 1 << 26
"""Bytes of bitmaps from which on several threads make them."""
MOST_THREADS = 4
BAND = 1 << 18
"""Values that are interpolated at a time: what a cache holds."""

FARTHEST = float(1 << 62)
"""Corners beyond this, or that are no numbers, are no places."""

EMPTY = Crop(np.zeros((0, 0), bool), 0, 0)
NOTHING = np.zeros((0, 0), np.float32)


RULES = ("centres", "torchvision", "detectron2")


def paste(
    values: NDArray[np.floating],
    box: NDArray[np.floating],
    size: tuple[int, int],
    threshold: float,
    rule: str = "centres",
) -> Crop:
    """The pixels of a picture that a small mask covers.

    Args:
        values: float [S, S] over the box.
        box: [4], xyxy in the picture's pixels; may reach over its border.
        size: height and width of the picture; the mask is clipped to it.
        threshold: value that a pixel must exceed (detectron2: reach).
        rule: "centres" as above; "torchvision": a ring of zeros around the mask, the box grown
            with it and its corners cut to whole pixels (its paste_mask_in_image); "detectron2":
            zeros outside of the box, into which the outermost cells fade (its _do_paste_mask).
    """
    return paste_all(values[None], np.asarray(box)[None], size, threshold, rule)[0]


@stage("paste")
def paste_all(
    values: NDArray[np.floating],
    boxes: NDArray[np.floating],
    size: tuple[int, int],
    threshold: float,
    rule: str = "centres",
) -> list[Crop]:
    """`paste` for each of values [N, S, S] and boxes [N, 4]."""
    crops = []
    for mask, left, top in regions(values, boxes, size, threshold, rule):
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(ys) == 0:
            crops.append(EMPTY)
            continue
        tight = np.ascontiguousarray(mask[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1])
        crops.append(Crop(tight, left + int(xs[0]), top + int(ys[0])))
    return crops


@stage("paste")
def bitmaps(
    values: NDArray[np.floating],
    boxes: NDArray[np.floating],
    size: tuple[int, int],
    threshold: float,
    rule: str = "centres",
) -> NDArray[np.bool_]:
    """`paste` for each of values [N, S, S] and boxes [N, 4], as bool [N, H, W]."""
    masks = np.zeros((len(values), *size), bool)

    def fill(some: slice) -> None:
        parts = _enlarged(values[some], boxes[some], size, rule)
        for whole, (part, left, top) in zip(masks[some], parts, strict=True):
            height, width = part.shape
            _above(part, threshold, rule, whole[top : top + height, left : left + width])

    if masks.nbytes < SEVERAL_THREADS:
        fill(slice(None))
        return masks
    # Most of the time the system spends in giving the memory, to each thread its own.
    threads = min(MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, (slice(k, None, threads) for k in range(threads))))
    return masks


def regions(
    values: NDArray[np.floating],
    boxes: NDArray[np.floating],
    size: tuple[int, int],
    threshold: float,
    rule: str,
) -> Iterator[Region]:
    """For each of values [N, S, S] and boxes [N, 4] the pixels that it may cover; see `paste`."""
    for part, left, top in _enlarged(values, boxes, size, rule):
        yield _above(part, threshold, rule), left, top


def _above(part: NDArray[np.float32], threshold: float, rule: str, out: Mask | None = None) -> Mask:
    compare = np.greater_equal if rule == "detectron2" else np.greater
    mask: Mask = compare(part, threshold, out=out)
    return mask


def _enlarged(
    values: NDArray[np.floating], boxes: NDArray[np.floating], size: tuple[int, int], rule: str
) -> Iterator[tuple[NDArray[np.float32], int, int]]:
    """Each mask's values at the picture's pixels: float32 [h, w], and where they begin, x and y."""
    values = values.astype(np.float32, copy=False)
    if rule != "torchvision":
        for small, box in zip(values, boxes.tolist(), strict=True):
            yield _interpolated(small, box, size, fades=rule == "detectron2")
        return
    ringed = np.zeros((len(values), values.shape[1] + 2, values.shape[2] + 2), np.float32)
    ringed[:, 1:-1, 1:-1] = values
    for small, (x0, y0, x1, y1) in zip(ringed, _grown(boxes, ringed.shape[1]), strict=True):
        left, right, top, bottom = max(x0, 0), min(x1, size[1]), max(y0, 0), min(y1, size[0])
        if left >= right or top >= bottom:
            yield NOTHING, 0, 0
        elif (x1 - x0) * (y1 - y0) <= 4 * size[0] * size[1]:
            # Whole pixels: OpenCV's resize is the same formula, and the quickest form of it.
            large = cv2.resize(small, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
            part = large[top - y0 : bottom - y0, left - x0 : right - x0]
            yield np.asarray(part, np.float32), left, top
        else:  # mostly outside of the picture
            yield _interpolated(small, [x0, y0, x1, y1], size, fades=False)


def _interpolated(
    small: NDArray[np.float32], box: list[float], size: tuple[int, int], *, fades: bool
) -> tuple[NDArray[np.float32], int, int]:
    x0, y0, x1, y1 = box
    columns = _interpolation(x0, x1, size[1], small.shape[1], fades)
    rows = _interpolation(y0, y1, size[0], small.shape[0], fades)
    if rows is None or columns is None:
        return NOTHING, 0, 0
    # Not matrix products: BLAS would wake its threads for each, and wait for them where the
    # machine has other work. Rows come last, for they are copied whole.
    wide = np.ascontiguousarray(_mixed(small.T, columns).T)
    return _mixed(wide, rows), columns.first, rows.first


def _mixed(values: NDArray[np.float32], along: Neighbours) -> NDArray[np.float32]:
    """Weighted pairs of rows of values [cells, K]: [pixels, K]."""
    mixed = values[along.low]
    mixed *= along.low_weight[:, None]
    step = max(1, BAND // max(1, values.shape[1]))
    for start in range(0, len(mixed), step):
        band = slice(start, start + step)
        other = values[along.high[band]]
        other *= along.high_weight[band, None]
        mixed[band] += other
    return mixed


def _grown(boxes: NDArray[np.floating], cells: int) -> list[list[int]]:
    """Boxes [N, 4] as torchvision counts their pixels for a ringed mask: x0, y0, x1, y1.

    Its arithmetic is fp32, and its corners are cut towards zero. A box whose corners are no
    places has no pixels.
    """
    low, high = boxes[:, :2].astype(np.float32), boxes[:, 2:].astype(np.float32)
    half = (high - low) * np.float32(0.5) * np.float32(cells / (cells - 2))
    centre = (high + low) * np.float32(0.5)
    first, last = centre - half, centre + half
    # What no whole number stands for is cast to another one on each processor.
    placed = (np.abs(np.hstack([first, last])) < FARTHEST).all(1)
    corners = np.zeros((len(boxes), 4), np.int64)
    corners[placed, :2] = first[placed].astype(np.int64)
    size = last[placed].astype(np.int64) - corners[placed, :2] + 1
    corners[placed, 2:] = corners[placed, :2] + np.maximum(size, 1)
    grown: list[list[int]] = corners.tolist()
    return grown


def _interpolation(
    start: float, end: float, limit: int, cells: int, fades: bool
) -> Neighbours | None:
    """The pixels whose centres lie in [start, end) and in the picture, along one axis.

    Args:
        start: of the box.
        end: of the box.
        limit: of the picture.
        cells: of the mask.
        fades: whether zeros lie around the mask; pixels half a cell outside count then too.

    Returns:
        None if there is no such pixel.
    """
    if not (end > start and math.isfinite(start)):  # nothing has a place from minus infinity on
        return None
    around = (end - start) / cells / 2 if fades else 0.0
    low, high = start - around - 0.5, end + around - 0.5
    first, last = int(np.ceil(min(max(low, 0), limit))), int(np.ceil(min(max(high, 0), limit)))
    if last <= first:
        return None
    centres = np.arange(first, last) + 0.5
    at = (centres - start) * (cells / (end - start)) - 0.5
    if not fades:
        at = np.minimum(np.maximum(at, 0), cells - 1)  # np.clip takes four times as long
        low = at.astype(np.int64)
        beyond = (at - low).astype(np.float32)
        return Neighbours(first, low, np.minimum(low + 1, cells - 1), 1 - beyond, beyond)
    low = np.floor(at).astype(np.int64)
    beyond = (at - low).astype(np.float32)
    return Neighbours(
        first,
        np.clip(low, 0, cells - 1),
        np.clip(low + 1, 0, cells - 1),
        np.where((low >= 0) & (low < cells), 1 - beyond, np.float32(0)),
        np.where((low >= -1) & (low < cells - 1), beyond, np.float32(0)),
    )
