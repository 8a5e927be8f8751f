"""Large pictures for two-stage networks: the whole picture, and slices of it that overlap.

A two-stage network resizes what it is given to some 800 pixels, so that small objects of a large
picture vanish; in a slice they do not. An object that a slice's edge cuts is left to the slice
that has its centre, or to the pass over the whole picture, which sees what no slice can hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError
from .paste import Crop
from .results import Instances
from .stages import stage
from .suppress import shared_pixels

SAME = 0.5
"""IoU above which two passes have found the same object."""
INSIDE = 0.75
"""Share of a mask in another pass's larger one above which it is a part of that object."""
SURE = 0.5
"""Share of the part's score that the larger one's has to reach: or else it is the mistake."""


@dataclass(frozen=True)
class Span:
    """A slice along one axis.

    Attributes:
        start, stop: of its pixels in the picture.
        first, last: where the centres lie of the objects that it answers for; the next slice
            begins at `last`.
    """

    start: int
    stop: int
    first: float
    last: float


@dataclass(frozen=True)
class Slice:
    """A part of the picture that the network is given by itself."""

    rows: Span
    columns: Span


def slices(height: int, width: int, side: int, overlap: int) -> list[Slice]:
    """Slices that cover a picture, by rows; none if it is no larger than one.

    Args:
        height: of the picture.
        width: of the picture.
        side: of a slice, in pixels.
        overlap: an object of up to so many pixels lies in one slice as a whole.

    Raises:
        OptionError: slices too small to tell objects from, or to overlap as much.
    """
    if side < 64 or not 0 <= overlap <= side // 2:
        raise OptionError(
            f"slices of {side} pixels with {overlap} shared; give slices of 64 pixels or more, "
            "and an overlap of at most half of that"
        )
    if height <= side and width <= side:
        return []
    # Centres that two slices disagree on, and boxes that end near an edge without being cut.
    shared = overlap + 4 * int(_tolerance(side, overlap))
    return [
        Slice(rows, columns)
        for rows in _spans(height, side, shared)
        for columns in _spans(width, side, shared)
    ]


def _tolerance(side: int, extent: Any) -> Any:
    """How far a box's edge may be from where a slice's edge cuts the object.

    Args:
        side: of a slice.
        extent: of the object along the axis.
    """
    return np.maximum(max(2, side // 100), 0.06 * extent)


def _spans(length: int, side: int, shared: int) -> Iterator[Span]:
    count = 1 if length <= side else -(-(length - shared) // (side - shared))
    starts = [round(k * (length - side) / max(count - 1, 1)) for k in range(count)]
    first = -np.inf
    for k, start in enumerate(starts):
        stop = min(start + side, length)
        last = np.inf if k == count - 1 else (stop + starts[k + 1]) / 2
        yield Span(start, stop, first, last)
        first = last


def owned(found: Instances, part: Slice, side: int, size: tuple[int, int]) -> Instances:
    """The objects of a slice that it answers for, in the picture's coordinates.

    Args:
        found: in the slice.
        part: the slice.
        side: of a slice.
        size: height and width of the picture.
    """
    kept = np.ones(len(found), bool)
    for axis, span in ((0, part.columns), (1, part.rows)):
        low, high = found.boxes[:, axis] + span.start, found.boxes[:, axis + 2] + span.start
        centre, near = (low + high) / 2, _tolerance(side, high - low)
        kept &= (centre >= span.first - near) & (centre < span.last + near)
        if span.start > 0:
            kept &= low > span.start + near
        if span.stop < size[1 - axis]:
            kept &= high < span.stop - near
    some = found[kept]
    by = np.array([part.columns.start, part.rows.start], np.float32)
    points = some.keypoints.copy()
    points[..., :2] += by
    return replace(
        some,
        size=size,
        boxes=some.boxes + np.tile(by, 2),
        mask_boxes=some.mask_boxes + np.tile(by, 2),
        keypoints=points,
    )


@stage("finish")
def merged(passes: Sequence[Instances], top: int) -> Instances:
    """The objects of several passes over one picture, the best first, none twice.

    Two passes have found the same object if its masks (boxes, in a network without) share most of
    their pixels and have the same label; the higher score stays. If one of the masks lies in the
    other, the larger one stays. Objects of one pass are never compared: there the network itself
    has decided.

    Args:
        passes: at least one, in the picture's coordinates.
        top: how many to keep at most.
    """
    every = _joined(passes)
    source = np.repeat(np.arange(len(passes)), [len(some) for some in passes])
    order = np.argsort(-every.scores, kind="stable")
    every, source = every[order], source[order]
    crops = every.crops() if every.has_masks else [_filled(box) for box in every.boxes]
    areas = np.array([int(crop.mask.sum()) for crop in crops])
    around = np.array([crop.box for crop in crops], np.int64).reshape(-1, 4)
    dropped = np.zeros(len(every), bool)
    pairs = []
    for k in range(len(every)):
        later = np.arange(k + 1, len(every))
        later = later[(source[later] != source[k]) & (every.labels[later] == every.labels[k])]
        apart = (around[later, 2:] <= around[k, :2]) | (around[later, :2] >= around[k, 2:])
        for other in later[~apart.any(1)]:
            shared = shared_pixels(crops[k], crops[other])
            if shared > SAME * (areas[k] + areas[other] - shared):
                pairs.append((k, other))
                continue
            part, whole = (k, other) if areas[k] < areas[other] else (other, k)
            is_part = every.has_masks and shared > INSIDE * areas[part]
            if is_part and every.scores[whole] >= SURE * every.scores[part]:
                dropped[part] = True
    for better, other in pairs:  # by falling scores
        dropped[other] |= not dropped[better]
    return every[np.flatnonzero(~dropped)[:top]]


def _joined(passes: Sequence[Instances]) -> Instances:
    rows = ("boxes", "scores", "labels", "mask_values", "mask_boxes", "keypoints")
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(some, name) for some in passes]) for name in rows
    }
    return replace(passes[0], **joined)


def _filled(box: NDArray[np.float32]) -> Crop:
    """A box as a mask, to the nearest pixel."""
    x0, y0, x1, y1 = (round(side) for side in box.tolist())
    return Crop(np.ones((max(y1 - y0, 0), max(x1 - x0, 0)), bool), x0, y0)
