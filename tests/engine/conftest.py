"""A card to vary, for tests that need no network. Helpers of these tests are modules beside them.

Some of these tests fork to import the engine alone: this folder needs neither torch nor a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Card

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def make_card() -> Callable[..., Card]:
    """A valid card with some fields changed."""
    from networks import card

    return card
