"""`benchmarks/accuracy.py`: models on the same pictures; what does not work is said, left out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_sets import make_set
from rich.table import Table

from benchmarks import accuracy
from benchmarks.accuracy_report import FORMAT, VERSION, Outcome, losses, report, shown
from benchmarks.coco_scores import (
    KEYPOINT_STATS,
    STATS,
)
from benchmarks.coco_set import read_set
from engine import OptionError, OutputError

ROOT = Path(__file__).resolve().parent.parent.parent


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
    ("changes", "error", "says"),
    [
        ({"models": ["a.onnx@tensorflow"]}, OptionError, "has 'tensorflow' after its @"),
        ({"models": ["a.onnx@commit=HEAD"]}, OptionError, "has 'commit=HEAD' after its @; give"),
        ({"models": ["a.onnx", "a.onnx"]}, OptionError, "name each once"),
        ({"mask_nms": 2}, OptionError, "--mask-nms is 2"),
        ({"score_threshold": -1}, OptionError, "--score-threshold is -1"),
        ({"threads": 10**20}, OptionError, "--threads is 100000000000000000000; give 1 to 1024"),
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
    models = [exported, half, junk, f"{exported}@cuda,threads=1", tmp_path / "none.engine"]
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
