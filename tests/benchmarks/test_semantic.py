"""Scores of label maps, on cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.semantic import confusion, semantic_scores
from engine import OptionError

TRUTH = np.array([[0, 0, 0, 1], [1, 1, 255, 2]])
FOUND = np.array([[0, 0, 1, 1], [1, 0, 2, 1]])
"""Class 0: 2 of 3 right, 1 taken for 1. Class 1: 2 of 3 right, 1 taken for 0. Class 2: its one
pixel is taken for 1. The pixel that is ignored does not count."""


def test_worked_by_hand() -> None:
    """n_00 = 2, n_11 = 2, n_22 = 0 of t = 3, 3, 1; found are 3, 4, 0."""
    counts = confusion(TRUTH, FOUND, 3)
    assert counts.tolist() == [[2, 1, 0], [1, 2, 0], [0, 1, 0]]
    scores = semantic_scores(counts)
    assert scores.pixel_accuracy == pytest.approx(4 / 7)
    assert scores.mean_accuracy == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert scores.iou == pytest.approx([2 / 4, 2 / 5, 0])
    assert scores.mean_iou == pytest.approx(0.3)


def test_pictures_are_added_before_anything_is_divided() -> None:
    """A set's scores are of all its pixels: not the mean of its pictures' scores."""
    whole = confusion(TRUTH, FOUND, 3)
    rows = sum(confusion(TRUTH[k : k + 1], FOUND[k : k + 1], 3) for k in range(2))
    assert (rows == whole).all()


def test_a_class_that_is_nowhere_does_not_count() -> None:
    """It has no IoU; one that is found but not there has 0, and no accuracy."""
    scores = semantic_scores(confusion(np.zeros((2, 2), int), np.array([[0, 0], [0, 1]]), 3))
    assert scores.iou[:2].tolist() == [0.75, 0]
    assert np.isnan(scores.iou[2])
    assert scores.mean_iou == 0.375
    assert scores.mean_accuracy == 0.75


def test_the_right_map_has_one_everywhere_and_nothing_at_all_has_no_score() -> None:
    """Whatever the classes; where every pixel is ignored, nan."""
    labels = np.random.default_rng(0).integers(0, 21, (40, 50))
    scores = semantic_scores(confusion(labels, labels, 21))
    assert (scores.pixel_accuracy, scores.mean_accuracy, scores.mean_iou) == (1, 1, 1)
    empty = semantic_scores(confusion(np.full((3, 3), 255), np.zeros((3, 3), int), 2))
    assert np.isnan([empty.pixel_accuracy, empty.mean_accuracy, empty.mean_iou]).all()


def test_another_label_can_be_ignored_or_none() -> None:
    """255 is a label like any other if another one, or none, is ignored."""
    assert confusion(TRUTH, FOUND, 3, ignored=255).sum() == 7
    with pytest.raises(OptionError, match="the true map has the label 255"):
        confusion(TRUTH, FOUND, 3, ignored=None)
    assert confusion(TRUTH % 254, FOUND, 3, ignored=2).sum() == 7


@pytest.mark.parametrize(
    ("truth", "found", "says"),
    [
        (TRUTH, FOUND[:1], r"\[2, 4\] and the one found \[1, 4\]"),
        (TRUTH, FOUND + 2, "the found map has the label 3 and there are 3"),
        (TRUTH, FOUND - 1, "the found map has the label -1"),
        (TRUTH, FOUND * 1.0, "the found map is float64"),
    ],
)
def test_what_is_no_label_map_is_refused(truth: np.ndarray, found: np.ndarray, says: str) -> None:
    """Sizes, labels and types, in one sentence."""
    with pytest.raises(OptionError, match=says):
        confusion(truth, found, 3)
