"""What is said of each region: class and box, mask, keypoints.

Ren et al. 2015; He et al. 2017 (Mask R-CNN), section 3 and figure 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.models.rcnn.backbone import stage
from export.models.rcnn.boxes import clip, decode, smaller
from export.models.rcnn.spec import RcnnSpec
from export.operators import batched_nms, pyramid_roi_align
from plugins.nms.op import NmsAttributes
from plugins.roi_align.op import RoiAlignAttributes

NMS_IOU = 0.5
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
CANDIDATES = 2000
"""Pairs of region and class that NMS looks at, the best ones: two for each region."""
WIDE = 1024


def region_attributes(spec: RcnnSpec, size: int) -> RoiAlignAttributes:
    """How a network cuts out regions of `size` x `size`."""
    rules = spec.rules
    strides, finest = ((4, 8, 16, 32), 2) if spec.pyramid else ((16,), 4)
    return RoiAlignAttributes(
        size, rules.sampling_ratio, rules.aligned, strides, finest,
        eps_ratio=rules.eps_ratio, eps_level=rules.eps_level,
    )  # fmt: skip


def _convs(channels: int, width: int, count: int) -> nn.ModuleList:
    sizes = [channels] + [width] * count
    return nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))


class Regions(nn.Module):
    """Features of each region as the heads want them; in a C4 network the last stage is in it."""

    def __init__(self, spec: RcnnSpec) -> None:
        super().__init__()
        self.pyramid = spec.pyramid
        self.for_boxes = region_attributes(spec, 7 if spec.pyramid else 14)
        self.for_others = region_attributes(spec, 14)
        self.last_stage = None if spec.pyramid else stage(spec, 3)

    def forward(self, boxes: Tensor, features: Sequence[Tensor], *, others: bool = False) -> Tensor:
        """[R, C, S, S] of boxes [1, R, 4]: 7 x 7 for boxes, 14 x 14 for masks on a pyramid."""
        attributes = self.for_others if others else self.for_boxes
        x = pyramid_roi_align(boxes, features, attributes).flatten(0, 1)
        return x if self.last_stage is None else self.last_stage(x)


class BoxHead(nn.Module):
    """Class scores and a box for each class, and the best of them."""

    def __init__(self, spec: RcnnSpec) -> None:
        super().__init__()
        self.spec = spec
        channels = 256 if spec.pyramid else 2048
        self.convs = _convs(channels, 256, spec.box_convs)
        sizes = [channels * 49 if spec.box_fcs else channels] + [WIDE] * spec.box_fcs
        self.fcs = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.scores = nn.Linear(sizes[-1], spec.classes + 1)  # the background is last
        self.deltas = nn.Linear(sizes[-1], 4 * spec.classes)
        pairs = spec.rpn_after * spec.classes
        candidates = max(spec.detections, min(CANDIDATES, pairs))
        self.attributes = NmsAttributes(NMS_IOU, spec.score_threshold, candidates, spec.detections)

    def forward(
        self, regions: Tensor, boxes: Tensor, meant: Tensor, size: Tensor
    ) -> tuple[Tensor, ...]:
        """Detections of a picture.

        Args:
            regions: [R, C, 7, 7].
            boxes: float32 [1, R, 4], the proposals.
            meant: bool [1, R], those that are any.
            size: float32 [2], height and width of the picture.

        Returns:
            Boxes [K, 4], scores [K], classes int32 [K] and how many are real, int32 [1].
        """
        x = regions
        for conv in self.convs:
            x = torch.relu(conv(x))
        x = x.flatten(1) if self.spec.box_fcs else x.mean((2, 3))
        for layer in self.fcs:
            x = torch.relu(layer(x))
        scores = torch.softmax(self.scores(x).float(), -1)[:, :-1]
        deltas = self.deltas(x).float().reshape(-1, self.spec.classes, 4)
        found = clip(decode(boxes[0, :, None], deltas, BOX_WEIGHTS), size)
        dropped = smaller(found, self.spec.rules.box_smallest) | ~meant[0, :, None]
        scores = torch.where(dropped, -1.0, scores)
        boxes, scores, classes, _, count = batched_nms(found[None], scores[None], self.attributes)
        return boxes[0], scores[0], classes[0], count


class MaskHead(nn.Module):
    """A small mask for the class that was found; no other class's mask is computed."""

    def __init__(self, spec: RcnnSpec) -> None:
        super().__init__()
        self.specific = spec.masks == "class"
        channels = 256 if spec.pyramid else 2048
        self.convs = _convs(channels, 256, spec.mask_convs)
        # A 2 x 2 transposed convolution of stride 2: of each cell, 256 channels for four places.
        self.up = nn.Linear(256 if spec.mask_convs else channels, 4 * 256)
        self.logits = nn.Linear(256, spec.classes if self.specific else 1)

    def forward(self, regions: Tensor, classes: Tensor) -> Tensor:
        """Probabilities [n, S, S] from regions [n, C, S / 2, S / 2] and classes int32 [n]."""
        x = regions
        for conv in self.convs:
            x = torch.relu(conv(x))
        half = x.shape[2]
        # Cells as rows of one matrix: this is the quickest form of it everywhere.
        x = torch.relu(self.up(x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])))
        x = x.reshape(-1, 4 * half * half, 256)
        if not self.specific:
            classes = torch.zeros_like(classes)
        weight = F.embedding(classes.long(), self.logits.weight)
        bias = F.embedding(classes.long(), self.logits.bias[:, None])
        logits = torch.matmul(x, weight[:, :, None])[..., 0] + bias
        # The four places go between the cells: only the one channel that is left is moved.
        masks = torch.sigmoid(logits.float()).reshape(-1, half, half, 2, 2)
        return masks.permute(0, 1, 3, 2, 4).reshape(-1, 2 * half, 2 * half)


class KeypointHead(nn.Module):
    """A heat map for each keypoint (Mask R-CNN, section 5)."""

    def __init__(self, spec: RcnnSpec) -> None:
        super().__init__()
        self.convs = _convs(256, 512, 8)
        self.up = nn.ConvTranspose2d(512, spec.keypoints, 4, 2, padding=1)

    def forward(self, regions: Tensor) -> Tensor:
        """Logits [n, keypoints, 56, 56] from regions [n, 256, 14, 14]."""
        x = regions
        for conv in self.convs:
            x = torch.relu(conv(x))
        return F.interpolate(self.up(x), scale_factor=2.0, mode="bilinear", align_corners=False)
