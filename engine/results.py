"""What a segmentation gives: boxes, scores, labels, and masks made only when asked for.

Coordinates are continuous: pixel x spans x to x + 1. Boxes are xyxy in the original picture's
pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import BackendError, OptionError
from .paste import Crop, paste
from .picture import Picture
from .rle import Rle, encode

if TYPE_CHECKING:
    import supervision

MAX_BITMAP_BYTES = 1 << 32

Polygon = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Instances:
    """N objects of one picture; N = 0 is as good as any.

    Attributes:
        size: height and width of the picture.
        boxes: float32 [N, 4], xyxy, tight around each mask.
        scores: float32 [N], 0 to 1, falling.
        labels: int64 [N], indices into `names`.
        names: the name of each label.
        mask_logits: float32 [N, S, S], each over its window.
        mask_boxes: float32 [N, 4], the windows, xyxy; they may reach over the picture's border.
        mask_threshold: the logit above which a pixel belongs to the object.
    """

    size: tuple[int, int]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: list[str] = field(repr=False)
    mask_logits: NDArray[np.float32] = field(repr=False)
    mask_boxes: NDArray[np.float32] = field(repr=False)
    mask_threshold: float = field(repr=False, default=0.0)

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
        return Instances(
            self.size,
            self.boxes[chosen],
            self.scores[chosen],
            self.labels[chosen],
            self.names,
            self.mask_logits[chosen],
            self.mask_boxes[chosen],
            self.mask_threshold,
        )

    def __iter__(self) -> Iterator[Instances]:
        return (self[k] for k in range(len(self)))

    def crops(self) -> list[Crop]:
        """Each mask as the part of the picture that it covers. Computed anew at each call."""
        return [
            paste(logits, box, self.size, self.mask_threshold)
            for logits, box in zip(self.mask_logits, self.mask_boxes, strict=True)
        ]

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Bool [N, H, W]. Computed anew at each use: keep it, or use `crops()` or `rle()`.

        Raises:
            OptionError: the masks would need more than 4 GiB.
        """
        height, width = self.size
        needed = len(self) * height * width
        if needed > MAX_BITMAP_BYTES:
            raise OptionError(
                f"{len(self)} masks of {width} x {height} need {needed} bytes and at most "
                f"{MAX_BITMAP_BYTES} are taken; index fewer of them, or use crops() or rle()"
            )
        masks = np.zeros((len(self), height, width), bool)
        for mask, crop in zip(masks, self.crops(), strict=True):
            x0, y0, x1, y1 = crop.box
            mask[y0:y1, x0:x1] = crop.mask
        return masks

    def rle(self) -> list[Rle]:
        """Each mask in COCO's compressed run-length encoding, without making bitmaps."""
        return [encode(crop, *self.size) for crop in self.crops()]

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
        """COCO results, ready for JSON: RLE masks, boxes as x, y, width, height.

        Category ids count from 1, in the order of `names`.
        """
        return [
            {
                "image_id": image_id,
                "category_id": int(label) + 1,
                "bbox": [float(v) for v in (box[0], box[1], box[2] - box[0], box[3] - box[1])],
                "score": float(score),
                "segmentation": rle,
            }
            for label, box, score, rle in zip(
                self.labels, self.boxes, self.scores, self.rle(), strict=True
            )
        ]

    def to_supervision(self) -> supervision.Detections:
        """The objects as `supervision.Detections`, masks included.

        Raises:
            BackendError: supervision is not installed.
        """
        names = np.array([self.names[k] for k in self.labels], dtype=str)
        detections: supervision.Detections = _supervision().Detections(
            xyxy=self.boxes.copy(),
            mask=self.masks,
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
        for annotator in (
            sv.MaskAnnotator(color_lookup=by_index, opacity=0.45),
            sv.PolygonAnnotator(color_lookup=by_index, thickness=1),
        ):
            drawn = annotator.annotate(drawn, detections)
        if len(self):
            scores = [f"{score:.2f}" for score in self.scores]
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
