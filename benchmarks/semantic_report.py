"""What `benchmarks/semantic.py` has to say: tables to read, JSON to keep.

The JSON (`format` "maskrt.semantic", `version` 1; a field that changes its meaning counts the
version up):

    format, version
    made        date (UTC), platform, versions {maskrt, numpy, python}
    set         predicted, truth (paths), maps, pixels (as scored),
                left_out [{name, error}]
    settings    classes (how many), ignore (null: all pixels count)
    scores      pixel_accuracy, mean_accuracy, mean_iou, frequency_weighted_iou: 0 to 1, or null
                where there was nothing to count
    classes     by their labels, each
        label, name     the name is null where none was given
        iou, accuracy   0 to 1, or null: the class is nowhere, or the truth does not have it
        true, found, right      pixels that are of it, that were taken for it, and both
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.made import made
from benchmarks.semantic_scores import SemanticScores, semantic_scores

FORMAT, VERSION = "maskrt.semantic", 1
SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")


@dataclass
class Outcome:
    """What was counted.

    Attributes:
        counts: int64 [classes, classes], row the true class, column the found one.
        ignored: the label of pixels that did not count; None if all did.
        maps: how many were scored.
        left_out: name and reason of the others.
    """

    counts: NDArray[np.int64]
    ignored: int | None = None
    maps: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def add(self, counts: NDArray[np.int64]) -> None:
        """Count a map, which may have more classes than there were, or fewer."""
        more = len(counts) - len(self.counts)
        if more > 0:
            self.counts = np.pad(self.counts, (0, more))
        self.counts[: len(counts), : len(counts)] += counts
        self.maps += 1

    @property
    def scores(self) -> SemanticScores:
        """Of all pixels together."""
        return semantic_scores(self.counts, self.ignored)


def shown(outcome: Outcome, names: Sequence[str] | None) -> Iterator[Table | Text]:
    """What to print: the scores of the set, and those of each class that is somewhere.

    Args:
        outcome: what was counted.
        names: of the classes, if they have any.
    """
    scores = outcome.scores
    pixels = int(outcome.counts.sum())
    table = Table(title=f"{outcome.maps} maps, {pixels} pixels that count", box=box.SIMPLE_HEAD)
    for name in SCORES:
        table.add_column(name.replace("_", " ").replace("iou", "IoU"), justify="right")
    table.add_row(*(_shown(getattr(scores, name)) for name in SCORES))
    yield table
    true, found = outcome.counts.sum(1), outcome.counts.sum(0)
    there = np.flatnonzero((true > 0) | (found > 0))
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("class", overflow="fold")
    for column in ("IoU", "accuracy", "of the true pixels"):
        table.add_column(column, justify="right", no_wrap=True)
    for label in there:
        table.add_row(
            Text(str(label) if names is None else f"{label} {names[label]}"),
            _shown(scores.iou[label]), _shown(scores.accuracy[label]),
            f"{true[label] / pixels:.2%}",
        )  # fmt: skip
    yield table
    nowhere = len(outcome.counts) - len(there)
    if nowhere:
        yield Text(f"{nowhere} of {len(outcome.counts)} classes are nowhere and do not count")


def report(outcome: Outcome, names: Sequence[str] | None, given: dict[str, str]) -> str:
    """The JSON text described above.

    Args:
        outcome: what was counted.
        names: of the classes, if they have any.
        given: the folders, `predicted` and `truth`.
    """
    scores, counts = outcome.scores, outcome.counts
    content = {
        "format": FORMAT,
        "version": VERSION,
        "made": made("maskrt", "numpy"),
        "set": {
            **given,
            "maps": outcome.maps,
            "pixels": int(counts.sum()),
            "left_out": [{"name": name, "error": why} for name, why in outcome.left_out],
        },
        "settings": {"classes": len(counts), "ignore": outcome.ignored},
        "scores": {name: _number(getattr(scores, name)) for name in SCORES},
        "classes": [
            {
                "label": label,
                "name": None if names is None else names[label],
                "iou": _number(scores.iou[label]),
                "accuracy": _number(scores.accuracy[label]),
                "true": int(counts[label].sum()),
                "found": int(counts[:, label].sum()),
                "right": int(counts[label, label]),
            }
            for label in range(len(counts))
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _number(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)


def _shown(value: Any) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
