"""Large pictures for two-stage networks: the whole picture, and slices of it that overlap.

A two-stage network resizes what it is given to some 800 pixels, so that small objects of a large
picture vanish; in a slice they do not. An object that a slice's edge cuts comes from the slice
that has its centre, or from the pass over the whole picture, which sees what no slice can hold;
if neither has it whole, its largest part is better than nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError
from .overlaps import Overlaps
from .results import Instances
from .stages import stage

SAME = 0.5
"""IoU above which two passes have found the same object."""
TOUCHED = 0.1
"""Share of the smaller mask, of one that an edge cuts, that another one may have of it at most."""
INSIDE = 0.75
"""Share of a mask that lies in a larger one above which it is a part of that ..."""
SURE = 0.5
"""... if the larger one's score is at least so much of its own: or else that is the mistake."""
RESERVE = 16
"""Times as many objects as are asked for are held while passes go on."""


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
    """A part of the picture that the network is given by itself.

    Attributes:
        rows, columns: see `Span`.
        overlap: an object of up to so many pixels lies in one slice as a whole.
    """

    rows: Span
    columns: Span
    overlap: int


def slices(height: int, width: int, side: int, overlap: int) -> list[Slice]:
    """Slices that cover a picture, by rows; none if it is no larger than one.

    Args:
        height: of the picture.
        width: of the picture.
        side: of a slice, in pixels, as `check_slices` takes it.
        overlap: an object of up to so many pixels lies in one slice as a whole.
    """
    if height <= side and width <= side:
        return []
    # Centres that two slices disagree on, and boxes that end near an edge without being cut.
    shared = min(overlap + 4 * int(_tolerance(side, overlap)), side * 3 // 4)
    return [
        Slice(rows, columns, overlap)
        for rows in _spans(height, side, shared)
        for columns in _spans(width, side, shared)
    ]


def check_slices(side: Any, overlap: Any) -> None:
    """Refuse slices too small to tell objects from, or that overlap as much.

    Raises:
        OptionError: says so.
    """
    if side is None and overlap is None:
        return
    if side is None:
        raise OptionError(f"overlap is {overlap} and there are no slices; give slices too")
    whole = all(isinstance(n, (int, np.integer)) for n in (side, 0 if overlap is None else overlap))
    if not whole or side < 64 or (overlap is not None and not 0 <= overlap <= side // 2):
        raise OptionError(
            f"slices is {side} and overlap {overlap}; give slices of 64 pixels or more, and an "
            "overlap of at most half of that, both whole numbers"
        )


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


class Passes:
    """What was found in a picture and its slices: the best objects, none of them twice.

    Two passes have found the same object if it has the same label and its masks (boxes, in a
    network without) have an IoU above a half: the higher score stays, and what no edge cuts before
    what one cuts. Of an object that an edge cuts nothing stays if another pass has some of it; what
    lies in another pass's larger object is a part of that, unless it is one of several there.
    Objects of one pass are never compared: there the network itself has decided.

    Args:
        whole: what was found in the whole picture.
        side: of a slice.
        top: how many objects are wanted.
    """

    def __init__(self, whole: Instances, side: int, top: int) -> None:
        self._found, self._side, self._top = whole, side, top
        self._source = np.zeros(len(whole), np.int64)
        self._cut = np.zeros(len(whole), bool)
        self._passes = 1

    def add(self, found: Instances, part: Slice) -> None:
        """What was found in a slice, in the slice's coordinates."""
        placed, cut = _placed(found, part, self._side, self._found.size)
        self._found = _joined([self._found, placed])
        self._source = np.append(self._source, np.full(len(placed), self._passes))
        self._cut = np.append(self._cut, cut)
        self._passes += 1
        if len(self._found) > 2 * RESERVE * self._top:
            self._keep(self._decided()[: RESERVE * self._top])

    def best(self) -> Instances:
        """The objects, the best first."""
        return self._found[self._decided()[: self._top]]

    def _keep(self, rows: NDArray[np.int64]) -> None:
        self._found, self._source = self._found[rows], self._source[rows]
        self._cut = self._cut[rows]

    @stage("finish")
    def _decided(self) -> NDArray[np.int64]:
        """The rows that stay, by falling score."""
        # What is whole comes first, by its score, then what is cut, by how much of it there is.
        extent = (self._found.boxes[:, 2:] - self._found.boxes[:, :2]).prod(1)
        order = np.lexsort((-np.where(self._cut, extent, self._found.scores), self._cut))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        overlaps = Overlaps(self._found)
        rivals: dict[int, list[int]] = {}
        parts: dict[int, list[int]] = {}
        for a, b in self._pairs():
            first, second = (a, b) if rank[a] < rank[b] else (b, a)
            shared = overlaps.shared(first, second)
            areas = overlaps.area(first), overlaps.area(second)
            same = shared > SAME * (sum(areas) - shared)
            if same or (self._cut[second] and shared > TOUCHED * min(areas)):
                rivals.setdefault(second, []).append(first)
            elif shared > INSIDE * min(areas):
                part, whole = (first, second) if areas[0] < areas[1] else (second, first)
                parts.setdefault(whole, []).append(part)
        stays = np.ones(len(order), bool)
        for k in order.tolist():
            # A larger piece has seen this object, even if it went for a still larger one.
            stays[k] = not any(stays[one] or self._cut[one] for one in rivals.get(k, ()))
        scores = self._found.scores
        for whole, inside in parts.items():
            left = [part for part in inside if stays[part]]
            # Several objects in one are rather what the coarser pass could not tell apart.
            if stays[whole] and len(left) == 1 and scores[whole] >= SURE * scores[left[0]]:
                stays[left[0]] = False
        kept = np.flatnonzero(stays)
        return kept[np.argsort(-scores[kept], kind="stable")]

    def _pairs(self) -> Iterator[tuple[int, int]]:
        """Objects of different passes, with one label, whose boxes share something."""
        boxes, labels = self._found.boxes, self._found.labels
        order = np.argsort(boxes[:, 0], kind="stable")
        left = boxes[order, 0]
        for place, k in enumerate(order):
            # Further on everything begins behind this one's end.
            near = order[place + 1 : np.searchsorted(left, boxes[k, 2])]
            near = near[(self._source[near] != self._source[k]) & (labels[near] == labels[k])]
            meets = (boxes[near, 1] < boxes[k, 3]) & (boxes[k, 1] < boxes[near, 3])
            yield from ((int(k), int(other)) for other in near[meets])


def _placed(
    found: Instances, part: Slice, side: int, size: tuple[int, int]
) -> tuple[Instances, NDArray[np.bool_]]:
    """The objects that a slice answers for, in the picture's coordinates, and which an edge cuts.

    Of those that an edge cuts only such are kept as are longer than the overlap: of all others the
    next slice has more.
    """
    mine = np.ones(len(found), bool)
    cut = np.zeros(len(found), bool)
    most = np.ones(len(found), bool)
    for axis, span in ((0, part.columns), (1, part.rows)):
        low, high = found.boxes[:, axis] + span.start, found.boxes[:, axis + 2] + span.start
        centre, near = (low + high) / 2, _tolerance(side, high - low)
        mine &= (centre >= span.first - near) & (centre < span.last + near)
        here = (span.start > 0) & (low <= span.start + near)
        here |= (span.stop < size[1 - axis]) & (high >= span.stop - near)
        most &= ~here | (high - low >= part.overlap)
        cut |= here
    kept = np.where(cut, most, mine)
    some = found[kept]
    by = np.array([part.columns.start, part.rows.start], np.float32)
    points = some.keypoints.copy()
    points[..., :2] += by
    placed = replace(
        some,
        size=size,
        boxes=some.boxes + np.tile(by, 2),
        mask_boxes=some.mask_boxes + np.tile(by, 2),
        keypoints=points,
    )
    return placed, cut[kept]


def _joined(passes: Sequence[Instances]) -> Instances:
    rows = ("boxes", "scores", "labels", "mask_values", "mask_boxes", "keypoints")
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(some, name) for some in passes]) for name in rows
    }
    return replace(passes[0], **joined)
