"""Faster, Mask and Keypoint R-CNN: one call of the graph, and the way back to the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .backends import Backend, Tensors
from .card import InstanceCard
from .fit import fitted, fitted_size
from .large import AnyPicture, part_of
from .results import Instances
from .slices import Passes, slices
from .stages import stage


def detect(
    backend: Backend,
    card: InstanceCard,
    bgr: AnyPicture,
    *,
    score_threshold: float,
    top: int,
    side: int | None = None,
    overlap: int | None = None,
) -> Instances:
    """The objects of a picture.

    Args:
        backend: runs the graph.
        card: its card.
        bgr: uint8 [H, W, 3], or one on the disk.
        score_threshold: results score at least this (the graph has a floor of its own).
        top: how many results at most.
        side: of slices that are gone through beside the whole picture; None for none.
        overlap: objects of up to so many pixels are whole in a slice; None for a quarter of it.
    """
    height, width = bgr.shape[:2]
    whole = _pass(backend, card, bgr, score_threshold, top)
    if side is None:
        return whole
    passes = Passes(whole, side, top)
    for part in slices(height, width, side, side // 4 if overlap is None else overlap):
        rows, columns = part.rows, part.columns
        pixels = part_of(bgr, rows.start, rows.stop, columns.start, columns.stop)
        found = _pass(backend, card, np.ascontiguousarray(pixels), score_threshold, top)
        passes.add(found, part)
    return passes.best()


def _pass(
    backend: Backend, card: InstanceCard, bgr: AnyPicture, score_threshold: float, top: int
) -> Instances:
    """What one call of the graph finds."""
    height, width = bgr.shape[:2]
    size = fitted_size(height, width, card)
    with stage("prepare"):
        pixels = fitted(bgr, size, card)
        inputs: Tensors = {"picture": pixels, "size": np.array(size, np.int64)}
    with stage("network"):
        found = backend.run(inputs)
    return _on_the_picture(found, card, size, (height, width), score_threshold, top)


@stage("finish")
def _on_the_picture(
    found: Tensors,
    card: InstanceCard,
    size: tuple[int, int],
    whole: tuple[int, int],
    score_threshold: float,
    top: int,
) -> Instances:
    """A graph's answer for a picture of `whole` that was resized to `size`."""
    height, width = whole
    count = min(int(found["count"][0]), top)
    rows = np.flatnonzero(found["scores"][:count] >= score_threshold)
    small = found["boxes"][rows]
    # In fp32, as the frameworks do it.
    sides = np.array([[width, height], size[::-1]], np.float32)
    per_pixel: NDArray[np.float32] = sides[0] / sides[1]
    boxes = small * np.tile(per_pixel, 2)
    if card.framework == "detectron2":
        boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
        held = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        rows, small, boxes = rows[held], small[held], boxes[held]
    points = np.zeros((len(rows), 0, 3), np.float32)
    if card.keypoints:
        points = decode_keypoints(found["keypoints"][rows], small, card.framework)
        points[..., :2] *= per_pixel
    masks = found["masks"][rows] if card.mask_size else np.zeros((len(rows), 0, 0), np.float32)
    return Instances(
        size=(height, width),
        boxes=boxes,
        scores=found["scores"][rows],
        labels=found["classes"][rows].astype(np.int64),
        names=list(card.labels),
        mask_values=masks,
        mask_boxes=boxes,
        mask_threshold=card.mask_threshold,
        mask_rule=card.framework,
        keypoints=points,
        category_ids=list(card.category_ids),
    )


def decode_keypoints(
    maps: NDArray[np.float32], boxes: NDArray[np.float32], framework: str
) -> NDArray[np.float32]:
    """Where each heat map is highest once it is as large as its box.

    The map is resized bicubically to the box's whole pixels, and the highest one's centre taken
    (both frameworks' heatmaps_to_keypoints; Heckbert 1990 for the half pixel).

    Args:
        maps: float32 [N, K, S, S], logits.
        boxes: float32 [N, 4].
        framework: "torchvision" or "detectron2".

    Returns:
        float32 [N, K, 3]: x, y, and what the framework calls the score: torchvision the logit
        there, detectron2 its share of the softmax over the map.
    """
    points = np.zeros((*maps.shape[:2], 3), np.float32)
    for n, box in enumerate(boxes):
        sides = np.maximum(box[2:] - box[:2], np.float32(1))
        width, height = (int(side) for side in np.ceil(sides))
        per_pixel = sides / np.array([width, height], np.float32)
        for k, heat in enumerate(maps[n]):
            large = cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC)
            row, column = divmod(int(large.argmax()), width)
            at = np.array([column, row], np.float32) + np.float32(0.5)
            points[n, k, :2] = at * per_pixel + box[:2]
            best = large[row, column]
            logit = framework == "torchvision"
            points[n, k, 2] = best if logit else 1 / np.exp(heat - best).sum()
    return points
