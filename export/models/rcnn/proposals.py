"""The region proposal network: features to the boxes that may hold something.

Ren et al. 2015; over a pyramid, Lin et al. 2017, section 4.1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.models.rcnn.boxes import RATIOS, cell_anchors, clip, decode, smaller
from export.models.rcnn.spec import RcnnSpec
from export.operators import batched_nms
from plugins.nms.op import NmsAttributes

NMS_IOU = 0.7
SIZES = (32, 64, 128, 256, 512)
LOWEST = -3.0e38
"""Below every logit: a candidate that is none."""


class Proposals(nn.Module):
    """Objectness and deltas of every anchor, the best of each level, and NMS within the level."""

    def __init__(self, spec: RcnnSpec, channels: int) -> None:
        super().__init__()
        self.spec = spec
        self.sizes = [(size,) for size in SIZES] if spec.pyramid else [SIZES]
        self.strides = (4, 8, 16, 32, 64) if spec.pyramid else (16,)
        count = len(self.sizes[0]) * len(RATIOS)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(spec.rpn_convs)
        )
        self.objectness = nn.Conv2d(channels, count, 1)
        self.deltas = nn.Conv2d(channels, 4 * count, 1)
        self.attributes = NmsAttributes(NMS_IOU, LOWEST, spec.rpn_before, spec.rpn_before)

    def forward(
        self, features: list[Tensor], canvas: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The best boxes of a picture.

        Args:
            features: [1, C, h, w] of each level, finest first.
            canvas: [1, 3, H, W], what the features were computed from.
            size: float32 [2], height and width of the picture in it.

        Returns:
            float32 [1, R, 4], and bool [1, R], which of them are meant.
        """
        found = [
            self._level(level, stride, sizes, canvas, size)
            for level, stride, sizes in zip(features, self.strides, self.sizes, strict=True)
        ]
        # Boxes of different levels do not suppress each other: a level is a picture to NMS.
        boxes, scores = (torch.stack(parts) for parts in zip(*found, strict=True))
        boxes, scores, classes, _, _ = batched_nms(boxes, scores[..., None], self.attributes)
        scores = torch.where(classes >= 0, scores, LOWEST).flatten()
        best, order = torch.topk(scores, self.spec.rpn_after)
        return F.embedding(order, boxes.flatten(0, 1))[None], (best > LOWEST)[None]

    def _level(
        self, x: Tensor, stride: int, sizes: tuple[int, ...], canvas: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The best boxes [K, 4] of a level and their scores [K], before NMS."""
        rules, wanted = self.spec.rules, self.spec.rpn_before
        height, width = x.shape[-2:]
        stride_y = stride_x = stride
        if rules.measured_strides:
            stride_y, stride_x = canvas.shape[-2] // height, canvas.shape[-1] // width
        for conv in self.convs:
            x = torch.relu(conv(x))
        anchors = cell_anchors(sizes, rounded=rules.rounded_anchors)
        count = len(anchors)
        logits = self.objectness(x)[0].permute(1, 2, 0).flatten()
        # A level of fewer anchors is filled up.
        logits = torch.cat([logits, logits.new_full((wanted,), LOWEST)])
        best, order = torch.topk(logits, wanted)
        order = torch.where(best > LOWEST, order, 0)
        deltas = self.deltas(x)[0].permute(1, 2, 0).reshape(-1, 4)
        cell = torch.div(order, count, rounding_mode="floor")
        row = torch.div(cell, width, rounding_mode="floor")
        column = cell - row * width
        place = torch.stack([column * stride_x, row * stride_y] * 2, -1).float()
        boxes = decode(
            place + F.embedding(order - cell * count, anchors), F.embedding(order, deltas),
            (1.0, 1.0, 1.0, 1.0),
        )  # fmt: skip
        boxes = clip(boxes, size)
        unwanted = smaller(boxes, rules.rpn_smallest) | (best <= LOWEST)
        scores = torch.sigmoid(best) if rules.ranks_probabilities else best
        return boxes, torch.where(unwanted, LOWEST, scores)
