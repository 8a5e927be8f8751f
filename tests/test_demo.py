"""The demo, as somebody who has just cloned the project sees it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from maskrt.demo import PHOTO

REFERENCE = Path(__file__).parent / "data" / "coins.json"


@pytest.fixture(scope="module")
def results(demo: Path) -> list[dict]:
    return json.loads((demo / "coins.json").read_text())


def test_at_least_22_of_24_coins_and_at_most_3_others(results: list[dict]) -> None:
    """At the default settings, 22 coins are found at IoU 0.75 and 3 results are no coin."""
    coins = [a["segmentation"] for a in json.loads(REFERENCE.read_text())["annotations"]]
    assert len(coins) == 24
    ious = coco.iou([r["segmentation"] for r in results], coins, [0] * 24)
    matched = ious.max(axis=0) >= 0.75
    # A second result on a coin that is found already is no coin either.
    others = len(results) - int(matched.sum())
    assert matched.sum() >= 22, np.round(ious.max(axis=0), 2)
    assert others <= 3, [r["bbox"] for r in results]


def test_results_are_coco_results(results: list[dict]) -> None:
    """Each entry has COCO's five keys, and its box is the tight box of its mask."""
    for entry in results:
        keys = {"image_id", "category_id", "bbox", "score", "segmentation"}
        assert set(entry) == keys
        assert (entry["image_id"], entry["category_id"]) == (1, 1)
        assert entry["segmentation"]["size"] == [303, 384]
        np.testing.assert_array_equal(coco.toBbox(entry["segmentation"]), entry["bbox"])
        assert 0 <= entry["score"] <= 1


def test_the_picture_has_the_masks_drawn(demo: Path, results: list[dict]) -> None:
    """The drawing has the photo's size, colour on the masks, and the photo everywhere else."""
    photo, drawn = cv2.imread(str(PHOTO)), cv2.imread(str(demo / "coins.png"))
    assert drawn.shape == photo.shape
    changed = (drawn != photo).any(2)
    covered = np.any([coco.decode(r["segmentation"]) for r in results], axis=0)
    assert changed[covered].mean() > 0.95
    # Outlines and labels reach a few pixels over the masks.
    near = cv2.dilate(covered.astype(np.uint8), np.ones((15, 15))) > 0
    assert not changed[~near].any()


def test_both_models_stay(demo: Path) -> None:
    """The ONNX file stays; so does the plan with its card, where there is a builder."""
    assert (demo / "deepmask_small.onnx").stat().st_size < 8e6
    pytest.importorskip("tensorrt_rtx", reason="no TensorRT for RTX on this platform")
    assert (demo / "deepmask_small.engine").stat().st_size > 1e6
    assert json.loads((demo / "deepmask_small.engine.json").read_text())["precision"] == "fp16"


def test_the_terminal_tells_what_happened(demo: Path) -> None:
    """The three steps, both parity reports and the table of objects are shown."""
    said = (demo / "terminal.txt").read_text()
    for part in ("1. checkpoint to ONNX", "ONNX on onnxruntime", "objects in 384 x 303 pixels"):
        assert part in said


def test_without_a_builder_the_demo_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where tensorrt-rtx has no wheel, step 2 is left out with a sentence, and step 3 runs."""
    import sys

    from maskrt.demo import demo as run_demo

    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    run_demo(output=tmp_path)
    said = capsys.readouterr().out
    assert "left out: TensorRT for RTX cannot be used here" in said
    assert (tmp_path / "coins.json").exists()
    assert not (tmp_path / "deepmask_small.engine").exists()
