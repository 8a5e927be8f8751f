"""COCO-format sets made in the test, and detections that are the truth with errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from benchmarks.coco_set import CocoSet

HEIGHT, WIDTH = 240, 320
CATEGORIES = [{"id": 3, "name": "car"}, {"id": 17, "name": "cat"}, {"id": 44, "name": "bottle"}]
POINTS = 17


def make_set(folder: Path, pictures: int = 6, seed: int = 0, **changes: Any) -> tuple[Path, Path]:
    """Write a set of ellipses of all sizes: its JSON and the folder of its pictures.

    Masks are polygons and run lengths; some objects are crowds; all have keypoints; the last
    picture has no object.
    """
    rng = np.random.default_rng(seed)
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": CATEGORIES}
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for number in range(1, pictures + 1):
        drawn = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        name = f"{number:03d}.png"
        content["images"].append(
            {"id": 10 * number, "file_name": name, "height": HEIGHT, "width": WIDTH}
        )
        for _ in range(7 if number < pictures else 0):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            axes = np.exp(rng.uniform(np.log(5), np.log(120), 2)).astype(int)
            centre = int(rng.integers(20, WIDTH - 20)), int(rng.integers(20, HEIGHT - 20))
            cv2.ellipse(mask, centre, axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 1, -1)
            drawn[mask > 0] = rng.integers(90, 255, 3)
            content["annotations"].append(
                _object(rng, mask, 10 * number, len(content["annotations"]))
            )
        cv2.imwrite(str(folder / "pictures" / name), drawn)
    path = folder / "instances.json"
    path.write_text(json.dumps(content | changes))
    return path, folder / "pictures"


def _object(rng: np.random.Generator, mask: np.ndarray, image: int, number: int) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask))
    box = coco_mask.toBbox(rle).tolist()
    points = np.stack(
        [
            box[0] + box[2] * rng.random(POINTS),
            box[1] + box[3] * rng.random(POINTS),
            rng.integers(0, 3, POINTS),
        ],
        1,
    )
    form: Any = {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}
    if number % 3 == 0:
        outline = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
        form = [outline.ravel().tolist()] if len(outline) > 2 else form
    elif number % 3 == 1:
        form = {"size": [HEIGHT, WIDTH], "counts": _uncompressed(mask)}
    return {
        "id": number, "image_id": image, "category_id": CATEGORIES[number % 3]["id"],
        "iscrowd": int(number % 11 == 7), "area": float(mask.sum()), "bbox": box,
        "segmentation": form, "keypoints": points.ravel().tolist(),
        "num_keypoints": int((points[:, 2] > 0).sum()),
    }  # fmt: skip


def _uncompressed(mask: np.ndarray) -> list[int]:
    flat = mask.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat, prepend=0, append=1 - flat[-1]))
    return np.diff(edges, prepend=0).tolist()


def exact(some: CocoSet) -> list[dict[str, Any]]:
    """Every object that is no crowd, found as it is."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in some.images}
    results = []
    for one in some.objects:
        if not one.get("iscrowd"):
            rle = as_rle(one["segmentation"], *sizes[one["image_id"]])
            results.append(
                {
                    "image_id": one["image_id"], "category_id": one["category_id"], "score": 0.9,
                    "bbox": one["bbox"], "segmentation": rle,
                    "keypoints": one.get("keypoints", []),
                }
            )  # fmt: skip
    return results


def perturbed(some: CocoSet, seed: int, extra: int = 3) -> list[dict[str, Any]]:
    """The truth with shifts, losses, copies, wrong categories, noise and random scores."""
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in some.images}
    results = []
    for one in exact(some):
        for _ in range(int(rng.integers(0, 2 + extra))):  # none: it is missed
            changed = dict(one)
            shift = np.round(rng.normal(0, 0.08, 2) * one["bbox"][2:])
            grow = np.exp(rng.normal(0, 0.1, 2))
            changed["bbox"] = [
                *(np.array(one["bbox"][:2]) + shift).tolist(),
                *(np.array(one["bbox"][2:]) * grow).tolist(),
            ]
            mask = coco_mask.decode(one["segmentation"])
            moved = np.roll(mask, tuple(shift[::-1].astype(int)), (0, 1))
            rle = coco_mask.encode(np.asfortranarray(moved))
            changed["segmentation"] = {**rle, "counts": rle["counts"].decode()}
            spread = rng.normal(0, 0.05, len(one["keypoints"])) * max(one["bbox"][2:])
            changed["keypoints"] = (np.array(one["keypoints"]) + spread).tolist()
            if rng.random() < 0.1:
                changed["category_id"] = int(rng.choice([c["id"] for c in some.categories]))
            changed["score"] = float(np.round(rng.random(), 2))  # with ties
            results.append(changed)
    assert all(result["image_id"] in sizes for result in results)
    order = rng.permutation(len(results))
    return [results[k] for k in order]


def as_rle(form: Any, height: int, width: int) -> dict[str, Any]:
    """Any of COCO's forms of a mask as compressed run lengths."""
    if isinstance(form, list):
        return coco_mask.merge(coco_mask.frPyObjects(form, height, width))
    return coco_mask.frPyObjects(form, height, width) if isinstance(form["counts"], list) else form
