"""What a model finds on a set: the set's own categories, and what cannot be scored is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_sets import HEIGHT, WIDTH, make_set
from networks import card as proposal_card
from networks import instance_card

from benchmarks.coco_scores import (
    average_precision,
    ground_truth,
)
from benchmarks.coco_set import CocoSet, read_set
from benchmarks.findings import category_ids, found
from benchmarks.oracle import Oracle, painted
from engine import ModelError, Segmenter
from engine.backends.fake import FakeBackend


def painted_set(folder: Path, labels: list[str], ids: list[int]) -> CocoSet:
    """Rectangles in the colours that `Oracle` reads, one of each label in two pictures."""
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    folder.mkdir(exist_ok=True)
    for image in (1, 2):
        masks = []
        for k in range(len(labels)):
            mask = np.zeros((HEIGHT, WIDTH), bool)
            x, y, side = 30 + 90 * k, 20 + 40 * image, 40 + 20 * k
            mask[y : y + side, x : x + side] = True
            masks.append(mask)
            content["annotations"].append(
                {
                    "id": len(content["annotations"]), "image_id": image, "category_id": ids[k],
                    "area": side * side, "bbox": [x, y, side, side], "iscrowd": 0,
                    "segmentation": [[x, y, x + side, y, x + side, y + side, x, y + side]],
                }
            )  # fmt: skip
        name = f"{image}.png"
        cv2.imwrite(str(folder / name), painted(masks, list(range(len(labels)))))
        content["images"].append({"id": image, "file_name": name, "height": HEIGHT, "width": WIDTH})
    content["categories"] = [{"id": k, "name": n} for n, k in zip(labels, ids, strict=True)]
    (folder / "set.json").write_text(json.dumps(content))
    return read_set(folder / "set.json", folder)


def oracle(**changes: Any) -> Segmenter:
    """A detector that finds what is painted, without error."""
    # At the pictures' own size, or nearest-neighbour colours would be mixed.
    card = instance_card(smallest_side=HEIGHT, largest_side=WIDTH, **changes)
    return Segmenter(Oracle(card, smallest=1, error=0).backend())


@pytest.mark.parametrize(
    ("labels", "ids"),
    [(["cat", "dog"], [5, 2]), (["Dog", "CAT"], [17, 18]), (["a", "b"], [17, 18])],
)
def test_a_detector_without_error_has_one(tmp_path: Path, labels: list, ids: list) -> None:
    """From pixels to AP, the categories found by their names, or by the card's ids if it has to."""
    some = painted_set(tmp_path, labels, ids)
    names = {"cat": 0, "dog": 1, "a": 0, "b": 1}
    order = [names[label.casefold()] for label in labels]
    segmenter = oracle(labels=["cat", "dog"] if order == [0, 1] else ["dog", "cat"])
    outcome, results = found(segmenter, some, "oracle")
    assert {result["category_id"] for result in results} == set(ids)
    assert (outcome.results, outcome.notes, list(outcome.metrics)) == (4, [], ["boxes", "masks"])
    for kind in outcome.metrics:
        scores = average_precision(ground_truth(some), results, kind)
        # 28 cells a side, brought to the pixels again, are not the outline to the last pixel.
        assert scores["AP"] >= (0.9 if kind == "masks" else 0.999999), kind


def test_labels_that_the_set_lacks_are_left_out_and_the_reverse_is_said(tmp_path: Path) -> None:
    """Results of a label that the set does not have are not looked at; a class unknown is noted."""
    some = painted_set(tmp_path, ["cat", "bird"], [5, 2])
    outcome, results = found(oracle(labels=["cat", "dog"]), some, "oracle")
    assert {result["category_id"] for result in results} == {5}
    assert outcome.notes == ["knows nothing of bird: AP 0 there"]
    with pytest.raises(ModelError, match=r"finds cat, dog\.\.\. and .*set.json has none of"):
        category_ids(instance_card(category_ids=[1, 3]), painted_set(tmp_path, ["x", "y"], [5, 2]))


def test_what_cannot_be_scored_is_noted(tmp_path: Path) -> None:
    """Keypoints other than COCO's, and masks where the set has none."""
    some = painted_set(tmp_path, ["cat", "dog"], [17, 18])
    for one in some.objects:
        del one["segmentation"]

    def answer(inputs: Any) -> dict:
        zeros = {"boxes": (1, 4), "masks": (1, 28, 28), "keypoints": (1, 3, 56, 56), "scores": 1}
        found = {name: np.zeros(shape, np.float32) for name, shape in zeros.items()}
        return found | {"classes": np.zeros(1, np.int32), "count": np.zeros(1, np.int32)}

    card = instance_card(keypoints=["a", "b", "c"])
    outcome, results = found(Segmenter(FakeBackend(card, answer)), some, "fake")
    assert (list(outcome.metrics), results) == (["boxes"], [])
    assert outcome.notes[0] == "masks were not scored: the set has none"
    assert "the model has 3, the set 0" in outcome.notes[1]


def test_keypoints_are_scored_from_heat_maps_on(tmp_path: Path) -> None:
    """A set whose truth is what the model finds: OKS is 1, and worse with the truth elsewhere."""
    rng = np.random.default_rng(0)
    outputs = {
        "boxes": np.array([[40, 30, 120, 200]], np.float32), "scores": np.ones(1, np.float32),
        "classes": np.zeros(1, np.int32), "count": np.ones(1, np.int32),
        "keypoints": rng.random((1, 17, 56, 56), np.float32),
    }  # fmt: skip
    card = instance_card(
        labels=["cat", "dog"], mask_size=0, keypoints=[str(k) for k in range(17)],
        smallest_side=HEIGHT, largest_side=WIDTH,
    )  # fmt: skip
    segmenter = Segmenter(FakeBackend(card, lambda inputs: outputs))
    some = painted_set(tmp_path, ["cat"], [17])
    _, results = found(segmenter, some, "fake")
    objects = [
        one | {key: result[key] for key in ("bbox", "keypoints")} | {"area": 80.0 * 170}
        for one, result in zip(some.objects, results, strict=True)
    ]
    some = replace(some, objects=objects)
    outcome, results = found(segmenter, some, "fake")
    assert list(outcome.metrics) == ["boxes", "keypoints"]
    assert average_precision(ground_truth(some), results, "keypoints")["AP"] == pytest.approx(1)
    for one in objects:
        one["keypoints"] = (np.array(one["keypoints"]) + 15).tolist()
    assert average_precision(ground_truth(some), results, "keypoints")["AP"] < 0.9


def test_as_many_proposals_are_asked_for_as_the_graph_gives(tmp_path: Path) -> None:
    """1000, or what one call for all levels gives; said where that is less."""
    some = read_set(*make_set(tmp_path, pictures=2))

    def answer(inputs: Any) -> dict:
        return {
            "scores": np.zeros(1, np.float32), "windows": np.zeros((1, 2), np.int32),
            "masks": np.zeros((1, 56, 56), np.float32), "count": np.zeros(1, np.int32),
            "piece": np.zeros(1, np.int32),
        }  # fmt: skip

    for pieces, proposals, said in (
        (1, 1000, []),
        (1, 300, ["gives at most 300 proposals for a level of the pyramid"]),
        (2, 300, ["gives at most 300 proposals for a picture"]),
        (2, 2000, []),
    ):
        card = proposal_card(pieces=pieces, proposals=proposals, top=5)
        outcome, results = found(Segmenter(FakeBackend(card, answer)), some, "fake")
        assert (outcome.notes, results, outcome.task) == (said, [], "proposals")
