"""100 masks of 28 x 28 into a picture, against torchvision, OpenCV and pycocotools.

    .venv-parity/bin/python benchmarks/paste.py

All are interleaved in one run, after their answers were compared. Needs torchvision: run it in
the environment of `make parity`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median
from typing import Annotated

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from engine import BackendError
from engine.paste import bitmaps, regions
from engine.rle import encode_all
from maskrt.console import console, run_script

SIZES = (640, 480), (1920, 1080), (3840, 2160)
RULE = 0.5, "torchvision"


def main(
    masks: Annotated[int, typer.Option(help="How many.")] = 100,
    rounds: Annotated[int, typer.Option(help="Timed runs of each.")] = 5,
) -> None:
    """Time all forms at three sizes."""
    try:
        import torch
        from pycocotools import mask as coco
        from torchvision.models.detection.roi_heads import paste_masks_in_image
    except ImportError as error:
        raise BackendError(
            f"{error.name} is not installed here; run `make parity` once and use "
            ".venv-parity/bin/python"
        ) from error
    table = Table(title=f"{masks} masks, ms, median of {rounds} rounds (lowest to highest)")
    names = "torchvision", "OpenCV", "ours", "OpenCV + pycocotools", "ours as RLE"
    for column in ("picture", *names, "torchvision / ours", "RLE: theirs / ours"):
        table.add_column(column, justify="right", no_wrap=" x" in column)
    for width, height in SIZES:
        values, boxes = _made(masks, width, height)
        tensors = torch.from_numpy(values)[:, None], torch.from_numpy(boxes)
        size = height, width

        def theirs() -> NDArray[np.bool_]:
            return (paste_masks_in_image(*tensors, size)[:, 0] > 0.5).numpy()  # noqa: B023

        def opencv() -> NDArray[np.bool_]:
            return _by_opencv(values, boxes, size)  # noqa: B023

        forms = (
            theirs,
            opencv,
            lambda: bitmaps(values, boxes, size, *RULE),  # noqa: B023
            lambda: coco.encode(np.asfortranarray(opencv().transpose(1, 2, 0).view(np.uint8))),
            lambda: encode_all(regions(values, boxes, size, *RULE), *size),  # noqa: B023
        )
        _compare(forms[0](), forms[2](), forms[4](), coco)
        times = np.array([[_seconds(form) for form in forms] for _ in range(rounds)])
        ratios = times[:, 0] / times[:, 2], times[:, 3] / times[:, 4]
        table.add_row(
            f"{width} x {height}",
            *(f"{1000 * median(t):.1f}" for t in times.T.tolist()),
            *(f"{median(r.tolist()):.1f} ({r.min():.1f} to {r.max():.1f})" for r in ratios),
        )
    console.print(table)


def _made(masks: int, width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Smooth masks in boxes of 3 to 35 % of the picture's sides."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(0.03, 0.35, (masks, 2)) * [width, height]
    first = rng.uniform(0, 1, (masks, 2)) * ([width, height] - sides)
    noise = rng.random((masks, 28, 28)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(one, (0, 0), 3) for one in noise])
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return smooth, np.concatenate([first, first + sides], 1).astype(np.float32)


def _by_opencv(
    values: NDArray[np.float32], boxes: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """What a competent user writes: each box to whole pixels, one resize for each mask."""
    out = np.zeros((len(values), *size), bool)
    for whole, value, box in zip(out, values, boxes, strict=True):
        x0, y0 = np.floor(box[:2]).astype(int)
        x1, y1 = np.ceil(box[2:]).astype(int)
        sides = max(x1 - x0, 1), max(y1 - y0, 1)
        large = cv2.resize(value, sides, interpolation=cv2.INTER_LINEAR) > 0.5
        whole[y0:y1, x0:x1] = large[: max(size[0] - y0, 0), : max(size[1] - x0, 0)]
    return out


def _compare(theirs: NDArray[np.bool_], ours: NDArray[np.bool_], rles: list, coco: object) -> None:
    differ = int((theirs != ours).sum())
    if differ > 1e-6 * ours.size:
        raise BackendError(f"{differ} pixels are not torchvision's; the times mean nothing")
    right = coco.encode(np.asfortranarray(ours.transpose(1, 2, 0).view(np.uint8)))  # type: ignore[attr-defined]
    if [r["counts"].decode() for r in right] != [r["counts"] for r in rles]:
        raise BackendError("the RLE is not pycocotools'; the times mean nothing")


def _seconds(form: object) -> float:
    start = time.perf_counter()
    form()  # type: ignore[operator]
    return time.perf_counter() - start


if __name__ == "__main__":
    run_script(main)
