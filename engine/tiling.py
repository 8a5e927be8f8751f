"""A level in tiles: every window belongs to one of them, which sees all that the window depends on.

A tile is a part of the level that the graph is run on by itself. Around a tile the graph puts the
border that belongs around a picture, so a window's score is that of the whole level where
everything it looks at (itself and the halo around it) lies in the tile, or beyond an edge that
the tile shares with the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .card import ProposalCard

ALL = 1 << 30
"""More windows than any level has."""
EVERY_WINDOW: NDArray[np.int32] = np.array([0, ALL, 0, ALL], np.int32)
"""What a graph's input `owned` is where it is run on a whole level."""


@dataclass(frozen=True)
class Span:
    """A tile along one axis.

    Attributes:
        start, stop: of its pixels in the level.
        first, last: its own windows are first ... last - 1, counted in the level; the last tile
            has all that come, for networks differ by one in how many there are.
    """

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Tile:
    """A part of a level, and the windows that it answers for.

    Attributes:
        rows, columns: see `Span`.
        offset: int32 [2], row and column of the level's window that is the tile's window (0, 0).
        owned: int32 [4], the graph's input: its own windows, counted in the tile.
    """

    rows: Span
    columns: Span
    offset: NDArray[np.int32]
    owned: NDArray[np.int32]


def tiles(height: int, width: int, card: ProposalCard, sides: tuple[int, int]) -> Iterator[Tile]:
    """Tiles of a level, by rows; one if it is not larger than `sides`.

    Args:
        height: of the level.
        width: of the level.
        card: of the graph: its patch, stride and halo.
        sides: height and width of a tile, in pixels; none is larger, but for what a window and
            what it looks at need.
    """
    stride = card.stride
    for rows in spans(height, card, sides[0]):
        for columns in spans(width, card, sides[1]):
            offset = rows.start // stride, columns.start // stride
            owned = [
                rows.first - offset[0], rows.last - offset[0],
                columns.first - offset[1], columns.last - offset[1],
            ]  # fmt: skip
            yield Tile(rows, columns, np.array(offset, np.int32), np.array(owned, np.int32))


def spans(length: int, card: ProposalCard, side: int) -> list[Span]:
    """The tiles along one axis of a level."""
    stride = card.stride
    reach = card.patch // 2 + card.halo
    # A tile starts at a window's centre, so that its windows and pools are the level's.
    margin = -(-reach // stride)
    longest = max(side // stride, 2 * margin + 1)
    found: list[Span] = []
    first = start = 0
    while length - start * stride > max(side, longest * stride):
        last = start + longest - margin
        found.append(Span(start * stride, (start + longest) * stride, first, last))
        first, start = last, last - margin
    return [*found, Span(start * stride, length, first, ALL)]
