"""Networks whose answer is known, to stand behind `engine.backends.fake.FakeBackend`."""

from __future__ import annotations

import threading

import numpy as np

from engine import InstanceCard, ProposalCard

PATCH, STRIDE, CELLS = 64, 16, 56
SCALES = [2.0 ** (k / 2) for k in range(-4, 4)]
"""2^-2 to 2^1.5 in steps of sqrt 2: the paper's pyramid and one step more."""

CELL_CENTRES = (np.arange(CELLS) + 0.5) * (PATCH / CELLS) - PATCH / 2
"""Of a window's cells along an axis, in the level's pixels from the window's centre."""


def card(**changes: object) -> ProposalCard:
    """A valid card with some fields changed."""
    fields: dict = {
        "task": "proposals", "architecture": "fake", "labels": ["object"], "patch": PATCH,
        "stride": STRIDE, "halo": 0, "mask_size": CELLS, "proposals": 50, "pieces": 1,
        "scales": [1.0], "resize": "area",
        "mask_threshold": 0.5, "score_threshold": 0.0, "mask_nms": 1.0, "top": 50,
        "precision": "fp32", "built_by": {"maskrt": "0"}, "weights_sha256": "",
    }  # fmt: skip
    return ProposalCard(**(fields | changes))


def instance_card(**changes: object) -> InstanceCard:
    """A valid card of a detector, with some fields changed."""
    fields: dict = {
        "task": "instances", "architecture": "fake", "labels": ["cat", "dog"], "mask_size": 28,
        "mask_threshold": 0.5, "score_threshold": 0.05, "top": 100, "framework": "torchvision",
        "smallest_side": 800, "largest_side": 1333, "canvas": [], "category_ids": [17, 18],
        "precision": "fp32", "built_by": {"maskrt": "0"}, "weights_sha256": "",
    }  # fmt: skip
    return InstanceCard(**(fields | changes))


def answer(scores: np.ndarray, windows: np.ndarray, masks: np.ndarray, rows: int, floor: float):
    """What a graph gives: the best `rows`, padded, and how many reach the floor."""
    order = np.argsort(-scores, kind="stable")[:rows]
    padded = {
        "scores": np.zeros(rows, np.float32),
        "windows": np.zeros((rows, 2), np.int32),
        "masks": np.zeros((rows, *masks.shape[1:]), np.float32),
        "count": np.array([(scores[order] >= floor).sum()], np.int32),
        "piece": np.zeros(rows, np.int32),
    }
    for name, values in (("scores", scores), ("windows", windows), ("masks", masks)):
        padded[name][: len(order)] = values[order]
    return padded


