"""Scores of label maps, on cases worked by hand; and the command that reads them from folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import semantic
from benchmarks.semantic_scores import confusion, semantic_scores
from engine import OptionError, OutputError

ROOT = Path(__file__).resolve().parent.parent.parent

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
    assert scores.accuracy == pytest.approx([2 / 3, 2 / 3, 0])
    assert scores.frequency_weighted_iou == pytest.approx((3 * 2 / 4 + 3 * 2 / 5 + 0) / 7)


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
    assert scores.frequency_weighted_iou == pytest.approx(1)
    empty = semantic_scores(confusion(np.full((3, 3), 255), np.zeros((3, 3), int), 2))
    assert np.isnan([empty.pixel_accuracy, empty.mean_accuracy, empty.mean_iou]).all()
    assert np.isnan(empty.frequency_weighted_iou)


def test_another_label_can_be_ignored_or_none() -> None:
    """255 is a label like any other if another one, or none, is ignored."""
    assert confusion(TRUTH, FOUND, 3, ignored=255).sum() == 7
    with pytest.raises(OptionError, match="the true map has the label 255"):
        confusion(TRUTH, FOUND, 3, ignored=None)
    assert confusion(TRUTH % 254, FOUND, 3, ignored=2).sum() == 7


def test_a_class_that_is_ignored_has_no_iou() -> None:
    """What was taken for it is wrong for the class that it is, and no score of its own.

    Without class 2's pixel: class 0 has 2 of 3, class 1 has 2 of 4 (one more was taken for 1).
    """
    truth, found = np.array([[0, 0, 0, 1, 1, 1, 2]]), np.array([[0, 0, 1, 1, 1, 2, 2]])
    scores = semantic_scores(confusion(truth, found, 3, ignored=2), ignored=2)
    assert scores.iou[:2] == pytest.approx([2 / 3, 2 / 4])
    assert np.isnan(scores.iou[2])
    assert scores.mean_iou == pytest.approx((2 / 3 + 2 / 4) / 2)
    assert scores.pixel_accuracy == pytest.approx(4 / 6)


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


def _save(folder: Path, **maps: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, labels in maps.items():
        cv2.imwrite(str(folder / f"{name}.png"), labels)
    return folder


def test_a_large_map_is_counted_by_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same counts, whatever a strip has."""
    truth, found = np.random.default_rng(1).integers(0, 7, (2, 53, 11)).astype(np.uint8)
    whole = confusion(truth, found, 7, ignored=3)
    for pixels in (1, 25, 100, 10_000):
        monkeypatch.setattr(semantic, "PIXELS", pixels)
        assert (semantic.counted(truth, found, 7, 3) == whole).all()


def test_without_a_number_there_are_as_many_classes_as_occur() -> None:
    """Of those that count; a number that is higher changes no mean."""
    truth = np.array([[0, 1, 255, 255]], np.uint8)
    assert semantic.counted(truth, np.array([[0, 4, 9, 0]], np.uint8), None, 255).shape == (5, 5)
    assert semantic.counted(truth, truth, None, None).shape == (256, 256)
    with pytest.raises(OptionError, match="the found map has the label 255"):
        semantic.counted(truth, np.array([[0, 255, 9, 0]], np.uint8), None, 255)
    with pytest.raises(OptionError, match="the found map has the label 60000"):
        semantic.counted(truth, np.array([[0, 60000, 9, 0]], np.uint16), None, 255)
    few, many = (
        semantic_scores(semantic.counted(truth, np.array([[0, 4, 9, 0]], np.uint8), n, 255))
        for n in (None, 21)
    )
    assert (few.mean_iou, few.mean_accuracy) == (many.mean_iou, many.mean_accuracy)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"ignore": 70_000}, OptionError, "--ignore is 70000"),
        ({"ignore": -2}, OptionError, "--ignore is -2"),
        ({"classes": "0"}, OptionError, "--classes 0 are 0; give 1 to 4096"),
        ({"classes": "-3"}, OptionError, "--classes -3 are -3"),
        ({"classes": "5000"}, OptionError, "give 1 to 4096"),
        ({"classes": "none.txt"}, OptionError, "cannot read --classes none.txt: No such file"),
        ({"predicted": Path("nowhere")}, OptionError, "cannot read the folder nowhere: No such"),
        ({"output": Path("nowhere/a.json")}, OutputError, "cannot write nowhere/a.json: No such"),
    ],
)
def test_bad_arguments_are_one_sentence(
    tmp_path: Path, changes: dict, error: type[Exception], says: str
) -> None:
    """Said before anything is counted."""
    folder = _save(tmp_path / "maps", a=np.zeros((4, 4), np.uint8))
    with pytest.raises(error, match=says) as caught:
        semantic.main(**({"predicted": folder, "truth": folder} | changes))
    assert "\n" not in str(caught.value)


