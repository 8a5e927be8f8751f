"""Reference masks of the 24 coins in maskrt/data/coins.png, to judge results by.

    python tests/data/make_coins.py

Coins are brighter than the ground once the uneven light is taken off: threshold, fill, smooth.
Each coin is then cut out with a box set by hand, whose inscribed ellipse (a little larger than
the coin where nothing is near) parts it from its neighbours and from the bright right edge of the
photo. The outlines were drawn over the photo at four and six times its size and checked by eye:
every coin is whole, and the outlines lie on its edge or up to two pixels outside.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

HERE = Path(__file__).parent
PHOTO = HERE.parent.parent / "maskrt" / "data" / "coins.png"

# x0, y0, x1, y1 of each coin, row by row.
COINS = (
    (19, 31, 70, 78), (77, 36, 124, 78), (128, 26, 183, 78),
    (189, 27, 244, 78), (252, 30, 301, 76), (304, 14, 366, 74),
    (21, 100, 71, 150), (80, 104, 126, 150), (130, 106, 177, 150),
    (182, 102, 231, 149), (241, 92, 300, 149), (314, 102, 360, 150),
    (21, 174, 67, 221), (76, 171, 128, 222), (131, 175, 178, 222),
    (185, 166, 241, 221), (247, 168, 301, 222), (315, 155, 380, 219),
    (14, 230, 78, 292), (88, 241, 140, 292), (140, 233, 204, 292),
    (217, 237, 271, 291), (274, 237, 328, 291), (333, 246, 381, 291),
)  # fmt: skip


def main() -> None:
    """Write coins.json beside this script, aside first."""
    photo = cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE)
    ground = _bright(photo)
    annotations = []
    for number, box in enumerate(COINS, start=1):
        mask = _coin(ground, box)
        rle = coco.encode(np.asfortranarray(mask))
        annotations.append(
            {
                "id": number,
                "image_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "area": int(mask.sum()),
                "bbox": [int(v) for v in cv2.boundingRect(mask)],
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
            }
        )
    height, width = photo.shape
    content = {
        "images": [{"id": 1, "file_name": PHOTO.name, "height": height, "width": width}],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": annotations,
    }
    aside = HERE / "coins.json.part"
    aside.write_text(json.dumps(content, indent=1) + "\n")
    aside.replace(HERE / "coins.json")


def _bright(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [H, W], 1 where the photo is brighter than its ground, which varies slowly."""
    ground = cv2.morphologyEx(photo, cv2.MORPH_OPEN, _disc(75)).astype(np.float32)
    above = photo - cv2.GaussianBlur(ground, (0, 0), 15)
    return (cv2.GaussianBlur(above, (0, 0), 1) > 38).astype(np.uint8)


def _coin(bright: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """uint8 [H, W], 1 on the coin inside the box: its largest part, holes filled, smooth."""
    x0, y0, x1, y1 = box
    ellipse = np.zeros_like(bright)
    cv2.ellipse(ellipse, (((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2), (x1 - x0, y1 - y0), 0), 1, -1)
    closed = cv2.morphologyEx(bright & ellipse, cv2.MORPH_CLOSE, _disc(7)) & ellipse
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(bright)
    cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, 1, -1)
    return np.asarray(cv2.morphologyEx(filled, cv2.MORPH_OPEN, _disc(9)), np.uint8)


def _disc(diameter: int) -> NDArray[np.uint8]:
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
    return np.asarray(shape, np.uint8)


if __name__ == "__main__":
    main()
