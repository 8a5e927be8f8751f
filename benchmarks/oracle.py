"""A detector that reads the answer from the picture's colours, and errs as detectors do.

For experiments on what becomes of detections: a trained network's own mistakes would hide them.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.backends import Tensors
from engine.backends.fake import FakeBackend
from engine.card import InstanceCard
from engine.picture import Picture

MASK = 28
ROWS = 300


def painted(masks: Sequence[NDArray[np.bool_]], labels: Sequence[int]) -> Picture:
    """A picture that holds its objects: blue and green count them from 1, red is the label.

    Args:
        masks: bool [H, W] each, at least one; later ones lie before earlier ones.
        labels: below 256.
    """
    picture = np.zeros((*masks[0].shape, 3), np.uint8)
    for number, (mask, label) in enumerate(zip(masks, labels, strict=True), 1):
        picture[mask] = number % 256, number // 256, label
    return picture


def numbers_in(picture: Picture) -> NDArray[np.int32]:
    """[H, W], the number of the object that each pixel shows, 0 for none."""
    return picture[..., 0].astype(np.int32) + 256 * picture[..., 1].astype(np.int32)


class Oracle:
    """Finds what is painted and large enough, as far as it lies in what it is given.

    Boxes are off by a few percent and scores are random, different in each call. Of an object that
    is cut it finds the part that it sees, as sure of it as of any other.

    Args:
        card: of a torchvision detector of open size.
        smallest: side of the smallest object that it sees, in pixels of its own input.
        error: deviation of a box's edges, as a share of its side.
    """

    def __init__(self, card: InstanceCard, smallest: float = 12, error: float = 0.02) -> None:
        self._card, self._smallest, self._error = card, smallest, error
        self._rng = np.random.default_rng(0)
        self.calls = 0

    def backend(self) -> FakeBackend:
        """What a `Segmenter` takes."""
        return FakeBackend(self._card, self)

    def __call__(self, inputs: Tensors) -> Tensors:
        """The graph's outputs for a picture of `painted`, or a part of one."""
        self.calls += 1
        picture, size = inputs["picture"], inputs["size"]
        scale = size[::-1] / np.array(picture.shape[1::-1])
        numbers = numbers_in(picture)
        boxes = np.zeros((ROWS, 4), np.float32)
        masks = np.zeros((ROWS, MASK, MASK), np.float32)
        classes = np.zeros(ROWS, np.int32)
        count = 0
        for number in np.unique(numbers[numbers > 0])[:ROWS]:
            mask = (numbers == number).astype(np.uint8)
            x, y, width, height = cv2.boundingRect(mask)
            if np.sqrt(mask.sum() * scale.prod()) < self._smallest:
                continue
            inside = mask[y : y + height, x : x + width]
            off = self._rng.normal(0, self._error, 4) * [width, height, width, height]
            box = np.array([x, y, x + width, y + height]) + off
            limits = np.array(picture.shape[1::-1])
            boxes[count] = np.clip(box, 0, np.tile(limits, 2)) * np.tile(scale, 2)
            masks[count] = cv2.resize(
                inside.astype(np.float32), (MASK, MASK),
                interpolation=cv2.INTER_AREA if min(width, height) > MASK else cv2.INTER_LINEAR,
            )  # fmt: skip
            classes[count] = picture[y : y + height, x : x + width, 2][inside > 0][0]
            count += 1
        scores = np.zeros(ROWS, np.float32)
        scores[:count] = np.sort(self._rng.uniform(0.5, 1, count))[::-1]
        order = np.concatenate([self._rng.permutation(count), np.arange(count, ROWS)])
        return {
            "boxes": boxes[order],
            "scores": scores,
            "classes": classes[order],
            "masks": masks[order],
            "count": np.array([count], np.int32),
        }
