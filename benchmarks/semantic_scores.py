"""Scores of label maps: pixel accuracy, mean accuracy, mean IoU and frequency weighted IoU.

Definitions of Long, Shelhamer and Darrell 2015, "Fully convolutional networks for semantic
segmentation", section 5, over the pixels of all pictures together. With n_ij pixels of class i
found to be class j, and t_i = sum_j n_ij:

    pixel accuracy   sum_i n_ii / sum_i t_i
    mean accuracy    mean over i of n_ii / t_i
    IoU of class i   n_ii / (t_i + sum_j n_ji - n_ii)
    mean IoU         mean over i of class i's
    frequency weighted IoU   sum_i t_i times class i's / sum_i t_i

A class that the truth does not have is left out of the mean accuracy; of the mean IoU only if
nothing was taken for it either (the authors' `score.py`, by nanmean).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import OptionError

IGNORED = 255
"""The label of pixels that do not count: PASCAL VOC's border."""


@dataclass(frozen=True)
class SemanticScores:
    """Shares, 0 to 1; nan where nothing was there to count.

    Attributes:
        pixel_accuracy: of all pixels.
        mean_accuracy: of the classes.
        mean_iou: of the classes.
        frequency_weighted_iou: of the classes, each with its share of the true pixels.
        accuracy: float64 [classes]; nan for a class that the truth does not have.
        iou: float64 [classes]; nan for a class that is nowhere.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    accuracy: NDArray[np.float64]
    iou: NDArray[np.float64]


def confusion(
    truth: NDArray[np.integer],
    found: NDArray[np.integer],
    classes: int,
    ignored: int | None = IGNORED,
) -> NDArray[np.int64]:
    """Count the pixels of one picture; the sum over pictures is what `semantic_scores` takes.

    Args:
        truth: [H, W], labels 0 to `classes` - 1, or `ignored`.
        found: [H, W], labels 0 to `classes` - 1; where the truth is ignored, anything.
        classes: how many.
        ignored: the label of pixels that do not count; None if all do.

    Returns:
        int64 [classes, classes]: row the true class, column the found one.

    Raises:
        OptionError: maps of two sizes, not of whole numbers, or with other labels.
    """
    if truth.shape != found.shape or truth.ndim != 2:
        raise OptionError(
            f"the true map is {list(truth.shape)} and the one found {list(found.shape)}; give two "
            "[height, width] of one size"
        )
    counted = np.ones(truth.shape, bool) if ignored is None else truth != ignored
    pairs = []
    for name, labels in (("true", truth), ("found", found)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise OptionError(f"the {name} map is {labels.dtype}; give whole numbers")
        pixels = labels[counted]
        if pixels.size and (pixels.min() < 0 or pixels.max() >= classes):
            wrong = pixels.max() if pixels.max() >= classes else pixels.min()
            raise OptionError(
                f"the {name} map has the label {wrong} and there are {classes} classes; labels "
                f"are 0 to {classes - 1}"
            )
        pairs.append(pixels.astype(np.int64))
    counts = np.bincount(classes * pairs[0] + pairs[1], minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def semantic_scores(counts: NDArray[np.int64], ignored: int | None = None) -> SemanticScores:
    """The scores of a set.

    Args:
        counts: [classes, classes], the sum of `confusion` over its pictures.
        ignored: the label of pixels that did not count; where it is one of the classes, the truth
            has none of it, so that what was taken for it says nothing of it: it has no IoU.
    """
    right, true, found = np.diag(counts), counts.sum(1), counts.sum(0)
    iou = _shares(right, true + found - right)
    if ignored is not None and ignored < len(iou):
        iou[ignored] = np.nan
    accuracy, all_pixels = _shares(right, true), true.sum()
    weighted = np.nansum(true * iou) / all_pixels if all_pixels else np.nan
    return SemanticScores(
        pixel_accuracy=float(_shares(right.sum(), all_pixels)),
        mean_accuracy=_mean(accuracy),
        mean_iou=_mean(iou),
        frequency_weighted_iou=float(weighted),
        accuracy=accuracy,
        iou=iou,
    )


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean(values: NDArray[np.float64]) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")
