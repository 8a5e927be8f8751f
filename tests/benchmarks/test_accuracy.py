"""`benchmarks/accuracy.py`: models on the same pictures; what does not work is said, left out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_sets import HEIGHT, WIDTH, make_set
from networks import card as proposal_card
from networks import instance_card
from rich.table import Table

from benchmarks import accuracy
from benchmarks.accuracy_report import FORMAT, VERSION, Outcome, losses, report, shown
from benchmarks.coco_scores import (
    KEYPOINT_STATS,
    STATS,
    average_precision,
    ground_truth,
)
from benchmarks.coco_set import CocoSet, read_set
from benchmarks.findings import category_ids, found
from benchmarks.oracle import Oracle, painted
from engine import ModelError, OptionError, OutputError, Segmenter
from engine.backends.fake import FakeBackend

ROOT = Path(__file__).resolve().parent.parent.parent


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


def test_losses_are_against_the_first() -> None:
    """First minus this; none without both numbers, of another task, or where either failed."""

    def of(model: str, task: str = "instances", **numbers: float | None) -> Outcome:
        return Outcome(model, task=task, metrics={"boxes": dict(numbers)})

    first = of("a", AP=0.5, AP_small=None, AP_large=0.25)
    outcomes = losses(
        [first, of("b", AP=0.4, AP_small=0.1, AP_large=0.5), of("c", "proposals", AUC=0.1),
         Outcome("d", error="no")]
    )  # fmt: skip
    assert [outcome.loss for outcome in outcomes] == [
        None,
        {"boxes": {"AP": pytest.approx(0.1), "AP_small": None, "AP_large": -0.25}},
        None,
        None,
    ]
    assert losses([Outcome("d", error="no"), first])[1].loss is None


def test_the_report_has_numbers_or_null(tmp_path: Path) -> None:
    """JSON of any reader: null and not NaN where there is no number; every model in its place."""
    some = read_set(*make_set(tmp_path))
    scores = dict.fromkeys(STATS, 0.5) | {"AP_small": None}
    points = dict.fromkeys(KEYPOINT_STATS)
    good = Outcome("x/a.onnx", task="instances", metrics={"boxes": scores, "keypoints": points})
    outcomes = [good, Outcome("y/a.onnx", error="it is no model")]
    text = report(outcomes, some, [(some.images[0], "cut short")], {"limit": None})
    content = json.loads(text)
    assert (content["format"], content["version"]) == (FORMAT, VERSION)
    assert content["set"]["left_out"] == [
        {"image_id": 10, "file_name": "001.png", "error": "cut short"}
    ]
    assert content["models"][0]["metrics"]["boxes"]["AP_small"] is None
    assert [model["error"] for model in content["models"]] == [None, "it is no model"]
    printed = list(shown(outcomes, some))
    assert [part.title.split(":")[0] for part in printed if isinstance(part, Table)] == [
        "models", "instances, boxes", "instances, keypoints",
    ]  # fmt: skip
    assert str(printed[1]) == "y/a.onnx: it is no model"


@pytest.mark.parametrize(
    ("text", "path", "options"),
    [
        ("a.onnx", "a.onnx", {}),
        ("a.onnx@openvino,bf16", "a.onnx", {"backend": "openvino", "precision": "bf16"}),
        ("x@y/a.onnx@cuda:1", "x@y/a.onnx", {"device": "cuda:1"}),
        ("a@cpu,onnxruntime", "a", {"backend": "onnxruntime", "device": "cpu"}),
    ],
)
def test_a_model_says_how_it_is_run(text: str, path: str, options: dict) -> None:
    """A file, and after the last @ words that each can be one thing only."""
    assert accuracy.parsed(text) == accuracy.Form(text, Path(path), options)


def test_a_file_may_have_an_at_in_its_name(tmp_path: Path) -> None:
    """What is there is meant."""
    path = tmp_path / "a@cuda"
    path.touch()
    assert accuracy.parsed(str(path)).options == {}


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"models": ["a.onnx@tensorflow"]}, OptionError, "has 'tensorflow' after its @"),
        ({"models": ["a.onnx@cpu,cuda"]}, OptionError, "has 'cuda' after its @; give at most"),
        ({"models": ["a.onnx", "a.onnx"]}, OptionError, "name each once"),
        ({"mask_nms": 2}, OptionError, "--mask-nms is 2"),
        ({"score_threshold": -1}, OptionError, "--score-threshold is -1"),
        ({"limit": 0}, OptionError, "--limit is 0"),
        ({"output": Path("nowhere/a.json")}, OutputError, "cannot write nowhere/a.json: No such"),
        ({"output": ROOT}, OutputError, "it is a folder"),
    ],
)
def test_bad_arguments_are_one_sentence(
    tmp_path: Path, changes: dict, error: type[Exception], says: str
) -> None:
    """Said before anything runs."""
    path, folder = make_set(tmp_path)
    arguments: dict[str, Any] = {"models": ["a.onnx"], "annotations": path, "images": folder}
    with pytest.raises(error, match=says) as caught:
        accuracy.main(**(arguments | changes))
    assert "\n" not in str(caught.value)


def test_the_command_end_to_end(exported: Path, tmp_path: Path) -> None:
    """fp32, fp16, and what does not work, on three pictures of which one is damaged.

    The two that run have numbers, and the second a small loss; each of the others one sentence.
    """
    path, folder = make_set(tmp_path, pictures=4)
    (folder / "002.png").write_bytes(b"no picture")
    half, junk = tmp_path / "half.onnx", tmp_path / "junk.onnx"
    _save_half(exported, half)
    junk.write_text("no model")
    models = [exported, half, junk, f"{exported}@cuda", tmp_path / "none.engine"]
    output = tmp_path / "accuracy.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/accuracy.py", *map(str, models), "--annotations", path,
         "--images", folder, "--json", output, "--threads", "1", "--limit", "3"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr == (
        "error: 3 of 5 models could not be scored and 1 of 3 pictures were left out; see above\n"
    )
    assert "002.png is not a picture" in done.stdout.replace("\n", "")
    assert "Running per image" not in done.stdout  # pycocotools' own words
    content = json.loads(output.read_text())
    assert content["set"]["pictures"] == 2
    assert [one["file_name"] for one in content["set"]["left_out"]] == ["002.png"]
    first, second, *others = content["models"]
    assert (first["precision"], second["precision"]) == ("fp32", "fp16")
    for one in (first, second):
        assert one["task"] == "proposals"
        assert 1900 < one["results"] <= 2000  # some masks are empty
        assert 0 < one["metrics"]["masks"]["AR@10"] <= one["metrics"]["masks"]["AR@1000"] <= 1
    assert first["loss"] is None
    assert abs(second["loss"]["masks"]["AUC"]) < 0.05
    assert second["loss"]["boxes"]["AR@100"] == pytest.approx(
        first["metrics"]["boxes"]["AR@100"] - second["metrics"]["boxes"]["AR@100"]
    )
    for one, says in zip(others, ("junk.onnx", "cuda", "does not exist"), strict=True):
        assert says in one["error"]
        assert (one["metrics"], one["loss"]) == ({}, None)
    assert not list(tmp_path.glob(".*"))


def _save_half(source: Path, target: Path) -> None:
    """The model with fp16 written into its graph."""
    from export.model_file import read_onnx, save_onnx, set_card
    from export.precision import to_typed

    graph, card = read_onnx(source)
    typed, _ = to_typed(graph)
    set_card(typed, replace(card, precision="fp16"))
    save_onnx(typed, target)


def test_a_clean_run_ends_with_zero(exported: Path, tmp_path: Path) -> None:
    """Every picture and model fine: exit code 0, and the tables name the model by its file."""
    path, folder = make_set(tmp_path, pictures=2)
    done = subprocess.run(
        [sys.executable, "benchmarks/accuracy.py", str(exported), "--annotations", path,
         "--images", folder, "--threads", "1", "--limit", "1", "--mask-nms", "0.5"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "proposals, masks: 1 pictures, 7 objects" in done.stdout
    assert exported.name in done.stdout
