"""Slices of real scenes: are objects lost at the seams, are any found twice?

    python benchmarks/seams.py --annotations instances.json --enlarge 3

The scenes are the objects of a COCO annotation file, drawn at `--enlarge` times their size, and
the detector is `benchmarks/oracle.py`: it sees what is 12 pixels large in the 800 that a picture
is resized to, and errs by 2 % of a box's side. What is measured is therefore what slicing and
merging do to detections, not what a trained network finds. Recall is pycocotools'.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import typer
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.progress import track
from rich.table import Table

from benchmarks.oracle import Oracle, numbers_in, painted
from engine import Instances, OptionError, Segmenter
from engine.card import InstanceCard
from maskrt.console import console, run_script

MOST = 300
"""Results of a picture."""


def main(
    annotations: Annotated[Path, typer.Option(help="COCO instances, as JSON.")],
    enlarge: Annotated[int, typer.Option(help="Times the pictures' own size.")] = 3,
    side: Annotated[int, typer.Option(help="Of a slice.")] = 640,
    overlap: Annotated[int | None, typer.Option(help="Left out: a quarter of a slice.")] = None,
    smallest: Annotated[float, typer.Option(help="What the detector sees, in its pixels.")] = 12,
    error: Annotated[float, typer.Option(help="Of a box's edges, as a share of its side.")] = 0.02,
) -> None:
    """Compare the whole picture alone with slices beside it."""
    try:
        content = json.loads(annotations.read_text())
        scenes = _scenes(content)
    except (OSError, ValueError, KeyError, TypeError) as error_:
        raise OptionError(
            f"{annotations} cannot be read as COCO instances ({error_}); give another file"
        ) from error_
    truth: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1}]}
    forms: dict[str, dict[str, Any]] = {"whole picture": {}, "with slices": {"slices": side}}
    forms["with slices"] |= {"overlap": overlap}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in forms}
    twice = dict.fromkeys(forms, 0)
    for image, masks in track(scenes.items(), console=console, description="scenes"):
        picture = np.repeat(np.repeat(painted(masks, [0] * len(masks)), enlarge, 0), enlarge, 1)
        numbers = numbers_in(picture)
        _add_truth(truth, image, numbers)
        for name, options in forms.items():
            oracle = Oracle(_card(), smallest, error)
            found = Segmenter(oracle.backend())(picture, top=MOST, **options)
            results[name] += found.to_coco(image)
            twice[name] += _found_twice(found, numbers)
    title = (
        f"{len(scenes)} scenes x {enlarge}, {len(truth['annotations'])} objects, slices of {side}"
    )
    table = Table(title=title)
    for column in ("", "found", "recall at IoU 0.5", "AR", "small", "medium", "large", "twice"):
        table.add_column(column, justify="left" if not column else "right")
    for name in forms:
        recalls = _recall(truth, results[name])
        share = f"{twice[name]} ({twice[name] / max(len(results[name]), 1):.2%})"
        table.add_row(name, str(len(results[name])), *(f"{r:.3f}" for r in recalls), share)
    console.print(table)


def _card() -> InstanceCard:
    return InstanceCard(
        task="instances", architecture="oracle", labels=["object"], mask_size=28,
        mask_threshold=0.5, score_threshold=0.05, top=MOST, framework="torchvision",
        smallest_side=800, largest_side=1333, canvas=[], category_ids=[1], precision="fp32",
        built_by={}, weights_sha256="",
    )  # fmt: skip


def _scenes(content: dict[str, Any]) -> dict[int, list[NDArray[np.bool_]]]:
    """The objects' masks of each picture that has any; crowds are left out."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    scenes: dict[int, list[NDArray[np.bool_]]] = {}
    for some in content["annotations"]:
        if some.get("iscrowd"):
            continue
        parts = coco_mask.frPyObjects(some["segmentation"], *sizes[some["image_id"]])
        mask = coco_mask.decode(coco_mask.merge(parts)).astype(bool)
        scenes.setdefault(some["image_id"], []).append(mask)
    # Large ones first: what lies before them stays in sight.
    return {image: sorted(masks, key=lambda m: -int(m.sum())) for image, masks in scenes.items()}


def _add_truth(truth: dict[str, Any], image: int, numbers: NDArray[np.int32]) -> None:
    """What of each object is in sight."""
    height, width = numbers.shape
    truth["images"].append({"id": image, "height": height, "width": width})
    for number in np.unique(numbers[numbers > 0]):
        rle = coco_mask.encode(np.asfortranarray(numbers == number, np.uint8))
        truth["annotations"].append(
            {
                "id": len(truth["annotations"]) + 1, "image_id": image, "category_id": 1,
                "iscrowd": 0, "segmentation": rle, "area": float(coco_mask.area(rle)),
                "bbox": coco_mask.toBbox(rle).tolist(),
            }
        )  # fmt: skip


def _found_twice(found: Instances, numbers: NDArray[np.int32]) -> int:
    """Results that show an object, by most of their pixels on objects, that another shows too."""
    shown = []
    for crop in found.crops():
        x0, y0, x1, y1 = crop.box
        seen = numbers[y0:y1, x0:x1][crop.mask]
        if seen.any():
            shown.append(int(np.bincount(seen[seen > 0]).argmax()))
    return len(shown) - len(set(shown))


def _recall(truth: dict[str, Any], results: list[dict[str, Any]]) -> tuple[float, ...]:
    """Recall at IoU 0.5, and averaged over 0.5 to 0.95: of all, small, medium and large objects."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.params.maxDets = [1, 100, MOST]
        evaluation.evaluate()
        evaluation.accumulate()
    recall = evaluation.eval["recall"][:, 0, :, -1]  # IoU threshold, object size
    of = [column[column > -1] for column in (recall[0, :1], *recall.T)]
    return tuple(float(values.mean()) if values.size else float("nan") for values in of)


if __name__ == "__main__":
    run_script(main)
