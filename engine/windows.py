"""Where a window of the score map lies on the picture.

The graph pads a level by half a patch, so window (i, j) covers the level's pixels from
16 i - patch / 2 to 16 i + patch / 2: it is centred at (16 i, 16 j). Pixels are areas: pixel x
spans x to x + 1, its centre is at x + 0.5 (DeepMask 2015, section 4; the 2016 release's layout).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .prepare import Level


def window_boxes(
    windows: NDArray[np.integer], level: Level, patch: int, stride: int
) -> NDArray[np.float32]:
    """Boxes of windows in the picture's own pixels.

    Args:
        windows: [N, 2], row and column in the level's score map.
        level: of the pyramid.
        patch: side of a window in the level's pixels.
        stride: distance of two windows in the level's pixels.

    Returns:
        float32 [N, 4], xyxy; may reach over the picture's border.
    """
    per_axis = np.array([level.scale_x, level.scale_y])
    first = windows[:, ::-1].astype(np.float64) * stride - patch / 2
    corners = np.concatenate([first / per_axis, (first + patch) / per_axis], axis=1)
    return corners.astype(np.float32)
