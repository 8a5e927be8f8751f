"""What a segmentation gives: boxes, scores, labels, and masks made only when asked for.

Coordinates are continuous: pixel x spans x to x + 1. Boxes are xyxy in the original picture's
pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import BackendError, OptionError
from .paste import Crop, bitmaps, paste_all, regions
from .picture import Picture
from .rle import Rle, encode_all
from .stages import stage

if TYPE_CHECKING:
    import supervision

MAX_BITMAP_BYTES = 1 << 32

Polygon = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Instances:
    """N objects of one picture; N = 0 is as good as any.

    Attributes:
        size: height and width of the picture.
        boxes: float32 [N, 4], xyxy: a proposal's tight around its mask, a detection's as found.
        scores: float32 [N], 0 to 1, falling.
        labels: int64 [N], indices into `names`.
        names: the name of each label.
        mask_values: float32 [N, S, S], each over its box (logits, or probabilities); [N, 0, 0]
            for a network without masks.
        mask_boxes: float32 [N, 4], those boxes, xyxy; they may reach over the picture's border.
        mask_threshold: the value above which a pixel belongs to the object.
        mask_rule: how a mask is brought to the picture's pixels (`engine.paste.RULES`).
        keypoints: float32 [N, K, 3], x, y and the framework's score (`engine.detector`);
            [N, 0, 3] without.
        category_ids: the id of each name in COCO results; counted from 1 if none are given.
    """

    size: tuple[int, int]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: list[str] = field(repr=False)
    mask_values: NDArray[np.float32] = field(repr=False)
    mask_boxes: NDArray[np.float32] = field(repr=False)
    mask_threshold: float = field(repr=False, default=0.0)
    mask_rule: str = field(repr=False, default="centres")
    keypoints: NDArray[np.float32] = field(
        repr=False, default_factory=lambda: np.zeros((0, 0, 3), np.float32)
    )
    category_ids: list[int] = field(repr=False, default_factory=list)

    def __post_init__(self) -> None:
        if len(self.keypoints) != len(self.scores):  # none were given: indexed like the rest
            none = np.zeros((len(self.scores), 0, 3), np.float32)
            object.__setattr__(self, "keypoints", none)

    @classmethod
    def empty(cls, size: tuple[int, int], names: Sequence[str] = ("object",)) -> Instances:
        """No objects, in a picture of `size` (height, width)."""
        return cls(
            size,
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
            list(names),
            np.zeros((0, 1, 1), np.float32),
            np.zeros((0, 4), np.float32),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Instances:
        """Some of the objects: by number, slice, list of numbers, or bool array [N]."""
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"there is no instance {index}: there are {len(self)}")
            index = [int(index)]
        chosen: Any = index if isinstance(index, slice) else np.asarray(index)
        if isinstance(chosen, np.ndarray) and chosen.size == 0:
            chosen = chosen.astype(np.int64)  # an empty list is no choice, whatever its type
        rows = ("boxes", "scores", "labels", "mask_values", "mask_boxes", "keypoints")
        return replace(self, **{name: getattr(self, name)[chosen] for name in rows})

    def __iter__(self) -> Iterator[Instances]:
        return (self[k] for k in range(len(self)))

    @property
    def has_masks(self) -> bool:
        """Whether the network gives masks."""
        return bool(self.mask_values.shape[1] > 0)

    def crops(self) -> list[Crop]:
        """Each mask as the part of the picture that it covers. Computed anew at each call.

        Raises:
            OptionError: the network gives no masks.
        """
        return paste_all(*self._pasted())

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Bool [N, H, W]. Computed anew at each use: keep it, or use `crops()` or `rle()`.

        Raises:
            OptionError: the network gives no masks, or they would need more than 4 GiB.
        """
        height, width = self.size
        needed = len(self) * height * width
        if needed > MAX_BITMAP_BYTES:
            raise OptionError(
                f"{len(self)} masks of {width} x {height} need {needed} bytes and at most "
                f"{MAX_BITMAP_BYTES} are taken; index fewer of them, or use crops() or rle()"
            )
        return bitmaps(*self._pasted())

    def _pasted(self) -> tuple[Any, ...]:
        """The arguments of pasting.

        Raises:
            OptionError: the network gives no masks.
        """
        if not self.has_masks:
            raise OptionError("this network gives boxes and no masks; use boxes")
        return self.mask_values, self.mask_boxes, self.size, self.mask_threshold, self.mask_rule

    @stage("paste")
    def rle(self) -> list[Rle]:
        """Each mask in COCO's compressed run-length encoding, without making bitmaps."""
        return encode_all(regions(*self._pasted()), *self.size)

    def polygons(self) -> list[list[Polygon]]:
        """Each mask's outer outlines, float32 [K, 2] xy through the border pixels' centres.

        A mask in several parts has several; holes are left out. Filling an outline brings its
        pixels back; single pixels and lines are outlines of fewer than three points.
        """
        outlines = []
        for crop in self.crops():
            found, _ = cv2.findContours(
                crop.mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
            )
            offset = np.array([crop.x + 0.5, crop.y + 0.5], np.float32)
            outlines.append([f.reshape(-1, 2).astype(np.float32) + offset for f in found])
        return outlines

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """COCO results, ready for JSON: boxes as x, y, width, height; RLE masks and keypoints.

        Category ids are the data set's own, or count from 1 in the order of `names`.
        """
        ids = self.category_ids or list(range(1, len(self.names) + 1))
        results: list[dict[str, Any]] = [
            {
                "image_id": image_id,
                "category_id": ids[label],
                "bbox": [float(v) for v in (box[0], box[1], box[2] - box[0], box[3] - box[1])],
                "score": float(score),
            }
            for label, box, score in zip(self.labels, self.boxes, self.scores, strict=True)
        ]
        if self.has_masks:
            for result, rle in zip(results, self.rle(), strict=True):
                result["segmentation"] = rle
        if self.keypoints.shape[1]:
            for result, points in zip(results, self.keypoints, strict=True):
                # COCO's third number is a visibility; evaluation does not read it.
                seen = np.concatenate([points[:, :2], np.ones((len(points), 1), np.float32)], 1)
                result["keypoints"] = [float(v) for v in seen.ravel()]
        return results

    def to_supervision(self) -> supervision.Detections:
        """The objects as `supervision.Detections`, masks included.

        Raises:
            BackendError: supervision is not installed.
        """
        names = np.array([self.names[k] for k in self.labels], dtype=str)
        detections: supervision.Detections = _supervision().Detections(
            xyxy=self.boxes.copy(),
            mask=self.masks if self.has_masks else None,
            confidence=self.scores.copy(),
            class_id=self.labels.astype(int),
            data={"class_name": names},
        )
        return detections

    def draw(self, picture: Picture) -> Picture:
        """A copy of the picture with masks, outlines and scores drawn by supervision.

        Args:
            picture: uint8 [H, W, 3], BGR, the one that was segmented.

        Raises:
            OptionError: the picture has another size.
            BackendError: supervision is not installed.
        """
        if picture.shape[:2] != self.size:
            height, width = self.size
            raise OptionError(
                f"the picture is {list(picture.shape)} and the instances are of one of "
                f"{width} x {height}; draw on the picture that was segmented"
            )
        sv = _supervision()
        detections = self.to_supervision()
        by_index = sv.ColorLookup.INDEX
        drawn = np.ascontiguousarray(picture).copy()
        outlines = [sv.BoxAnnotator(color_lookup=by_index, thickness=1)]
        if self.has_masks:
            outlines = [
                sv.MaskAnnotator(color_lookup=by_index, opacity=0.45),
                sv.PolygonAnnotator(color_lookup=by_index, thickness=1),
            ]
        for annotator in outlines:
            drawn = annotator.annotate(drawn, detections)
        if self.keypoints.size:
            points = sv.KeyPoints(xy=self.keypoints[..., :2])
            drawn = sv.VertexAnnotator(radius=2).annotate(drawn, points)
        if len(self):
            scores = [
                f"{self.names[label]} {score:.2f}" if len(self.names) > 1 else f"{score:.2f}"
                for label, score in zip(self.labels, self.scores, strict=True)
            ]
            label = sv.LabelAnnotator(
                color_lookup=by_index,
                text_scale=0.3,
                text_padding=2,
                text_position=sv.Position.CENTER,
            )
            drawn = label.annotate(drawn, detections, labels=scores)
        return np.asarray(drawn, np.uint8)


def _supervision() -> Any:
    try:
        import supervision as sv
    except ImportError as error:
        raise BackendError(
            "drawing needs the package supervision, which is not installed; "
            "pip install 'maskrt[viz]'"
        ) from error
    return sv
