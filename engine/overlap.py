"""A label map of a picture of any size, from a network that sees a tile at a time.

The overlap-tile strategy of U-Net (Ronneberger et al. 2015, section 2, figure 2): tiles of the
result lie side by side, each made from a larger tile of the picture, and beyond the picture's
edges the picture is mirrored. A pixel's label is then that of the whole picture, as long as the
network looks no farther than the border.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .errors import BackendError, OptionError
from .large import AnyPicture, part_of
from .picture import Picture

Labels = NDArray[np.integer]


def overlap_tile(
    run: Callable[[Picture], Labels], picture: AnyPicture, tile: tuple[int, int], border: int
) -> Labels:
    """The labels of every pixel, [H, W], of the type that `run` gives.

    Args:
        run: from uint8 [tile[0] + 2 * border, tile[1] + 2 * border, 3] to the labels of its middle,
            [tile[0], tile[1]].
        picture: uint8 [H, W, 3], or one on the disk.
        tile: height and width of the result's tiles.
        border: pixels around a tile that the network sees: U-Net's 572 pixels give 388, a border of
            92.

    Raises:
        OptionError: a tile without pixels, or a border below 0.
        BackendError: `run` gives another shape.
    """
    if min(tile) < 1 or border < 0:
        raise OptionError(
            f"tiles of {tile} with a border of {border}; give 1 or more, and 0 or more"
        )
    height, width = picture.shape[:2]
    whole: Labels | None = None
    for top in range(0, height, tile[0]):
        for left in range(0, width, tile[1]):
            seen = mirrored(
                picture,
                (top - border, top + tile[0] + border),
                (left - border, left + tile[1] + border),
            )
            labels = run(seen)
            if labels.shape != tile:
                raise BackendError(
                    f"the network gives {list(labels.shape)} for a tile of {list(tile)}; give the "
                    "tile and the border that it was made for"
                )
            if whole is None:
                whole = np.empty((height, width), labels.dtype)
            whole[top : top + tile[0], left : left + tile[1]] = labels[
                : height - top, : width - left
            ]
    assert whole is not None
    return whole


def mirrored(picture: AnyPicture, rows: tuple[int, int], columns: tuple[int, int]) -> Picture:
    """Some rows and columns of a picture that is mirrored beyond its edges: dcb|abcd|cba.

    Args:
        picture: uint8 [H, W, 3], or one on the disk.
        rows: the first one and the one behind the last, which may lie outside.
        columns: the same of columns.
    """
    down, across = (
        _mirrored(*span, length)
        for span, length in zip((rows, columns), picture.shape[:2], strict=True)
    )
    top, left = int(down.min()), int(across.min())
    part = part_of(picture, top, int(down.max()) + 1, left, int(across.max()) + 1)
    return np.ascontiguousarray(part[down - top][:, across - left])


def _mirrored(start: int, stop: int, length: int) -> NDArray[np.int64]:
    """The pixels of an axis that those from `start` to `stop` are copies of."""
    period = max(2 * length - 2, 1)
    at = np.arange(start, stop) % period
    return np.minimum(at, period - at) if length > 1 else np.zeros_like(at)
