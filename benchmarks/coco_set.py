"""A COCO-format set, checked before anything runs: its pictures, objects and categories.

What is wrong with the file is said with the object that is wrong. pycocotools does not check: a
NaN in a polygon takes all memory, run lengths that are cut short read what lies behind them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import OptionError, PictureError, first_line
from engine.picture import MAX_PIXELS, Picture, read_picture

MAX_FILE_BYTES = 1 << 31
COCO_KEYPOINTS = 17
LARGEST = 1e18
"""Of coordinates and areas; JSON's integers may have any number of digits."""


@dataclass(frozen=True)
class CocoSet:
    """Pictures and what is on them.

    Attributes:
        annotations: the JSON file.
        folder: of the pictures.
        images: `id`, `file_name`, `height` and `width` of each.
        objects: COCO's annotations of these images, as in the file.
        categories: `id` and `name` of each.
    """

    annotations: Path
    folder: Path
    images: list[dict[str, Any]]
    objects: list[dict[str, Any]]
    categories: list[dict[str, Any]]

    @property
    def has_masks(self) -> bool:
        """Whether the objects have masks; `read_set` holds that all have, or none."""
        return any("segmentation" in some for some in self.objects)

    @property
    def keypoints(self) -> int:
        """How many keypoints its objects have; 0 without."""
        return max((len(some.get("keypoints", ())) // 3 for some in self.objects), default=0)

    def of(self, images: list[dict[str, Any]]) -> CocoSet:
        """The same set with some of its images only."""
        kept = {image["id"] for image in images}
        objects = [some for some in self.objects if some["image_id"] in kept]
        return replace(self, images=images, objects=objects)

    def picture(self, image: dict[str, Any]) -> Picture:
        """An image's pixels, uint8 [H, W, 3], BGR, as they are stored.

        Annotations are of the stored pixels, so EXIF's orientation is left alone.

        Raises:
            PictureError: it cannot be read, is cut short, or has another size than the set says.
        """
        path = self.folder / image["file_name"]
        read_picture(path)  # cv2 alone fills what is cut short with grey
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), flags)
        assert pixels is not None  # read_picture could decode it
        height, width = pixels.shape[:2]
        if (height, width) != (image["height"], image["width"]):
            raise PictureError(
                f"{path} is {width} x {height} and its annotations are for {image['width']} x "
                f"{image['height']}; give the pictures that were annotated"
            )
        return np.asarray(pixels, np.uint8)


