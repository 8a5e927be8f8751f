"""The numbers are pycocotools' own; AR of proposals and AUC are worked by hand."""

from __future__ import annotations

import contextlib
import copy
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_sets import exact, make_set, perturbed
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.coco_scores import (
    COUNTS,
    KINDS,
    SHOWN,
    area_under,
    average_precision,
    average_recall,
    ground_truth,
)
from benchmarks.coco_set import CocoSet, read_set


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> CocoSet:
    return read_set(*make_set(tmp_path_factory.mktemp("set")))


def theirs(path: Path, results: list[dict], kind: str, most: list[int] | None = None) -> list:
    """What somebody gets who uses pycocotools as its demo does, reading the set's file itself."""
    field = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}[kind]
    keys = "image_id", "category_id", "score", field
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        # An object with id 0 is never found (below); their own sets have none.
        for one in truth.dataset["annotations"]:
            one["id"] += 1
        truth.createIndex()
        found = truth.loadRes([{k: copy.deepcopy(r[k]) for k in keys} for r in results])
        evaluation = COCOeval(truth, found, kind)
        if most is not None:
            evaluation.params.useCats = 0
            evaluation.params.maxDets = most
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [None if value < 0 else value for value in evaluation.stats.tolist()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_pycocotools(some: CocoSet, kind: str, seed: int) -> None:
    """All of COCOeval's stats, to the last bit, on shifted, lost, doubled, mistaken detections."""
    results = perturbed(some, seed)
    before = copy.deepcopy((some, results))
    scores = average_precision(ground_truth(some), results, kind)
    assert list(scores.values()) == theirs(some.annotations, results, KINDS[kind])
    assert 0.1 < scores["AP"] < 0.9
    assert (some, results) == before  # pycocotools writes into what it is given


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_average_recall_is_pycocotools(some: CocoSet, kind: str) -> None:
    """AR with the best 10, 100 and 1000, and by size with 1000, to the last bit."""
    results = [{**r, "category_id": 3} for r in perturbed(some, seed=5)]
    scores = average_recall(ground_truth(some), results, kind)
    stats = theirs(some.annotations, results, KINDS[kind], list(SHOWN))
    names = [*(f"AR@{n}" for n in SHOWN), *(f"AR@1000_{s}" for s in ("small", "medium", "large"))]
    assert [scores[name] for name in names] == stats[6:]
    assert scores["AR@10"] < scores["AR@1000"]
    assert None not in scores.values()


def test_one_truth_serves_all_kinds(some: CocoSet) -> None:
    """What pycocotools writes into the objects while it scores one kind changes no other."""
    truth, results = ground_truth(some), perturbed(some, seed=2)
    for kind in (*KINDS, *KINDS):
        fresh = average_precision(ground_truth(some), results, kind)
        assert average_precision(truth, results, kind) == fresh
        if kind != "keypoints":
            fresh = average_recall(ground_truth(some), results, kind)
            assert average_recall(truth, results, kind) == fresh


def test_a_perfect_detector_has_one_everywhere(some: CocoSet) -> None:
    """Every number is 1 or there is none, crowds and the object with id 0 notwithstanding."""
    assert {one["id"] for one in some.objects} >= {0}
    assert any(one["iscrowd"] for one in some.objects)
    truth = ground_truth(some)
    for kind in KINDS:
        scores = average_precision(truth, exact(some), kind)
        left = {name: value for name, value in scores.items() if name not in ("AR@1", "AR@10")}
        numbers = [value for value in left.values() if value is not None]
        assert numbers == pytest.approx([1] * len(numbers)), kind
        assert len(numbers) >= 8
    one_a_picture = [{**r, "score": 0.9 - 0.01 * k} for k, r in enumerate(exact(some))]
    for kind in ("boxes", "masks"):
        scores = average_recall(truth, one_a_picture, kind)
        assert {scores[f"AR@{n}"] for n in SHOWN} == {1.0}
        assert scores["AUC"] < 1  # one proposal cannot find seven objects


def test_what_one_kind_does_not_need_may_be_missing(some: CocoSet) -> None:
    """Boxes are scored alike in a set without masks; no keypoints are as good as none seen."""
    results = perturbed(some, seed=1)
    keys = "id", "image_id", "category_id", "bbox", "area", "iscrowd"
    bare = replace(some, objects=[{key: one[key] for key in keys} for one in some.objects])
    for score in (average_precision, average_recall):
        assert score(ground_truth(bare), results, "boxes") == score(
            ground_truth(some), results, "boxes"
        )
    first, *others = some.objects
    without = {key: value for key, value in first.items() if "keypoints" not in key}
    unseen = first | {"keypoints": [0] * 51, "num_keypoints": 0}
    scores = [
        average_precision(ground_truth(replace(some, objects=[one, *others])), results, "keypoints")
        for one in (without, unseen, first)
    ]
    assert scores[0] == scores[1] != scores[2]


def test_nothing_found_is_zero(some: CocoSet) -> None:
    """No results at all: 0 where there are objects, not an error and not a missing number."""
    truth = ground_truth(some)
    for kind in KINDS:
        nothing, all_of_it = (average_precision(truth, r, kind) for r in ([], exact(some)))
        assert nothing == {name: value and 0.0 for name, value in all_of_it.items()}
    assert set(average_recall(truth, [], "masks").values()) == {0.0}


def by_hand(categories: tuple[int, int] = (7, 9)) -> tuple[CocoSet, list[dict]]:
    """A large square and a small rectangle of 500 pixels in one picture, and three proposals.

    The first is the square; the second nothing; the third has 21 of the rectangle's 25 rows: an
    IoU of 0.84, which is enough at 0.5, 0.55 ... 0.8, seven of the ten.
    """
    image = {"id": 1, "file_name": "a.png", "height": 200, "width": 200}
    boxes = [[0, 0, 100, 100], [120, 150, 20, 25]]

    def outline(box: list[int]) -> list[list[int]]:
        x, y, w, h = box
        return [[x, y, x + w, y, x + w, y + h, x, y + h]]

    objects = [
        {
            "id": k, "image_id": 1, "category_id": categories[k], "iscrowd": 0, "bbox": box,
            "area": box[2] * box[3], "segmentation": outline(box),
        }
        for k, box in enumerate(boxes)
    ]  # fmt: skip
    some = CocoSet(
        Path("made"), Path(), [image], objects, [{"id": k, "name": str(k)} for k in categories]
    )
    found = [[0, 0, 100, 100], [120, 20, 30, 30], [120, 150, 20, 21]]
    results = [
        {"image_id": 1, "category_id": 1, "score": 0.9 - 0.1 * k, "bbox": box,
         "segmentation": as_mask(box)}
        for k, box in enumerate(found)
    ]  # fmt: skip
    return some, results


def as_mask(box: list[int]) -> dict:
    from pycocotools import mask as coco_mask

    bitmap = np.zeros((200, 200), np.uint8, order="F")
    bitmap[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = 1
    return coco_mask.encode(bitmap)


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_recall_worked_by_hand(kind: str) -> None:
    """Two objects and three proposals.

    One or two proposals: one of two objects is found, AR 1/2. Three and more: (1 + 0.7) / 2.
    ln 2 = 0.69315, ln 2.5 = 0.91629, ln 200 = 5.29832, ln 1000 = 6.90776, so that
    AUC = (0.5 * 0.69315 + (0.5 + 0.85) / 2 * 0.91629 + 0.85 * 5.29832) / 6.90776 = 0.79167,
    small: (0 + 0.35 * 0.91629 + 0.7 * 5.29832) / 6.90776 = 0.58333; large: found from the first on.
    """
    some, results = by_hand()
    scores = average_recall(ground_truth(some), results, kind)
    for size, recall in (("", 0.85), ("_small", 0.7), ("_medium", None), ("_large", 1.0)):
        for count in SHOWN:
            assert scores[f"AR@{count}{size}"] == (recall and pytest.approx(recall, abs=1e-12))
    assert scores["AUC"] == pytest.approx(0.79167, abs=1e-5)
    assert scores["AUC_small"] == pytest.approx(0.58333, abs=1e-5)
    assert scores["AUC_medium"] is None
    assert scores["AUC_large"] == pytest.approx(1)


def test_precision_worked_by_hand() -> None:
    """One category, boxes alone: IoU 0.5 to 0.8 find both with one mistake between, 0.85 on one.

    Ranked right, wrong, right: precision is 1 up to recall 0.5 (51 of 101 recalls) and 2/3 after:
    (51 + 50 * 2/3) / 101 = 0.83498. With one of two found: 51/101 = 0.50495.
    AP = 0.7 * 0.83498 + 0.3 * 0.50495 = 0.73597.
    """
    some, results = by_hand()
    one = [{**r, "category_id": 7} for r in results]
    for some_object in some.objects:
        some_object["category_id"] = 7
    scores = average_precision(ground_truth(some), one, "boxes")
    assert scores["AP50"] == pytest.approx(0.83498, abs=1e-5)
    assert scores["AP"] == pytest.approx(0.73597, abs=1e-5)
    assert scores["AP_medium"] is None


def test_proposals_have_no_category() -> None:
    """The set's own ids, and the proposals', change nothing; a category is never asked for."""
    first = average_recall(*_truth_and_results((7, 9)), "boxes")
    assert average_recall(*_truth_and_results((1, 2)), "boxes") == first


def _truth_and_results(categories: tuple[int, int]) -> tuple[COCO, list[dict]]:
    some, results = by_hand(categories)
    return ground_truth(some), results


def test_area_under_a_straight_line_is_its_middle() -> None:
    """AR that grows with log N from 0 to 1 has 1/2 under it, whatever the counts; 1 has 1."""
    assert area_under(np.log(COUNTS) / math.log(COUNTS[-1])) == pytest.approx(0.5)
    assert area_under(np.ones(len(COUNTS))) == pytest.approx(1)
