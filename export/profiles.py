"""The sizes of picture that a plan is built for."""

from __future__ import annotations

from engine.card import Card, InstanceCard, ProposalCard
from engine.errors import OptionError
from engine.fit import fitted_size
from engine.pieces import largest_inputs
from export.build_options import Profile, Size

OPTIONS = ("--min", "--opt", "--max")


def make_profile(
    card: Card, smallest: str | None, usual: str | None, largest: str | None
) -> Profile:
    """Sizes as the user gives them, "480x640"; what is left out is as the model wants it.

    Of a model that takes a whole pyramid they are the picture's; its inputs are that one's levels.

    Raises:
        OptionError: a text that is no size, or sizes that do not rise.
    """
    packed = isinstance(card, ProposalCard) and card.pieces > 1
    if packed and smallest is not None:
        raise OptionError("--min means nothing to a model that takes a pyramid; leave it out")
    if packed and largest is None:
        largest = usual
    resizes = isinstance(card, InstanceCard) and card.framework == "torchvision" and not card.canvas
    defaults = _defaults(card)
    sizes = [
        default if text is None else _size(option, text)
        for option, text, default in zip(OPTIONS, (smallest, usual, largest), defaults, strict=True)
    ]
    if any(not a <= b <= c for a, b, c in zip(*sizes, strict=True)):
        raise OptionError(f"--min, --opt and --max are {sizes} and do not rise; swap them")
    if isinstance(card, ProposalCard) and packed:
        return Profile(*sizes, levels=_levels(card, *sizes[1:]))
    if not resizes:
        return Profile(*sizes)
    assert isinstance(card, InstanceCard)
    side = card.largest_side
    return Profile(*sizes, fitted=((32, 32), fitted_size(*sizes[1], card), (side, side)))


def _levels(card: ProposalCard, usual: Size, largest: Size) -> dict[str, tuple[Size, Size, Size]]:
    """Inputs that are left over in a call are given a single pixel."""
    sizes = (largest_inputs(card, *size) for size in (usual, largest))
    return {
        name: ((1, 1), some, most) for name, some, most in zip(card.pictures, *sizes, strict=True)
    }


def _defaults(card: Card) -> tuple[Size, Size, Size]:
    if isinstance(card, ProposalCard):
        return (1, 1), (480, 640), (2048, 2048) if card.pieces == 1 else (480, 640)
    assert isinstance(card, InstanceCard)
    if card.canvas:
        canvas = card.canvas[0], card.canvas[1]
        return canvas, canvas, canvas
    if card.framework == "torchvision":
        return (32, 32), (480, 640), (2160, 3840)
    side = card.largest_side  # a picture comes in resized
    return (32, 32), fitted_size(480, 640, card), (side, side)


def _size(option: str, text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise OptionError(f"{option} is {text!r}; give height x width, like 480x640")
    if not (int(height) and int(width)):
        raise OptionError(f"{option} is {text!r}; give sides of 1 or more")
    return int(height), int(width)
