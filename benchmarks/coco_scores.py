"""COCO's numbers for detections, and recall for proposals: pycocotools matches and counts.

Detections (cocodataset.org, "Detection evaluation"): AP is the mean over IoU 0.5:0.05:0.95 and
the categories of the precision at 101 recalls, with the best 100 detections of a picture (20 for
keypoints, whose likeness is OKS). The numbers are `COCOeval.stats`, untouched.

Proposals have no category. AR@N is the recall with the best N of each picture, averaged over the
same ten IoUs (Hosang et al. 2015, "What makes for effective detection proposals?", which takes
twice the area over IoU 0.5 to 1; COCO's ten thresholds are what DeepMask reports). AUC is AR
averaged over all numbers of proposals, N on a log axis from 1 to 1000 (Pinheiro et al. 2015,
"Learning to segment object candidates", section 4 and its curves): with AR measured at N_k,

    AUC = sum_k (AR(N_k) + AR(N_k+1)) / 2 * log(N_k+1 / N_k) / log(1000).

No code of theirs for it was released; the N_k are `COUNTS`, chosen here. Sizes are COCO's, by the
object's area: small below 32^2 pixels, large from 96^2 on. Where a size has no object, there is
no number: None.

Two things that COCOeval leaves to its caller: an object with id 0 can never be found, as its id
is the sign of a match, so ids are given anew from 1; and a result that has a box beside its mask
or keypoints is counted small or large by the box, so each kind is given alone.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.coco_set import CocoSet

KINDS = {"boxes": "bbox", "masks": "segm", "keypoints": "keypoints"}
"""What is scored, and pycocotools' name for it."""
_FIELDS = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Numbers of proposals that AR is measured at."""
SHOWN = (10, 100, 1000)
SIZES = ("", "_small", "_medium", "_large")

STATS = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR@1", "AR@10", "AR@100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip
KEYPOINT_STATS = (
    "AP", "AP50", "AP75", "AP_medium", "AP_large",
    "AR", "AR50", "AR75", "AR_medium", "AR_large",
)  # fmt: skip
"""The names of `COCOeval.stats`, in its order."""

Scores = dict[str, float | None]
Results = Sequence[dict[str, Any]]


def ground_truth(some: CocoSet) -> COCO:
    """A set as pycocotools takes it; the set itself stays as it is."""
    points = 3 * some.keypoints
    objects = []
    for number, one in enumerate(some.objects, 1):
        copy = {**one, "id": number, "iscrowd": int(one.get("iscrowd", 0))}
        if points:
            # Objects without keypoints are neither found nor missed.
            copy.setdefault("keypoints", [0] * points)
            seen = sum(v > 0 for v in copy["keypoints"][2::3])
            copy.setdefault("num_keypoints", seen)
        objects.append(copy)
    return _indexed(
        {"images": some.images, "annotations": objects, "categories": some.categories, "info": {}}
    )


def average_precision(truth: COCO, results: Results, kind: str) -> Scores:
    """COCO's twelve numbers of boxes or masks, or its ten of keypoints.

    Args:
        truth: of `ground_truth`; every one of its pictures counts.
        results: in COCO's format, with the kind's own field.
        kind: one of `KINDS`.
    """
    evaluation = _evaluated(truth, results, KINDS[kind])
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.summarize()
    names = KEYPOINT_STATS if kind == "keypoints" else STATS
    return {k: _or_none(v) for k, v in zip(names, evaluation.stats.tolist(), strict=True)}


def average_recall(truth: COCO, results: Results, kind: str) -> Scores:
    """AR@10, @100 and @1000 and AUC of proposals, over all objects and by their size.

    Args:
        truth: of `ground_truth`; its categories are not looked at.
        results: in COCO's format, with the kind's own field; nor are their categories.
        kind: "boxes" or "masks".
    """
    # COCOeval passes over results of a category that the set does not have, even here.
    category = min(truth.getCatIds())
    alike = [{**result, "category_id": category} for result in results]
    evaluation = _evaluated(truth, alike, KINDS[kind], COUNTS)
    found = evaluation.eval["recall"][:, 0]  # IoU threshold, size, number of proposals
    scores: Scores = {}
    for size, name in enumerate(SIZES):
        # Each by itself, as COCOeval adds them up; -1 everywhere if there is no such object.
        curve = np.array([at.mean() for at in np.ascontiguousarray(found[:, size].T)])
        for count in SHOWN:
            scores[f"AR@{count}{name}"] = _or_none(float(curve[COUNTS.index(count)]))
        scores[f"AUC{name}"] = None if curve.min() < 0 else area_under(curve)
    return scores


def area_under(curve: NDArray[np.float64]) -> float:
    """The mean of AR over the numbers of proposals, on a log axis, by trapezoids.

    Args:
        curve: float64 [len(COUNTS)], AR at each of `COUNTS`.
    """
    steps = np.diff(np.log(COUNTS))
    return float((steps * (curve[1:] + curve[:-1]) / 2).sum() / steps.sum())


def _evaluated(
    truth: COCO, results: Results, kind: str, proposals: Sequence[int] | None = None
) -> COCOeval:
    """The evaluation that pycocotools makes, without what it prints."""
    field = _FIELDS[kind]
    kept = ("image_id", "category_id", "score", field)
    alone = [{key: result[key] for key in kept} for result in results]
    with contextlib.redirect_stdout(io.StringIO()):
        # loadRes looks at the first result to see what they are, so there must be one.
        found = truth.loadRes(alone) if alone else _indexed({**truth.dataset, "annotations": []})
        evaluation = COCOeval(truth, found, kind)
        if proposals is not None:
            evaluation.params.useCats = 0
            evaluation.params.maxDets = list(proposals)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _indexed(dataset: dict[str, Any]) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dataset
        coco.createIndex()
    return coco


def _or_none(value: float) -> float | None:
    return None if value < 0 else value