def read_set(annotations: Path, folder: Path, limit: int | None = None) -> CocoSet:
    """Read and check a COCO-format file; of its pictures nothing is opened yet.

    Args:
        annotations: JSON with `images`, `annotations` and `categories` (cocodataset.org, "Data
            format", object detection or keypoints).
        folder: of the pictures.
        limit: take the first so many images of the file.

    Raises:
        OptionError: no such file or folder, not of this format, an object that cannot be scored,
            or nothing at all to score.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"--limit is {limit}; give 1 or more, or leave it out for all pictures")
    if not folder.is_dir():
        raise OptionError(f"--images {folder} is not a folder; give the one with the pictures")
    content = _read(annotations)
    images, categories, objects = (_rows(content, annotations, key) for key in _FIELDS)
    sizes = {image["id"]: (image["height"], image["width"]) for image in images}
    ids = {category["id"] for category in categories}
    names = {category["name"].casefold() for category in categories}
    if len(sizes) < len(images) or min(len(ids), len(names)) < len(categories):
        _refuse(annotations, "has two images or categories of one id, or two categories of a name")
    chosen = images[:limit]
    kept = {image["id"] for image in chosen}
    found = []
    for number, some in enumerate(objects):
        image, category = some["image_id"], some["category_id"]
        if image not in sizes or category not in ids:
            where = f"image {image} or category {category}"
            _refuse(annotations, f"has no {where}, of which annotation {number} is")
        if image in kept:
            problem = _problem(some, sizes[image])
            if problem:
                _refuse(annotations, f"has an annotation (number {number}) whose {problem}")
            found.append(some)
    if not found:
        _refuse(annotations, f"has no object on {len(chosen)} pictures")
    without = sum("segmentation" not in some for some in found)
    if 0 < without < len(found):
        _refuse(annotations, f"has {without} of {len(found)} objects without a segmentation")
    if len({len(some["keypoints"]) for some in found if "keypoints" in some}) > 1:
        _refuse(annotations, "has objects with different numbers of keypoints")
    return CocoSet(annotations, folder, chosen, found, categories)


def readable(
    some: CocoSet, images: Iterable[dict[str, Any]]
) -> tuple[CocoSet, list[tuple[dict[str, Any], str]]]:
    """The set without the pictures that cannot be read, and those with the reason for each.

    Args:
        some: the set.
        images: those to try: its own, perhaps with a progress bar around them.

    Raises:
        PictureError: none of them can be read.
    """
    good: list[dict[str, Any]] = []
    bad: list[tuple[dict[str, Any], str]] = []
    for image in images:
        try:
            some.picture(image)
        except PictureError as error:
            bad.append((image, str(error)))
        else:
            good.append(image)
    if not good:
        raise PictureError(f"none of {len(bad)} pictures can be scored: {bad[0][1]}")
    return some.of(good), bad


def _refuse(path: Path, what: str) -> NoReturn:
    raise OptionError(f"{path} {what}; give annotations in COCO's format")


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            _refuse(path, f"has more than {MAX_FILE_BYTES} bytes")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}; check --annotations") from error
    except (ValueError, RecursionError) as error:
        _refuse(path, f"is not JSON ({first_line(error)})")
    if not isinstance(content, dict):
        _refuse(path, f"holds a {type(content).__name__}, not an object")
    return content


_FIELDS: dict[str, dict[str, type]] = {
    "images": {"id": int, "file_name": str, "height": int, "width": int},
    "categories": {"id": int, "name": str},
    "annotations": {"image_id": int, "category_id": int, "bbox": list},
}


def _rows(content: dict[str, Any], path: Path, key: str) -> list[dict[str, Any]]:
    rows, needed = content.get(key), _FIELDS[key]
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and all(type(row.get(k)) is kind for k, kind in needed.items())
        for row in rows
    ):
        _refuse(path, f"has no list {key!r} whose entries have {', '.join(needed)}")
    if key == "images":
        for row in rows:
            height, width = row["height"], row["width"]
            if min(height, width) < 1 or height * width > MAX_PIXELS:
                _refuse(path, f"has an image ({row['file_name']}) of {width} x {height} pixels")
    return rows


def _problem(some: dict[str, Any], size: tuple[int, int]) -> str:
    """What is wrong with an annotation, or an empty string."""
    box, area = some["bbox"], some.get("area")
    if not _are_numbers(box) or len(box) != 4 or min(box[2:]) < 0:
        return f"bbox is {box!r:.60} and should be x, y, width and height"
    if area is None or not _are_numbers([area]) or area < 0:
        return f"area is {area!r:.60} and should be a number of pixels"
    if some.get("iscrowd", 0) not in (0, 1):
        return f"iscrowd is {some['iscrowd']!r:.60} and should be 0 or 1"
    points = some.get("keypoints", [])
    if not _are_numbers(points) or len(points) % 3:
        return "keypoints should be x, y and visibility of each"
    return _mask_problem(some["segmentation"], size) if "segmentation" in some else ""


def _mask_problem(form: Any, size: tuple[int, int]) -> str:
    if isinstance(form, list):
        # Outside the picture they may lie, but a polygon takes memory as it is long.
        largest = 2 * max(size)
        for polygon in form:
            if not _are_numbers(polygon) or len(polygon) < 6 or len(polygon) % 2:
                return f"segmentation has {polygon!r:.60}, not a polygon of x and y three times"
            if max(map(abs, polygon)) > largest:
                return f"segmentation lies far outside its picture of {size[1]} x {size[0]}"
        return "" if form else "segmentation has no polygon"
    if not isinstance(form, dict) or form.get("size") != list(size):
        return f"segmentation is neither polygons nor run lengths of {size[0]} x {size[1]}"
    counts: Any = form.get("counts")
    if isinstance(counts, str):
        runs = run_lengths(counts)
    elif _are_numbers(counts) and all(type(run) is int for run in counts):
        runs = np.array(counts, np.int64)
    else:
        runs = np.zeros(0, np.int64)
    pixels = size[0] * size[1]
    # None above the whole, or their sum may go round and look right.
    if not len(runs) or runs.min() < 0 or runs.max() > pixels or runs.sum() != pixels:
        return f"segmentation has run lengths that do not fill {size[0]} x {size[1]} pixels"
    return ""


def run_lengths(text: str) -> NDArray[np.int64]:
    """The runs in COCO's compressed text (`engine.rle` says how it is written); [] if it is none.

    Args:
        text: the `counts` of a compressed RLE.
    """
    values = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((values & 32) == 0)
    if not len(ends) or values.min() < 0 or values.max() > 63 or ends[-1] != len(values) - 1:
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:  # 35 bits: more than a picture has
        return np.zeros(0, np.int64)
    shifts = 5 * (np.arange(len(values)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((values & 31) << shifts, starts)
    runs -= ((values[ends] & 16) > 0) * (1 << (5 * lengths))
    for first in (1, 2):  # each is the difference to the run two before it, from the fourth on
        runs[first::2] = np.cumsum(runs[first::2])
    return np.asarray(runs, np.int64)


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(v) in (int, float) and -LARGEST <= v <= LARGEST for v in values
    )
