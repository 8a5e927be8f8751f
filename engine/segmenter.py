"""Segmenter: a model file in, masks on pictures out."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from .backends import Backend, open_backend
from .card import Card
from .errors import OptionError
from .paste import paste
from .picture import Picture, PictureSource, read_picture
from .prepare import pyramid, resize
from .results import Instances
from .suppress import suppress
from .windows import window_boxes


@dataclass(frozen=True)
class _Winners:
    """The best windows so far: scores [K], boxes [K, 4], mask logits [K, S, S], scores falling."""

    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    logits: NDArray[np.float32]

    def merged(self, other: _Winners, limit: int) -> _Winners:
        """The best `limit` of both; of equal scores those of `self` come first."""
        scores = np.concatenate([self.scores, other.scores])
        order = np.argsort(-scores, kind="stable")[:limit]
        boxes = np.concatenate([self.boxes, other.boxes])
        logits = np.concatenate([self.logits, other.logits])
        return _Winners(scores[order], boxes[order], logits[order])


class Segmenter:
    """Finds the objects of a picture with an exported model.

    A segmenter may be called from several threads at once.

    Args:
        model: path of an ONNX file that MaskRT exported, or an open backend.
        backend: "onnxruntime", or None for the one that the file's type asks for.
        device: "cpu" or "cuda". A device that is not there is an error, never another device.
        threads: for the network's layers; None for all cores.

    Raises:
        ModelError: the file is not a model, has no card, or a damaged one.
        BackendError: the backend is not installed or lacks the device.
        OptionError: an unknown backend or device.

    Example:
        >>> from engine import Segmenter
        >>> objects = Segmenter("out/demo/deepmask_small.onnx")("photo.jpg")
        >>> objects.boxes.shape, objects.masks.shape
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Backend,
        *,
        backend: str | None = None,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        if isinstance(model, (str, os.PathLike)):
            self.backend = open_backend(model, backend, device, threads)
        else:
            self.backend = model

    @property
    def card(self) -> Card:
        """What the model says of itself, its defaults included."""
        return self.backend.card

    def __call__(
        self,
        picture: PictureSource,
        *,
        color: str = "bgr",
        scales: Sequence[float] | None = None,
        score_threshold: float | None = None,
        mask_nms: float | None = None,
        top: int | None = None,
    ) -> Instances:
        """Segment one picture. What is left out is as the model's card has it.

        Args:
            picture: a path, the bytes of an encoded picture, or a uint8 (uint16) array
                [H, W], [H, W, 1] or [H, W, 3].
            color: "bgr" or "rgb", the order of an array's channels.
            scales: the pyramid, as factors on the picture's size.
            score_threshold: results score at least this, 0 to 1.
            mask_nms: a mask whose IoU with a better one is above this is dropped; 1 keeps all.
            top: how many results at most, the best first.

        Raises:
            PictureError: the picture cannot be read, or is too large for a scale.
            OptionError: an option out of its range.
            BackendError: the backend failed.
        """
        card = self.card
        scales = card.scales if scales is None else list(scales)
        score_threshold = card.score_threshold if score_threshold is None else score_threshold
        mask_nms = card.mask_nms if mask_nms is None else mask_nms
        top = card.top if top is None else top
        _check_options(scales, score_threshold, mask_nms, top)

        bgr = read_picture(picture, color)
        # Masks that NMS drops make room for others, so that more than `top` compete.
        limit = top if mask_nms >= 1 else max(top, card.proposals)
        winners = self._winners(bgr, scales, score_threshold, limit)
        return self._finish(winners, (bgr.shape[0], bgr.shape[1]), mask_nms, top)

    def _winners(
        self, bgr: Picture, scales: Sequence[float], score_threshold: float, limit: int
    ) -> _Winners:
        """The best `limit` windows over all levels of the pyramid."""
        card = self.card
        size = card.mask_size
        best = _Winners(
            np.zeros(0, np.float32),
            np.zeros((0, 4), np.float32),
            np.zeros((0, size, size), np.float32),
        )
        floor = score_threshold
        # The largest level has the most windows: after it few of the others' are winners.
        height, width = bgr.shape[:2]
        for level in pyramid(height, width, sorted(scales, reverse=True), card.patch // 2):
            found = self.backend.run(
                {
                    "picture": resize(bgr, level, card.resize),
                    # A window that cannot be among the best any more needs no mask.
                    "min_score": np.array([floor], np.float32),
                }
            )
            count = int(found["count"][0])
            boxes = window_boxes(found["windows"][:count], level, card.patch, card.stride)
            best = best.merged(
                _Winners(found["scores"][:count], boxes, found["masks"][:count]), limit
            )
            if len(best.scores) == limit:
                floor = max(floor, float(best.scores[-1]))
        return best

    def _finish(
        self, winners: _Winners, size: tuple[int, int], mask_nms: float, top: int
    ) -> Instances:
        threshold = math.log(self.card.mask_threshold / (1 - self.card.mask_threshold))
        crops = [
            paste(logits, box, size, threshold)
            for logits, box in zip(winners.logits, winners.boxes, strict=True)
        ]
        # A window may hold no pixel of the picture above the threshold: that is no object.
        seen = [k for k, crop in enumerate(crops) if crop.mask.size]
        kept = [seen[k] for k in suppress([crops[k] for k in seen], mask_nms, top)]
        boxes = np.array([crops[k].box for k in kept], np.float32).reshape(-1, 4)
        return Instances(
            size=size,
            boxes=boxes,
            scores=winners.scores[kept],
            labels=np.zeros(len(kept), np.int64),
            names=list(self.card.labels),
            mask_logits=winners.logits[kept],
            mask_boxes=winners.boxes[kept],
            mask_threshold=threshold,
        )

    def close(self) -> None:
        """Give back what the backend holds."""
        self.backend.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_options(
    scales: Sequence[float], score_threshold: float, mask_nms: float, top: int
) -> None:
    if not scales or not all(math.isfinite(s) and s > 0 for s in scales):
        raise OptionError(f"scales is {list(scales)}; give at least one factor above 0")
    for name, value in (("score_threshold", score_threshold), ("mask_nms", mask_nms)):
        if not 0 <= value <= 1:
            raise OptionError(f"{name} is {value}; give a number from 0 to 1")
    if top < 1:
        raise OptionError(f"top is {top}; give 1 or more")
