"""How a command line says in what form a model is run: after an @, in words."""

from __future__ import annotations

from engine.backends import BACKENDS, DEVICES
from engine.card import PRECISIONS


def kind_of(word: str) -> str | None:
    """Whether a word is a "backend", a "device" (`cuda:1` too) or a "precision"; None for none."""
    kinds = {
        "backend": word in BACKENDS,
        "device": word.partition(":")[0] in DEVICES,
        "precision": word in PRECISIONS,
    }
    return next((kind for kind, fits in kinds.items() if fits), None)
