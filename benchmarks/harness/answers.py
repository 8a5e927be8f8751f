"""Whether contestants give the same answer: a faster one that finds something else is no faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from engine.agreement import agreement
from engine.results import Instances

FIELDS = {"boxes": np.float32, "scores": np.float32, "labels": np.int64}
Answer = dict[str, list[Any]]
"""The boxes, scores and labels that were found in a picture."""


def compared(expected: Sequence[Answer], found: Sequence[Answer]) -> dict[str, Any]:
    """How much of one contestant's answers is in another's, picture by picture.

    Args:
        expected: what the first contestant found.
        found: what the other one did.

    Returns:
        The first one's number of `objects`, how many of them are `found_again` (one label, IoU of
        the boxes 0.9 or more), and of these the largest difference of a coordinate (`box`, in
        pixels) and of a `score`.
    """
    each = [agreement(_instances(a), _instances(b)) for a, b in zip(expected, found, strict=True)]
    return {
        "objects": sum(one.expected for one in each),
        "found_again": sum(len(one.pairs) for one in each),
        "box": max((float(one.boxes.max(initial=0)) for one in each), default=0.0),
        "score": max((float(one.scores.max(initial=0)) for one in each), default=0.0),
    }


def _instances(answer: Answer) -> Instances:
    rows = {name: np.array(answer[name], kind) for name, kind in FIELDS.items()}
    rows["boxes"] = rows["boxes"].reshape(-1, 4)
    return replace(Instances.empty((0, 0)), mask_values=np.zeros((0, 0, 0), np.float32), **rows)
