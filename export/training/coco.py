"""Scenes from a data set in COCO's instances format: polygons and run-length masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from engine.errors import OptionError, PictureError
from export.training.scenes import Scene

# The 2016 release never asks for objects under these sizes.
MIN_SIDE, MIN_AREA = 5, 100


class CocoScenes:
    """A COCO set as a source of scenes.

    Args:
        annotations: an instances JSON.
        images: the folder of its pictures.

    Raises:
        OptionError: the file is missing, is no COCO JSON, or asks for no object at all.
    """

    def __init__(self, annotations: Path, images: Path) -> None:
        content = _read(annotations)
        self.folder = images
        self.images = {image["id"]: image for image in content["images"]}
        self.annotations: dict[int, list[dict[str, Any]]] = {}
        for annotation in content["annotations"]:
            self.annotations.setdefault(annotation["image_id"], []).append(annotation)
        self.chosen = sorted(
            key
            for key, found in self.annotations.items()
            if key in self.images and any(_asked(a) for a in found)
        )
        if not self.chosen:
            raise OptionError(
                f"{annotations} has no object of {MIN_SIDE} x {MIN_SIDE} pixels or more; give a "
                "set with annotated instances"
            )

    def scene(self, rng: np.random.Generator) -> Scene:
        """A picture chosen by `rng`, of those that have an object to ask for.

        Raises:
            PictureError: it cannot be read, or has another size than the annotations say.
        """
        key = self.chosen[int(rng.integers(len(self.chosen)))]
        image, found = self.images[key], self.annotations[key]
        path = self.folder / image["file_name"]
        # Annotations are of the pixels as they are stored, so the orientation is left alone.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        picture = cv2.imread(str(path), flags) if path.is_file() else None
        if picture is None:
            raise PictureError(f"cannot read the picture {path}; check --images and the file")
        size = (image["height"], image["width"])
        if picture.shape[:2] != size:
            raise PictureError(
                f"{path} is {picture.shape[1]} x {picture.shape[0]} and its annotations are for "
                f"{size[1]} x {size[0]}; give the pictures that were annotated"
            )
        masks = np.stack([_mask(a, *size) for a in found])
        asked = np.array([_asked(a) for a in found]) & masks.any((1, 2))
        return Scene(np.ascontiguousarray(picture[..., ::-1]), masks, asked)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}; check --annotations") from error
    except ValueError as error:
        raise OptionError(f"{path} is not JSON ({error}); give a COCO instances file") from error
    needs = {"images": {"id", "file_name", "height", "width"}, "annotations": {"image_id", "bbox"}}
    for key, fields in needs.items():
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and fields <= row.keys() for row in rows
        ):
            raise OptionError(
                f"{path} has no list {key!r} whose entries have {', '.join(sorted(fields))}; "
                "give a COCO instances file"
            )
    return content


def _asked(annotation: dict[str, Any]) -> bool:
    _, _, width, height = annotation["bbox"]
    area = annotation.get("area", width * height)
    big = width >= MIN_SIDE and height >= MIN_SIDE and area >= MIN_AREA
    return bool(big and not annotation.get("iscrowd"))


def _mask(annotation: dict[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    """The mask, bool [height, width], of polygons or of run lengths in either form."""
    form = annotation.get("segmentation", [])
    if isinstance(form, list):
        polygons = [polygon for polygon in form if len(polygon) >= 6]
        if not polygons:
            return np.zeros((height, width), bool)
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    elif isinstance(form["counts"], list):
        rle = coco_mask.frPyObjects(form, height, width)
    else:
        rle = form
    return np.asarray(coco_mask.decode(rle), bool)
