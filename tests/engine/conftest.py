"""A card to vary, for tests that need no network."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine import Card


@pytest.fixture
def make_card() -> Callable[..., Card]:
    """A valid card with some fields changed."""

    def make(**changes: object) -> Card:
        fields: dict = {
            "task": "proposals", "architecture": "fake", "labels": ["object"], "patch": 64,
            "stride": 16, "mask_size": 56, "proposals": 50, "scales": [1.0], "resize": "area",
            "mask_threshold": 0.5, "score_threshold": 0.0, "mask_nms": 1.0, "top": 50,
            "precision": "fp32", "built_by": {"maskrt": "0"}, "weights_sha256": "",
        }  # fmt: skip
        return Card(**(fields | changes))

    return make
