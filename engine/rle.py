"""COCO's run-length encoding of a mask, from its crop alone: the bitmap is never made.

Runs go down the columns and start with a (possibly empty) run of zeros. The text form writes
each run as the difference to the run two before it, in groups of five bits, lowest first, a
sixth bit saying that more follow, and 48 added to make it printable (pycocotools' maskApi).
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from .paste import Crop


class Rle(TypedDict):
    """`size` is height and width; `counts` is COCO's compressed text."""

    size: list[int]
    counts: str


def encode(crop: Crop, height: int, width: int) -> Rle:
    """The RLE of a mask of `height` x `width` whose pixels are in `crop`."""
    return {"size": [height, width], "counts": _compress(_runs(crop, height, width))}


def _runs(crop: Crop, height: int, width: int) -> NDArray[np.int64]:
    """Lengths of the runs, zeros first, down the columns."""
    rows, columns = crop.mask.shape
    if rows == 0:
        return np.array([height * width], np.int64)
    framed = np.zeros((columns, rows + 2), np.int8)
    framed[:, 1:-1] = crop.mask.T
    change = np.diff(framed, axis=1)  # +1 where a run of ones starts, -1 behind its end
    first = (crop.x + np.arange(columns)) * height + crop.y
    column, row = np.nonzero(change == 1)
    starts = first[column] + row
    column, row = np.nonzero(change == -1)
    ends = first[column] + row
    # A run that reaches the last row goes on in a column that starts with ones.
    joined = starts[1:] == ends[:-1]
    starts = starts[np.concatenate([[True], ~joined])]
    ends = ends[np.concatenate([~joined, [True]])]
    edges = np.stack([starts, ends], 1).ravel()
    runs = np.diff(edges, prepend=0)
    rest = height * width - int(edges[-1])
    return np.append(runs, rest) if rest else runs


def _compress(runs: NDArray[np.int64]) -> str:
    left = runs.copy()
    left[3:] -= runs[1:-2]
    groups, wanted = [], []
    more = np.ones(len(left), bool)
    while more.any():
        wanted.append(more)
        group = left & 0x1F
        left = left >> 5
        more = more & np.where(group & 0x10, left != -1, left != 0)
        groups.append(group + 48 + np.where(more, 0x20, 0))
    text: bytes = np.stack(groups, 1)[np.stack(wanted, 1)].astype(np.uint8).tobytes()
    return text.decode("ascii")
