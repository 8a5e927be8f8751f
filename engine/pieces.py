"""What the calls of a DeepMask graph are given: tiles of levels, as many at once as fit.

A graph takes one picture, or several of different sizes at once ("all scales in one batch",
DeepMask 2015, section 5.1). Which windows share a call changes no result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .backends import Tensors
from .card import ProposalCard
from .picture import Picture
from .prepare import Level, pyramid
from .tiling import Tile
from .windows import window_boxes

TILE = 2048
"""Largest side of a piece, and the root of the pixels of a call: it bounds what a network holds."""

NOTHING: tuple[Picture, NDArray[np.int32]] = (
    np.zeros((1, 1, 3), np.uint8),
    np.zeros(4, np.int32),
)
"""What a graph is given where it takes more pictures than there are: none of its windows counts."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A tile of a level, with its pixels uint8 [h, w, 3]."""

    level: Level
    tile: Tile
    pixels: Picture

    def boxes(self, windows: NDArray[np.integer], card: ProposalCard) -> NDArray[np.float32]:
        """Boxes on the picture, [N, 4], of windows of the tile, [N, 2]."""
        return window_boxes(windows + self.tile.offset, self.level, card.patch, card.stride)


def feed(
    pieces: Sequence[tuple[Picture, NDArray[np.int32]] | None],
    min_score: float,
    card: ProposalCard,
) -> Tensors:
    """A graph's inputs.

    Args:
        pieces: pixels, uint8 [h, w, 3], and which windows count, int32 [4] (`engine.tiling`), for
            each of the graph's pictures; those that are None or left out see nothing.
        min_score: windows that score lower are not counted.
        card: of the graph.
    """
    given = [NOTHING if piece is None else piece for piece in pieces]
    given += [NOTHING] * (card.pieces - len(given))
    pictures = {
        name: np.ascontiguousarray(pixels)
        for name, (pixels, _) in zip(card.pictures, given, strict=True)
    }
    return {
        **pictures,
        "min_score": np.array([min_score], np.float32),
        "owned": np.concatenate([owned for _, owned in given]),
    }


def input_limits(card: ProposalCard) -> list[tuple[int, int]]:
    """Height and width that each of a graph's pictures has at most: a plan is built for some."""
    built = re.fullmatch(r"(\d+)x(\d+)", card.runtime.get("max", ""))
    return (
        largest_inputs(card, int(built[1]), int(built[2]))
        if built
        else [(TILE, TILE)] * card.pieces
    )


def largest_inputs(card: ProposalCard, height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of each of a graph's pictures where it is built for this size.

    It is the size of a level for a graph of one picture. One of several takes the levels of a
    picture of this size, the largest first.
    """
    sizes = [(height, width)]
    if card.pieces > 1:
        levels = pyramid(height, width, sorted(card.scales, reverse=True), card.patch // 2)
        sizes = [(level.height, level.width) for level in levels]
    sizes += sizes[-1:] * (card.pieces - len(sizes))
    return [(min(tall, TILE), min(wide, TILE)) for tall, wide in sizes[: card.pieces]]


def calls(
    pieces: Iterable[Piece], limits: Sequence[tuple[int, int]]
) -> Iterator[list[Piece | None]]:
    """Pieces by calls, in their order; each call has a place for each of the graph's pictures.

    Args:
        pieces: each is for the first place at least.
        limits: height and width that each place takes.
    """
    call: list[Piece | None] = [None] * len(limits)
    pixels = 0
    for piece in pieces:
        height, width = piece.pixels.shape[:2]
        free = (k for k, taken in enumerate(call) if taken is None)
        place = next((k for k in free if height <= limits[k][0] and width <= limits[k][1]), None)
        if pixels and (place is None or pixels + height * width > TILE * TILE):
            yield call
            call, pixels, place = [None] * len(limits), 0, 0
        call[place or 0] = piece
        pixels += height * width
    if pixels:
        yield call
