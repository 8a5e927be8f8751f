"""COCO's object categories: what the published checkpoints' classes are called."""

from __future__ import annotations

import json
from pathlib import Path

from engine.errors import OptionError

_NAMES = """
1 person, 2 bicycle, 3 car, 4 motorcycle, 5 airplane, 6 bus, 7 train, 8 truck, 9 boat,
10 traffic light, 11 fire hydrant, 13 stop sign, 14 parking meter, 15 bench, 16 bird, 17 cat,
18 dog, 19 horse, 20 sheep, 21 cow, 22 elephant, 23 bear, 24 zebra, 25 giraffe, 27 backpack,
28 umbrella, 31 handbag, 32 tie, 33 suitcase, 34 frisbee, 35 skis, 36 snowboard, 37 sports ball,
38 kite, 39 baseball bat, 40 baseball glove, 41 skateboard, 42 surfboard, 43 tennis racket,
44 bottle, 46 wine glass, 47 cup, 48 fork, 49 knife, 50 spoon, 51 bowl, 52 banana, 53 apple,
54 sandwich, 55 orange, 56 broccoli, 57 carrot, 58 hot dog, 59 pizza, 60 donut, 61 cake, 62 chair,
63 couch, 64 potted plant, 65 bed, 67 dining table, 70 toilet, 72 tv, 73 laptop, 74 mouse,
75 remote, 76 keyboard, 77 cell phone, 78 microwave, 79 oven, 80 toaster, 81 sink,
82 refrigerator, 84 book, 85 clock, 86 vase, 87 scissors, 88 teddy bear, 89 hair drier,
90 toothbrush
"""
COCO = {
    int(number): name
    for number, _, name in (entry.strip().partition(" ") for entry in _NAMES.split(","))
}
"""Name of each category id; the ids have gaps."""
_SIDES = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
KEYPOINTS = ["nose", *(f"{side}_{part}" for part in _SIDES for side in ("left", "right"))]
"""Of a person, in COCO's order."""


def default_labels(classes: int) -> tuple[list[str], list[int]]:
    """Names and category ids for so many classes.

    Eighty are COCO's in a row (detectron2), ninety its ids from 1 on (torchvision), one is a
    person; others are "class 1" and so on, with ids from 1.
    """
    if classes == len(COCO):
        return list(COCO.values()), list(COCO)
    ids = list(range(1, classes + 1))
    if classes == max(COCO):
        return [COCO.get(k, "unused") for k in ids], ids
    if classes == 1:
        return [COCO[1]], [1]
    return [f"class {k}" for k in ids], ids


def read_labels(path: Path, classes: int) -> tuple[list[str], list[int]]:
    """Names and category ids from a file.

    Args:
        path: one name a line, or a JSON file: a list of names, or COCO annotations, whose
            categories are taken in the order of their ids.
        classes: how many there should be.

    Raises:
        OptionError: no such file, none of these, or another number of names.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"--labels {path} cannot be read ({error}); give a text file with one name a line"
        ) from error
    names, ids = [line.strip() for line in text.splitlines() if line.strip()], None
    if path.suffix == ".json":
        names, ids = _from_json(text, path)
    if len(names) != classes:
        raise OptionError(
            f"--labels {path} has {len(names)} names and the network {classes} classes (the "
            "background is not counted); give one name for each"
        )
    return names, list(range(1, classes + 1)) if ids is None else ids


def _from_json(text: str, path: Path) -> tuple[list[str], list[int] | None]:
    try:
        content = json.loads(text)
        if isinstance(content, dict):
            entries = sorted((int(c["id"]), str(c["name"])) for c in content["categories"])
            return [name for _, name in entries], [number for number, _ in entries]
        if isinstance(content, list) and all(isinstance(name, str) for name in content):
            return content, None
    except (ValueError, KeyError, TypeError):
        pass
    raise OptionError(
        f"--labels {path} is neither a list of names nor COCO annotations with categories; give a "
        "text file with one name a line"
    )
