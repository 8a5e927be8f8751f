"""COCO's run-length encoding of masks, from the parts that they cover: no bitmap is ever made.

Runs go down the columns and start with a (possibly empty) run of zeros. The text form writes
each run as the difference to the run two before it, in groups of five bits, lowest first, a
sixth bit saying that more follow, and 48 added to make it printable (pycocotools' maskApi).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from .paste import Crop, Region


class Rle(TypedDict):
    """`size` is height and width; `counts` is COCO's compressed text."""

    size: list[int]
    counts: str


def encode(crop: Crop, height: int, width: int) -> Rle:
    """The RLE of a mask of `height` x `width` whose pixels are in `crop`."""
    return encode_all([(crop.mask, crop.x, crop.y)], height, width)[0]


def encode_all(regions: Iterable[Region], height: int, width: int) -> list[Rle]:
    """The RLE of each mask of `height` x `width`.

    What can be done for all masks at once is: a call of numpy costs more than most masks do.

    Args:
        regions: of each mask a part that holds all its pixels (`engine.paste.regions`).
        height: of the picture.
        width: of the picture.
    """
    changes, shapes = [], []
    for mask, x, y in regions:
        changes.append(_changes(mask))
        shapes.append((mask.shape[0] + 1, x, y))
    if not changes:
        return []
    counts = np.array([len(found) for found in changes])
    # Half the bytes are half the time, and few pictures have two thousand million pixels.
    kind = np.int32 if height * width < 2**31 else np.int64
    side, x, y = np.repeat(np.array(shapes, kind).T, counts, axis=1)
    column, row = np.divmod(np.concatenate(changes).astype(kind), side)
    edges = (x + column) * height + y + row
    runs, lengths = _runs(edges, counts, height * width)
    return [{"size": [height, width], "counts": text} for text in _compress(runs, lengths)]


def _changes(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where ones begin and where they end, down the columns, each column one pixel longer."""
    rows, columns = mask.shape
    if rows == 0:
        return np.zeros(0, np.int64)
    # A zero before everything and behind each column: every run of ones has two ends.
    line = np.zeros(1 + columns * (rows + 1), np.uint8)
    cv2.transpose(mask.view(np.uint8), dst=line[1:].reshape(columns, rows + 1)[:, :rows])
    return np.flatnonzero(line[1:] != line[:-1])


def _runs(
    edges: NDArray[np.integer], counts: NDArray[np.integer], pixels: int
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """The lengths of all masks' runs, zeros first, and how many runs each mask has.

    Args:
        edges: of all masks, each one's rising: where ones begin and where they end, by turns.
        counts: how many edges each mask has.
        pixels: of the picture.
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    # Ones that reach the picture's last row go on in a column that starts with ones.
    joined = (edges[1:] == edges[:-1]) & (owner[1:] == owner[:-1])
    kept = np.ones(len(edges), bool)
    kept[1:] &= ~joined
    kept[:-1] &= ~joined
    edges, owner = edges[kept], owner[kept]
    # With the picture's end as a last edge, each mask's runs are its edges' differences.
    counts = np.bincount(owner, minlength=len(counts)).astype(np.int64) + 1
    ends = np.cumsum(counts)
    edges = np.insert(edges, ends - np.arange(1, len(ends) + 1), pixels)
    runs = np.diff(edges, prepend=0)
    first = ends - counts
    runs[first] = edges[first]
    # No run of zeros is written behind ones that reach the picture's last pixel.
    last = ends - 1
    empty = (runs[last] == 0) & (counts > 1)
    return np.delete(runs, last[empty]), counts - empty


def _compress(runs: NDArray[np.integer], lengths: NDArray[np.integer]) -> list[str]:
    """The text of each mask, its runs one behind the other."""
    first = np.cumsum(lengths) - lengths
    value = runs.copy()
    value[2:] -= runs[:-2]
    for k in range(3):  # a mask's first three runs are written as they are
        own = first[lengths > k] + k
        value[own] = runs[own]
    # A group holds five bits, the last one's highest being the sign.
    size = np.where(value < 0, ~value, value)
    groups = np.ones(len(value), np.int32)
    limit = 16
    while limit <= size.max(initial=0):
        groups += size >= limit
        limit <<= 5
    ends = np.cumsum(groups)
    text = np.zeros(int(ends[-1]), np.uint8)
    start = ends - groups
    for k in range(int(groups.max())):
        if k:  # few runs are that long
            some = np.flatnonzero(groups > k)
            start, value, groups = start[some], value[some], groups[some]
        text[start + k] = (value >> 5 * k & 31) + 48 + 32 * (groups > k + 1)
    whole = text.tobytes().decode("ascii")
    cuts = ends[first + lengths - 1].tolist()
    return [whole[a:b] for a, b in zip([0, *cuts[:-1]], cuts, strict=True)]
