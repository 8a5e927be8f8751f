"""What two contestants found, picture by picture."""

from __future__ import annotations

import pytest

from benchmarks.harness.answers import compared

ONE = {
    "boxes": [[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0], [0.0, 50.0, 9.0, 90.0]],
    "scores": [0.9, 0.8, 0.7],
    "labels": [1, 2, 3],
}
NONE: dict[str, list] = {"boxes": [], "scores": [], "labels": []}


def test_what_is_found_again() -> None:
    """One is a little off, one has another label, one lies elsewhere; empty answers are answers."""
    other = {
        "boxes": [[0.0, 0.0, 10.0, 10.25], [20.0, 0.0, 30.0, 10.0], [0.0, 60.0, 9.0, 90.0]],
        "scores": [0.875, 0.8, 0.7],
        "labels": [1, 1, 3],
    }
    found = compared([ONE, NONE, ONE], [other, NONE, ONE])
    assert (found["objects"], found["found_again"]) == (6, 4)
    assert found["box"] == 0.25
    assert found["score"] == pytest.approx(0.025, abs=1e-6)
    assert compared([NONE], [ONE]) == {"objects": 0, "found_again": 0, "box": 0.0, "score": 0.0}
