"""A set is checked before anything runs, and says what is wrong with it in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sets import CATEGORIES, HEIGHT, WIDTH, make_set
from pycocotools import mask as coco_mask

from benchmarks.coco_set import read_set, readable, run_lengths
from engine import OptionError, PictureError


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_run_lengths_are_read_back(height: int, width: int, seed: int, share: float) -> None:
    """The runs of what pycocotools wrote alternate to the mask again."""
    mask = np.random.default_rng(seed).random((height, width)) < share
    text = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    runs = run_lengths(text)
    values = np.arange(len(runs)) % 2
    assert (np.repeat(values, runs) == mask.ravel(order="F")).all()
    assert runs.sum() == mask.size


@given(st.text(max_size=30))
def test_any_text_is_runs_or_none(text: str) -> None:
    """Nothing that a file can hold makes it fail."""
    assert run_lengths(text).ndim == 1


def test_a_limit_takes_the_first_pictures_and_their_objects(tmp_path: Path) -> None:
    """What belongs to the others is not looked at any more."""
    paths = make_set(tmp_path)
    whole, two = read_set(*paths), read_set(*paths, limit=2)
    assert two.images == whole.images[:2]
    assert {one["image_id"] for one in two.objects} == {10, 20}
    assert two == whole.of(whole.images[:2])
    assert read_set(*paths, limit=100) == whole


def test_a_set_may_have_boxes_alone(tmp_path: Path) -> None:
    """No masks and no keypoints: it says so, and takes objects that say nothing of crowds."""
    path, folder = make_set(tmp_path)
    content = json.loads(path.read_text())
    for one in content["annotations"]:
        del one["segmentation"], one["keypoints"], one["iscrowd"]
    path.write_text(json.dumps(content))
    some = read_set(path, folder)
    assert (some.has_masks, some.keypoints) == (False, 0)
    full = read_set(*make_set(tmp_path))
    assert (full.has_masks, full.keypoints) == (True, 17)


def _object(**changes: Any) -> Callable[[dict], Any]:
    return lambda content: content["annotations"][1].update(changes)


DAMAGES: dict[str, tuple[Callable[[dict], Any], str]] = {
    "no images": (lambda c: c.pop("images"), "has no list 'images'"),
    "no file name": (lambda c: c["images"][0].pop("file_name"), "entries have id, file_name"),
    "huge": (lambda c: c["images"][0].update(height=10**9), "of 320 x 1000000000 pixels"),
    "one image twice": (lambda c: c["images"].append(c["images"][0]), "of one id"),
    "one name twice": (lambda c: c["categories"][0].update(name="Cat"), "categories of a name"),
    "unnamed": (lambda c: c["categories"][0].pop("name"), "entries have id, name"),
    "no objects": (lambda c: c["annotations"].clear(), "has no object on 6 pictures"),
    "other image": (_object(image_id=99), "no image 99 or category 17, of which annotation 1"),
    "other category": (_object(category_id=5), "no image 10 or category 5"),
    "box": (_object(bbox=[1, 2, 3]), r"\(number 1\) whose bbox is \[1, 2, 3\] and should be"),
    "box inside out": (_object(bbox=[1, 2, -3, 4]), "bbox is"),
    "box nowhere": (_object(bbox=[1, float("nan"), 3, 4]), "bbox is"),
    "box beyond floats": (_object(bbox=[1, 2, 3, 10**400]), "bbox is"),
    "box beyond pictures": (_object(bbox=[-2e18, 2, 3, 4]), "bbox is"),
    "area": (_object(area=None), "area is None and should be"),
    "area beyond floats": (_object(area=10**400), "area is 1000.* and should be"),
    "crowd": (_object(iscrowd=2), "iscrowd is 2"),
    "points": (_object(keypoints=[1, 2]), "keypoints should be"),
    "fewer points": (_object(keypoints=[1, 2, 2]), "different numbers of keypoints"),
    "one mask missing": (
        lambda c: c["annotations"][1].pop("segmentation"), "1 of 35 objects without",
    ),
    "empty mask": (_object(segmentation=[]), "no polygon"),
    "two points": (_object(segmentation=[[1, 2, 3, 4]]), "not a polygon"),
    "polygon nowhere": (_object(segmentation=[[1, 2, 3, 4, 5, float("inf")]]), "not a polygon"),
    "polygon far off": (_object(segmentation=[[1, 2, 3, 4, 5, 1e9]]), "far outside"),
    "runs of another size": (
        _object(segmentation={"size": [5, 5], "counts": [25]}), "neither polygons nor run",
    ),
    "runs too short": (
        _object(segmentation={"size": [HEIGHT, WIDTH], "counts": [5, 5]}), "do not fill",
    ),
    "runs beyond integers": (
        _object(segmentation={"size": [HEIGHT, WIDTH], "counts": [10**400]}), "do not fill",
    ),
    "runs that overflow": (
        _object(segmentation={"size": [HEIGHT, WIDTH], "counts": [1 << 62] * 4 + [HEIGHT * WIDTH]}),
        "do not fill",
    ),
    "text too short": (
        _object(segmentation={"size": [HEIGHT, WIDTH], "counts": "0"}), "do not fill",
    ),
    "no runs": (_object(segmentation={"size": [HEIGHT, WIDTH]}), "do not fill"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_scored_is_refused(damage: str, tmp_path: Path) -> None:
    """One sentence with the file, the object and what it should be."""
    path, folder = make_set(tmp_path)
    content = json.loads(path.read_text())
    change, says = DAMAGES[damage]
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(OptionError, match=says) as caught:
        read_set(path, folder)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_text_of_runs_whose_sum_goes_round_is_refused(tmp_path: Path) -> None:
    """Their sum in 64 bits is the picture's, and pycocotools would write far outside it."""
    # Every second run is longer by a step than the one two before it; the others are level.
    step, count = (1 << 34) - 1, 46_340
    left = (1 << 64) + HEIGHT * WIDTH - step * count * (count + 1) // 2
    first, level = left % count, left // count
    runs = [first, step, level] + [step, 0] * (count - 1)
    path, folder = make_set(tmp_path)
    content = json.loads(path.read_text())
    text = "".join(map(_compressed, runs))
    assert run_lengths(text).sum() == HEIGHT * WIDTH
    _object(segmentation={"size": [HEIGHT, WIDTH], "counts": text})(content)
    path.write_text(json.dumps(content))
    with pytest.raises(OptionError, match="do not fill"):
        read_set(path, folder)