def test_names_are_read_from_a_file(tmp_path: Path) -> None:
    """A line each; an empty one would move all that follow it."""
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xef\xbb\xbfground\r\ncoin \n\n")
    assert semantic.parsed(str(path)) == (2, ["ground", "coin"])
    path.write_text("ground\n\ncoin\n")
    with pytest.raises(OptionError, match=r"line 2 of .* is empty"):
        semantic.parsed(str(path))


def _run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "benchmarks/semantic.py", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_end_to_end(tmp_path: Path) -> None:
    """The case of the top, in two pictures, beside five that do not fit and are told."""
    folders = [tmp_path / "predicted", tmp_path / "truth"]
    for folder, labels in zip(folders, (FOUND, TRUTH), strict=True):
        halves = {"a": labels[:1].astype(np.uint8), "b": labels[1:].astype(np.uint16)}
        same = dict.fromkeys(("big", "colour", "junk", "wrong"), np.zeros((3, 3), np.uint8))
        _save(folder, **halves, **same)
    _save(folders[0], big=np.zeros((3, 4), np.uint8), colour=np.zeros((3, 3, 3), np.uint8),
          wrong=np.full((3, 3), 7, np.uint8))  # fmt: skip
    (folders[1] / "junk.png").write_bytes(b"no picture")
    _save(folders[1], alone=np.zeros((3, 3), np.uint8))
    names, output = tmp_path / "names.txt", tmp_path / "scores.json"
    names.write_text("ground\ncoin\n[b]shade\n")
    done = _run(*folders, "--classes", names, "--json", output)
    assert done.returncode == 1
    assert done.stderr == "error: 5 of 7 maps were left out; see above\n"
    assert "2 maps, 7 pixels that count" in done.stdout
    assert "2 [b]shade" in done.stdout
    content = json.loads(output.read_text())
    assert (content["format"], content["version"]) == ("maskrt.semantic", 1)
    assert (content["set"]["maps"], content["set"]["pixels"]) == (2, 7)
    for one, (name, says) in zip(
        content["set"]["left_out"],
        {"alone": "no predicted map", "big": "is 4 x 3 pixels and the true one 3 x 3",
         "colour": "has colours", "junk": "is not a PNG", "wrong": "label 7"}.items(),
        strict=True,
    ):  # fmt: skip
        assert one["name"] == name
        assert says in one["error"]
        assert f"left out: {name}: " in done.stdout
    assert content["scores"] == {
        "pixel_accuracy": pytest.approx(4 / 7), "mean_accuracy": pytest.approx(4 / 9),
        "mean_iou": pytest.approx(0.3), "frequency_weighted_iou": pytest.approx(2.7 / 7),
    }  # fmt: skip
    assert content["classes"][1] == {
        "label": 1, "name": "coin", "iou": pytest.approx(0.4), "accuracy": pytest.approx(2 / 3),
        "true": 3, "found": 4, "right": 2,
    }  # fmt: skip
    assert not list(tmp_path.glob(".*"))


def test_a_clean_run_ends_with_zero_and_none_that_fits_with_one(tmp_path: Path) -> None:
    """Null where nothing was there to count; nothing is written of nothing."""
    empty = _save(tmp_path / "a", a=np.full((3, 3), 9, np.uint8))
    output = tmp_path / "scores.json"
    done = _run(empty, empty, "--ignore", 9, "--json", output)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(output.read_text())["scores"]["mean_iou"] is None
    other = _save(tmp_path / "b", b=np.zeros((3, 3), np.uint8))
    output.unlink()
    done = _run(empty, other, "--json", output)
    assert done.returncode == 1
    assert done.stderr.startswith("error: none of 2 maps can be scored; see above")
    assert not output.exists()
