"""Faster, Mask and Keypoint R-CNN: a prepared picture in, padded detections out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from export.models.rcnn.backbone import Pyramid, ResNet
from export.models.rcnn.heads import BoxHead, KeypointHead, MaskHead, Regions
from export.models.rcnn.proposals import Proposals
from export.models.rcnn.spec import RcnnSpec
from export.models.rows import first_rows, pad_rows


class Detections(NamedTuple):
    """K rows, of which the first `count` are meant; without masks or keypoints those are absent.

    Attributes:
        boxes: float32 [K, 4], xyxy in the canvas.
        scores: float32 [K], falling.
        classes: int32 [K], -1 where there is none.
        count: int32 [1].
        masks: float32 [K, S, S], probabilities over the box; S is the spec's mask_size.
        keypoints: float32 [K, 17, 56, 56], logits over the box.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    count: Tensor
    masks: Tensor | None
    keypoints: Tensor | None


class Rcnn(nn.Module):
    """One network, batch norms folded, its shapes fixed by its spec and the canvas alone."""

    def __init__(self, spec: RcnnSpec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = ResNet(spec, 4 if spec.pyramid else 3)
        self.pyramid = Pyramid() if spec.pyramid else None
        self.proposals = Proposals(spec, 256 if spec.pyramid else 1024)
        self.regions = Regions(spec)
        self.box = BoxHead(spec)
        self.mask = MaskHead(spec) if spec.masks != "none" else None
        self.keypoint = KeypointHead(spec) if spec.keypoints else None

    def forward(self, canvas: Tensor, size: Tensor) -> Detections:
        """Detect.

        Args:
            canvas: float32 [1, 3, H, W], a picture less the mean in its upper left corner, and
                zeros around it; H and W are multiples of the spec's `multiple`.
            size: int64 [2], height and width of the picture in it.
        """
        size = size.float()
        features = self.backbone(canvas)
        levels = self.pyramid(features) if self.pyramid else features[-1:]
        proposals, meant = self.proposals(levels, canvas, size)
        features = levels[:4]  # P6 is for proposals alone
        boxes, scores, classes, count = self.box(
            self.regions(proposals, features), proposals, meant, size
        )
        masks = keypoints = None
        if self.mask or self.keypoint:
            # On a CPU padding would cost real time here.
            some = first_rows(boxes, count)
            regions = self.regions(some[None], features, others=True)
            if self.mask:
                # Row by row; -1 stands in rows that are no detections, of which there are none.
                found = first_rows(torch.where(classes < 0, 0, classes)[:, None], count)[:, 0]
                masks = self.mask(regions, found)
                masks = pad_rows(masks.flatten(1), boxes).unflatten(1, masks.shape[1:])
            if self.keypoint:
                maps = self.keypoint(regions)
                keypoints = pad_rows(maps.flatten(1), boxes).unflatten(1, maps.shape[1:])
        return Detections(boxes, scores, classes, count, masks, keypoints)
