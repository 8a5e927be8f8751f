"""COCO sets as a source of scenes, in every form of mask that they have."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from engine.errors import OptionError, PictureError
from export.training.coco import CocoScenes

MASK = np.zeros((40, 50), np.uint8)
MASK[10:30, 5:25] = 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures: four objects on the first, one too small on the second."""
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.dstack([MASK * 255, MASK * 0, MASK * 0]))
    packed = coco.encode(np.asfortranarray(MASK))
    runs = [5 * 40 + 10, *([20] * 39), 25 * 40 + 10]  # zeros and ones in turn, down the columns
    common = {"image_id": 1, "bbox": [5, 10, 20, 20], "iscrowd": 0}
    annotations = [
        common | {"segmentation": [[5, 10, 25, 10, 25, 30, 5, 30]]},
        common | {"segmentation": {"size": [40, 50], "counts": packed["counts"].decode()}},
        common | {"segmentation": {"size": [40, 50], "counts": runs}},
        common | {"segmentation": [[5, 10, 25, 10, 25, 30, 5, 30]], "iscrowd": 1},
        {"image_id": 2, "bbox": [1, 1, 3, 3], "iscrowd": 0, "segmentation": [[1, 1, 4, 1, 4, 4]]},
    ]
    images = [
        {"id": k, "file_name": name, "height": 40, "width": 50}
        for k, name in ((1, "a.png"), (2, "b.png"))
    ]
    content = {"images": images, "annotations": annotations, "categories": []}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path


def test_polygons_and_both_run_lengths_are_one_mask(folder: Path) -> None:
    """All three forms of one square give its pixels; a crowd is not asked for."""
    scene = CocoScenes(folder / "instances.json", folder).scene(np.random.default_rng(0))
    assert scene.asked.tolist() == [True, True, True, False]
    for mask in scene.masks:
        np.testing.assert_array_equal(mask, MASK > 0)
    assert scene.picture[15, 10].tolist() == [0, 0, 255]  # blue, in RGB


def test_pictures_without_anything_to_ask_for_are_left_out(folder: Path) -> None:
    """The second picture's object is too small, so only the first is ever chosen."""
    assert CocoScenes(folder / "instances.json", folder).chosen == [1]


def test_damaged_sets_are_refused(folder: Path) -> None:
    """A missing or foreign file, a missing picture and one of another size are one sentence."""
    source = CocoScenes(folder / "instances.json", folder)
    cv2.imwrite(str(folder / "a.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(PictureError, match="is 9 x 9 and its annotations are for 50 x 40"):
        source.scene(np.random.default_rng(0))
    (folder / "a.png").unlink()
    with pytest.raises(PictureError, match="cannot read the picture"):
        source.scene(np.random.default_rng(0))
    with pytest.raises(OptionError, match="cannot read"):
        CocoScenes(folder / "none.json", folder)
    for text, says in (
        ("{", "is not JSON"),
        ("[]", "'images'"),
        ('{"images": []}', "'annotations'"),
        ('{"images": [{"id": 1}], "annotations": []}', "'images'"),
        ('{"images": [], "annotations": []}', "has no object"),
    ):
        (folder / "bad.json").write_text(text)
        with pytest.raises(OptionError, match=says):
            CocoScenes(folder / "bad.json", folder)
