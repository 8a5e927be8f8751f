"""From a window's small mask to the picture's pixels.

A pixel belongs to the object when the mask's logits, interpolated bilinearly at the pixel's
centre, are above the threshold. The sigmoid is monotonic, so it need not be computed. Cells are
areas like pixels; beyond the centres of the outermost cells the border value holds
(align_corners=False in PyTorch's words).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


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


EMPTY = Crop(np.zeros((0, 0), bool), 0, 0)


def paste(
    logits: NDArray[np.floating], box: NDArray[np.floating], size: tuple[int, int], threshold: float
) -> Crop:
    """The pixels of a picture that a window's mask covers.

    Args:
        logits: float [S, S] over the box.
        box: [4], xyxy in the picture's pixels; may reach over its border.
        size: height and width of the picture; the mask is clipped to it.
        threshold: logit that a pixel must exceed.
    """
    height, width = size
    x0, y0, x1, y1 = (float(v) for v in box)
    columns = _interpolation(x0, x1, width, logits.shape[1])
    rows = _interpolation(y0, y1, height, logits.shape[0])
    if rows is None or columns is None:
        return EMPTY
    (top, row_weights), (left, column_weights) = rows, columns
    mask = row_weights @ logits.astype(np.float32, copy=False) @ column_weights.T > threshold
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(ys) == 0:
        return EMPTY
    tight = mask[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    return Crop(np.ascontiguousarray(tight), left + int(xs[0]), top + int(ys[0]))


def _interpolation(
    start: float, end: float, limit: int, cells: int
) -> tuple[int, NDArray[np.float32]] | None:
    """The pixels whose centres lie in [start, end) and in the picture, along one axis.

    Returns:
        The first pixel and float32 [pixels, cells], the weight of each cell for each pixel;
        None if there is no such pixel.
    """
    first, last = max(0, int(np.ceil(start - 0.5))), min(limit, int(np.ceil(end - 0.5)))
    if last <= first:
        return None
    centres = np.arange(first, last) + 0.5
    at = np.clip((centres - start) * (cells / (end - start)) - 0.5, 0, cells - 1)
    weights = np.clip(1 - np.abs(at[:, None] - np.arange(cells)), 0, None)
    return first, weights.astype(np.float32)
