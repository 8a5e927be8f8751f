"""The same picture through two forms of a model: how far apart are the answers?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from engine.backends import Backend, Tensors
from engine.backends.fake import FakeBackend
from engine.card import Card, ProposalCard
from engine.errors import ModelError
from engine.picture import Picture
from engine.pieces import feed
from engine.prepare import pyramid, resize
from engine.tiling import EVERY_WINDOW


@dataclass(frozen=True)
class LevelParity:
    """One level of the pyramid: its size, windows compared, and the differences found.

    Attributes:
        size: the level, "width x height".
        windows: how many windows both count.
        shared: how many of them both chose.
        score: largest difference of a shared window's score.
        mask: largest difference of a shared window's mask probability.
        flipped: share of the shared windows' mask pixels on the other side of the threshold.
    """

    size: str
    windows: int
    shared: int
    score: float
    mask: float
    flipped: float


@dataclass(frozen=True)
class Parity:
    """The report, level by level."""

    levels: Sequence[LevelParity]

    @property
    def score(self) -> float:
        """Largest difference of a score."""
        return max(level.score for level in self.levels)

    @property
    def mask(self) -> float:
        """Largest difference of a mask probability."""
        return max(level.mask for level in self.levels)

    @property
    def same_windows(self) -> float:
        """Share of the windows that both chose."""
        total = sum(level.windows for level in self.levels)
        return sum(level.shared for level in self.levels) / total if total else 1.0

    def table(self, reference: str, other: str) -> Table:
        """For the terminal."""
        table = Table(title=f"{other} against {reference}")
        for column in ("level", "windows", "same", "max score diff", "max mask diff", "flipped"):
            table.add_column(column, justify="right")
        for v in self.levels:
            table.add_row(
                v.size,
                str(v.windows),
                str(v.shared),
                f"{v.score:.1e}",
                f"{v.mask:.1e}",
                f"{v.flipped:.4%}",
            )
        return table

    def require(self, *, score: float, mask: float, same_windows: float = 0.99) -> None:
        """Refuse a model that is too far off.

        Raises:
            ModelError: says by how much.
        """
        if self.score > score or self.mask > mask or self.same_windows < same_windows:
            raise ModelError(
                f"the two models differ: scores by {self.score:.2g} (at most {score:g} is "
                f"right), masks by {self.mask:.2g} (at most {mask:g}), {self.same_windows:.1%} "
                f"of the windows are the same (at least {same_windows:.0%}); do not use the file"
            )


def check_parity(reference: Backend, other: Backend, picture: Picture) -> Parity:
    """Run both on every level of the picture's pyramid, every window counted.

    Args:
        reference: what is right.
        other: what is compared with it.
        picture: uint8 [H, W, 3], BGR.
    """
    card = reference.card
    levels = []
    for level in pyramid(*picture.shape[:2], card.scales, card.patch // 2):
        whole = [(resize(picture, level, card.resize), EVERY_WINDOW)]
        answers = [backend.run(feed(whole, 0, backend.card)) for backend in (reference, other)]
        levels.append(_compare(*answers, card, f"{level.width} x {level.height}"))
    if isinstance(other.card, ProposalCard) and other.card.pieces > 1:
        levels.append(_together(reference, other, picture))
    return Parity(levels)


def _together(reference: Backend, other: Backend, picture: Picture) -> LevelParity:
    """Several levels in a call, which has a place for each, against a call for each."""
    card = other.card
    scales = sorted(card.scales, reverse=True)[-card.pieces :]
    whole = [
        (resize(picture, level, card.resize), EVERY_WINDOW)
        for level in pyramid(*picture.shape[:2], scales, card.patch // 2)
    ]
    found = other.run(feed(whole, 0, card))
    each = []
    for k, level in enumerate(whole):
        alone = reference.run(feed([level], 0, reference.card))
        each.append(alone | {"piece": np.full_like(alone["piece"], k)})
    order = np.argsort(-np.concatenate([one["scores"] for one in each]), kind="stable")
    rows = ("scores", "windows", "masks", "piece")
    joined = {name: np.concatenate([one[name] for one in each])[order] for name in rows}
    counts = np.array([min(sum(int(one["count"][0]) for one in each), card.proposals)])
    return _compare(joined | {"count": counts}, found, card, "all at once")


def _compare(reference: Tensors, other: Tensors, card: Card, size: str) -> LevelParity:
    a, b = _by_window(reference), _by_window(other)
    shared = [window for window in a if window in b]
    score = mask = flipped = 0.0
    for window in shared:
        (score_a, mask_a), (score_b, mask_b) = a[window], b[window]
        score = max(score, abs(score_a - score_b))
        mask = max(mask, float(np.abs(mask_a - mask_b).max()))
        above = card.mask_threshold
        flipped += float(((mask_a > above) != (mask_b > above)).mean()) / len(shared)
    # Where more windows than N compete, those whose scores tie at the end may change places.
    return LevelParity(size, max(len(a), len(b)), len(shared), score, mask, flipped)


def _by_window(
    outputs: Mapping[str, NDArray[np.generic]],
) -> dict[tuple[int, int], tuple[float, NDArray[np.float64]]]:
    """Score and mask probabilities of each window that counts."""
    count = int(outputs["count"][0])  # type: ignore[call-overload]
    probabilities = 1 / (1 + np.exp(-outputs["masks"][:count].astype(np.float64)))
    windows = np.column_stack([outputs["piece"][:count], outputs["windows"][:count]])
    places = map(tuple, windows.tolist())
    scores = outputs["scores"][:count].tolist()
    return dict(zip(places, zip(scores, probabilities, strict=True), strict=True))  # type: ignore[arg-type]


def torch_backend(model: object, card: Card) -> Backend:
    """A DenseDeepMask as a backend, computed by PyTorch."""
    import torch

    def answer(inputs: Tensors) -> Tensors:
        tensors = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in inputs.items()}
        pictures = [tensors.pop(name) for name in card.pictures]
        with torch.no_grad():
            winners = model(pictures, **tensors)  # type: ignore[operator]
        return {name: value.numpy() for name, value in winners._asdict().items()}

    return FakeBackend(card, answer)


def noise(height: int = 360, width: int = 480, seed: int = 0) -> Picture:
    """A picture to compare on: smooth noise, as far from flat as from grain."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for cell in (80, 30, 10, 3):
        coarse = rng.uniform(-1, 1, (height // cell + 1, width // cell + 1, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * 60
    return np.clip(picture + 128, 0, 255).astype(np.uint8)
