"""What may be chosen for a call, checked before anything is read or run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .card import Card, ProposalCard
from .errors import OptionError
from .slices import check_slices


def check_options(
    card: Card,
    *,
    scales: Sequence[float] | None = None,
    score_threshold: float | None = None,
    mask_nms: float | None = None,
    top: int | None = None,
    slices: int | None = None,
    overlap: int | None = None,
) -> None:
    """Refuse what a model does not have, or a value out of its range. None is the card's default.

    Args:
        card: of the model.
        scales: see `engine.Segmenter`, as for all.
        score_threshold: 0 to 1.
        mask_nms: 0 to 1.
        top: 1 or more.
        slices: 64 or more.
        overlap: up to half of `slices`.

    Raises:
        OptionError: says which, and what to give.
    """
    for name, share in (("score_threshold", score_threshold), ("mask_nms", mask_nms)):
        if share is not None and not 0 <= share <= 1:
            raise OptionError(f"{name} is {share}; give a number from 0 to 1")
    if top is not None and top < 1:
        raise OptionError(f"top is {top}; give 1 or more")
    others = {"scales": scales, "mask_nms": mask_nms}
    if isinstance(card, ProposalCard):
        others = {"slices": slices, "overlap": overlap}
        most = card.top if top is None else top
        if card.pieces > 1 and most > card.proposals:
            raise OptionError(
                f"top is {most}, and a call of this model gives {card.proposals} results for all "
                f"levels together; give less, or export it with --proposals {most}"
            )
        fine = scales is None or (len(scales) and all(math.isfinite(s) and s > 0 for s in scales))
        if not fine:
            raise OptionError(f"scales is {list(scales or [])}; give at least one factor above 0")
    for name, value in others.items():
        if value is not None:  # it would be left unheard
            raise OptionError(f"{name} is {value}, and {card.architecture} has no {name}")
    check_slices(slices, overlap)