def grid(height: int, width: int) -> np.ndarray:
    """Every window of a level, [K, 2]: its centre lies on the picture or on its far edge."""
    rows, columns = np.mgrid[0 : height // STRIDE + 1, 0 : width // STRIDE + 1]
    return np.stack([rows.ravel(), columns.ravel()], 1)


class RectangleNetwork:
    """Knows where a rectangle lies in the picture; its masks' logits are distances to its edges.

    The mask of a window is computed in the coordinates of the level that it was given, as a
    network would: what is tested is the way back to the picture. A cell's logit is the distance
    of its centre to the nearest edge, so that bilinear interpolation is zero on it.
    """

    def __init__(self, card: ProposalCard, size: tuple[int, int], box: tuple[float, ...]) -> None:
        self.card, self.size, self.box = card, size, box

    def __call__(self, inputs) -> dict:
        height, width = inputs["picture"].shape[:2]
        per_pixel = np.array([width / self.size[1], height / self.size[0]])
        x0, y0, x1, y1 = np.array(self.box) * np.tile(per_pixel, 2)
        windows = grid(height, width)
        masks = []
        for i, j in windows:
            x, y = STRIDE * j + CELL_CENTRES, STRIDE * i + CELL_CENTRES
            inside_x = np.minimum(x - x0, x1 - x)[None, :]
            inside_y = np.minimum(y - y0, y1 - y)[:, None]
            masks.append(np.minimum(inside_x, inside_y))
        # The window whose centre is nearest to the rectangle's is the best one.
        centre = np.array([y0 + y1, x0 + x1]) / 2
        scores = (1 / (1 + np.linalg.norm(STRIDE * windows - centre, axis=1))).astype(np.float32)
        rows, floor = self.card.proposals, inputs["min_score"][0]
        return answer(scores, windows, np.array(masks, np.float32), rows, floor)


class EdgeNetwork:
    """Sees a straight edge at a place of the level: logits are the signed distance to it.

    Args:
        card: its number of proposals is that of the rows.
        size: height and width of the picture.
        normal: x and y of the edge's normal; what lies in its direction is the object.
        at: a point on the edge, x and y in the picture's pixels.
        window: the row and column of the only window that answers; None for all.
    """

    def __init__(self, card: ProposalCard, size: tuple[int, int], normal, at, window=None) -> None:
        self.card, self.size, self.normal, self.at, self.window = card, size, normal, at, window

    def __call__(self, inputs) -> dict:
        height, width = inputs["picture"].shape[:2]
        windows = grid(height, width)
        if self.window is not None:
            windows = windows[[self.window % len(windows)]]
        per_x, per_y = width / self.size[1], height / self.size[0]
        u0, v0 = self.at[0] * per_x, self.at[1] * per_y
        x = STRIDE * windows[:, 1, None, None] + CELL_CENTRES[None, None, :]
        y = STRIDE * windows[:, 0, None, None] + CELL_CENTRES[None, :, None]
        # A normal turns when the axes' scales differ: along each axis distances are u / per_x.
        masks = (x - u0) / per_x * self.normal[0] + (y - v0) / per_y * self.normal[1]
        scores = np.linspace(0.9, 0.1, len(windows), dtype=np.float32)
        return answer(scores, windows, masks, self.card.proposals, inputs["min_score"][0])


class SeeingNetwork:
    """Finds what is bright: every cell's logit is the level's value at the cell's centre.

    It knows nothing but the level that it is given: it pads it with the grey between dark and
    bright, as a graph pads with grey, and samples it bilinearly at the centres of each window's
    cells. The windows that see something bright answer, most of it first.
    """

    GREY = 127.5

    def __init__(self, card: ProposalCard) -> None:
        self.card = card

    def __call__(self, inputs) -> dict:
        level = inputs["picture"]
        assert level.dtype == np.uint8
        height, width = level.shape[:2]
        windows = grid(height, width)
        border = PATCH
        padded = np.pad(level[..., 0].astype(np.float32) - self.GREY, border, constant_values=0)
        rows = _weights(np.arange(height // STRIDE + 1), len(padded), border)
        columns = _weights(np.arange(width // STRIDE + 1), padded.shape[1], border)
        masks = np.einsum("ikh,hw,jlw->ijkl", rows, padded, columns, optimize=True)
        masks = masks.reshape(-1, CELLS, CELLS)
        scores = (masks > 1).mean((1, 2), dtype=np.float32)
        sees = scores > 0
        rows_, floor = self.card.proposals, inputs["min_score"][0]
        assert sees.sum() <= rows_, "the test's card has too few proposals"
        return answer(scores[sees], windows[sees], masks[sees], rows_, floor)


def _weights(indices: np.ndarray, length: int, border: int) -> np.ndarray:
    """[windows, cells, pixels]: the bilinear weight of a padded level's pixels for each cell."""
    at = border + STRIDE * indices[:, None] + CELL_CENTRES - 0.5  # pixel k's centre is at k + 0.5
    return np.clip(1 - np.abs(at[..., None] - np.arange(length)), 0, None).astype(np.float32)


class RandomNetwork:
    """Scores that depend on the level's size alone; masks [2, 2] that fill their window."""

    def __init__(self, card: ProposalCard, seed: int) -> None:
        self.card, self.seed = card, seed
        self.floors: list[float] = []
        self.levels: list[np.ndarray] = []
        self._lock = threading.Lock()

    def level(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores [K], windows [K, 2] and masks [K, 2, 2] of a level, the best first."""
        windows = grid(height, width)
        rng = np.random.default_rng([self.seed, height, width])
        scores = rng.random(len(windows)).astype(np.float32)
        masks = 0.5 + rng.random((len(windows), 2, 2)).astype(np.float32)
        order = np.argsort(-scores)
        return scores[order], windows[order], masks[order]

    def __call__(self, inputs) -> dict:
        floor = float(inputs["min_score"][0])
        with self._lock:
            self.floors.append(floor)
            self.levels.append(inputs["picture"])
        return answer(*self.level(*inputs["picture"].shape[:2]), self.card.proposals, floor)
