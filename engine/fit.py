"""A picture as a two-stage network wants it: its framework's size, and its framework's resizing.

torchvision resizes floats, which its graph does itself; detectron2 resizes bytes with Pillow's
bilinear filter, whose arithmetic is repeated here to the last bit.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from .card import InstanceCard
from .errors import PictureError
from .large import WHOLE, AnyPicture, LargePicture
from .picture import Picture
from .resample import resize_part, triangles

MAX_PIXELS = 100_000_000
"""Of a resized picture: a long thin one can become large, whatever the longest side may be."""
FRACTION_BITS = 22
"""Of a weight in Pillow's resampling (Resample.c)."""


def fitted_size(height: int, width: int, card: InstanceCard) -> tuple[int, int]:
    """Height and width that a picture is resized to; at least 1 x 1.

    torchvision cuts off fractions (GeneralizedRCNNTransform), detectron2 rounds
    (ResizeShortestEdge).

    Raises:
        PictureError: the picture would become too large.
    """
    short, long = min(height, width), max(height, width)
    if card.framework == "torchvision":
        scale = min(card.smallest_side / short, card.largest_side / long)
        size = math.floor(height * scale), math.floor(width * scale)
    else:
        scale = card.smallest_side / short
        # The shorter side is exact before the longer one is looked at.
        sides = (scale * height, scale * width)
        if max(sides) > card.largest_side:
            shrunk = card.largest_side / max(sides)
            sides = (sides[0] * shrunk, sides[1] * shrunk)
        size = int(sides[0] + 0.5), int(sides[1] + 0.5)
    if card.canvas:
        room = min(card.canvas[0] / size[0], card.canvas[1] / size[1]) if min(size) else 1
        if room < 1:
            size = math.floor(size[0] * room), math.floor(size[1] * room)
    size = max(size[0], 1), max(size[1], 1)
    if size[0] * size[1] > MAX_PIXELS:
        raise PictureError(
            f"a picture of {width} x {height} would be resized to {size[1]} x {size[0]}, and at "
            f"most {MAX_PIXELS} pixels are taken; give a smaller picture"
        )
    return size


def fitted(picture: AnyPicture, size: tuple[int, int], card: InstanceCard) -> Picture:
    """What goes into the graph: uint8 [h, w, 3].

    A torchvision graph of open size resizes by itself; every other one gets a picture of `size`,
    in the upper left corner of the canvas where there is one. Of a large picture every graph gets
    that, for it could not hold the picture.
    """
    if isinstance(picture, LargePicture) or picture.shape[0] * picture.shape[1] > WHOLE:
        rule = "triangle" if card.framework == "detectron2" else "bilinear"
        resized = resize_part(picture, size, (0, size[0]), (0, size[1]), rule)
    elif card.framework == "torchvision" and not card.canvas:
        return picture
    elif card.framework == "detectron2":
        resized = pillow_bilinear(picture, size)
    else:
        resized = np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR))
    if not card.canvas:
        return resized
    canvas = np.zeros((*card.canvas, 3), np.uint8)
    canvas[: size[0], : size[1]] = resized
    return canvas


def pillow_bilinear(picture: Picture, size: tuple[int, int]) -> Picture:
    """`picture` [H, W, C] at `size` (height, width) as Pillow's Image.BILINEAR makes it.

    Columns first. From 13.0 on Pillow takes rows first where more than twice as many rows as
    columns go, which changes last bits; before, as in all of detectron2's time, it did not.
    """
    if picture.shape[1] != size[1]:
        picture = _resampled(picture.swapaxes(0, 1), size[1]).swapaxes(0, 1)
    if picture.shape[0] != size[0]:
        picture = _resampled(picture, size[0])
    return np.ascontiguousarray(picture)


def _resampled(picture: Picture, count: int) -> Picture:
    """Along the first axis: `count` rows, each a triangle-weighted mean of the rows it covers."""
    length = picture.shape[0]
    first, shares = triangles(length, count, 0, count)
    weights = (shares * (1 << FRACTION_BITS) + 0.5).astype(np.int32)
    total = np.full((count, *picture.shape[1:]), 1 << (FRACTION_BITS - 1), np.int32)
    for k in range(weights.shape[1]):
        rows = picture[np.minimum(first + k, length - 1)].astype(np.int32)
        total += rows * weights[:, k, None, None]
    rounded: Picture = np.clip(total >> FRACTION_BITS, 0, 255).astype(np.uint8)
    return rounded