def _compressed(value: int) -> str:
    """A number that is not negative, in COCO's compressed text."""
    text = ""
    while value > 15:  # the fifth bit of the last character is the sign
        text += chr(48 + (value & 31 | 32))
        value >>= 5
    return text + chr(48 + value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "holds a list"),
        ("[" * 100_000, "is not JSON"),
        (None, "cannot"),
    ],
)
def test_what_is_no_set_is_refused(text: str | None, says: str, tmp_path: Path) -> None:
    """A file that is not there, no JSON, or another JSON."""
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OptionError, match=says):
        read_set(path, tmp_path)


def test_arguments_out_of_range_are_refused(tmp_path: Path) -> None:
    """No pictures asked for, and no folder of them."""
    path, folder = make_set(tmp_path)
    with pytest.raises(OptionError, match="--limit is 0"):
        read_set(path, folder, limit=0)
    with pytest.raises(OptionError, match="is not a folder"):
        read_set(path, path)


def test_pictures_that_cannot_be_read_leave_with_their_objects(tmp_path: Path) -> None:
    """One is missing, one is cut short, one has another size: each is named, the rest stays."""
    path, folder = make_set(tmp_path)
    some = read_set(path, folder)
    (folder / "001.png").unlink()
    data = (folder / "003.png").read_bytes()
    (folder / "003.png").write_bytes(data[: len(data) // 2])
    cv2.imwrite(str(folder / "004.png"), np.zeros((HEIGHT, WIDTH - 1, 3), np.uint8))
    usable, left_out = readable(some, some.images)
    assert [image["id"] for image, _ in left_out] == [10, 30, 40]
    for (_, why), says in zip(left_out, ("no picture at", "cut short", "320 x 240"), strict=True):
        assert says in why
    assert usable == some.of([some.images[k] for k in (1, 4, 5)])
    assert len(usable.objects) == 14
    with pytest.raises(PictureError, match="none of 1 pictures can be scored: no picture at"):
        readable(some, some.images[:1])


def test_pixels_are_as_they_are_stored(tmp_path: Path) -> None:
    """A picture whose EXIF says that it lies on its head is not turned: its annotations are not."""
    path, folder = make_set(tmp_path)
    some = read_set(path, folder)
    pixels = some.picture(some.images[0])
    stored = cv2.imencode(".jpg", pixels)[1].tobytes()
    # APP1 with one entry in big-endian order: tag 0x0112 (orientation), SHORT, one, value 3.
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    turned = stored[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + stored[2:]
    (folder / "001.png").write_bytes(turned)
    plain = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)
    other = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert (other == plain[::-1, ::-1]).all()
    assert (some.picture(some.images[0]) == plain).all()


def test_categories_are_the_files_own(tmp_path: Path) -> None:
    """As in the file, whatever the order of their ids."""
    assert read_set(*make_set(tmp_path)).categories == CATEGORIES
