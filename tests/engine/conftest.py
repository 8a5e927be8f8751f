"""A card to vary, for tests that need no network. This folder needs neither torch nor a GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from networks import card

from engine import Card


@pytest.fixture
def make_card() -> Callable[..., Card]:
    """A valid card with some fields changed."""
    return card
