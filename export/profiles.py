"""The sizes of picture that a plan is built for."""

from __future__ import annotations

from engine.card import Card, InstanceCard
from engine.errors import OptionError
from engine.fit import fitted_size
from export.build_options import Profile

OPTIONS = ("--min", "--opt", "--max")


def make_profile(
    card: Card, smallest: str | None, usual: str | None, largest: str | None
) -> Profile:
    """Sizes as the user gives them, "480x640"; what is left out is as the model wants it.

    Raises:
        OptionError: a text that is no size, or sizes that do not rise.
    """
    resizes = isinstance(card, InstanceCard) and card.framework == "torchvision" and not card.canvas
    defaults = _defaults(card)
    sizes = [
        default if text is None else _size(option, text)
        for option, text, default in zip(OPTIONS, (smallest, usual, largest), defaults, strict=True)
    ]
    if any(not a <= b <= c for a, b, c in zip(*sizes, strict=True)):
        raise OptionError(f"--min, --opt and --max are {sizes} and do not rise; swap them")
    if not resizes:
        return Profile(*sizes)
    assert isinstance(card, InstanceCard)
    side = card.largest_side
    return Profile(*sizes, fitted=((32, 32), fitted_size(*sizes[1], card), (side, side)))


def _defaults(card: Card) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    if not isinstance(card, InstanceCard):
        return (1, 1), (480, 640), (2048, 2048)
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
