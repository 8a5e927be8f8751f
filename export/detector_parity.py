"""A two-stage network through two of its forms: which detections are the same, and how near."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from engine import Segmenter
from engine.agreement import Agreement, agreement
from engine.backends import Tensors
from engine.backends.fake import FakeBackend
from engine.card import InstanceCard
from engine.errors import ModelError
from engine.picture import Picture

if TYPE_CHECKING:
    from export.models.rcnn.model import Rcnn

SMALL_MASK = 100
"""Pixels; of masks that are smaller one pixel is a large share."""


@dataclass(frozen=True)
class DetectorParity:
    """The report on one picture."""

    found: Agreement

    def table(self, reference: str, other: str) -> Table:
        """For the terminal."""
        table = Table(title=f"{other} against {reference}")
        for column in ("detections", "same", "max box diff", "max score diff"):
            table.add_column(column, justify="right")
        row = [
            f"{self.found.expected} and {self.found.found}",
            str(len(self.found.pairs)),
            f"{self.found.boxes.max(initial=0):.1e} px",
            f"{self.found.scores.max(initial=0):.1e}",
        ]
        if len(self.found.masks):
            table.add_column("mean mask IoU", justify="right")
            row.append(f"{self.found.masks.mean():.5f}")
        if self.found.keypoints.size:
            table.add_column("median keypoint diff", justify="right")
            row.append(f"{np.median(self.found.keypoints):.1e} px")
        table.add_row(*row)
        if not self.found.expected:
            table.caption = "nothing was found on it; give a picture with --picture"
        return table

    def require(self, *, matched: float, score: float, masks: float) -> None:
        """Refuse a model that is too far off.

        Args:
            matched: least share of the detections that both have.
            score: largest difference of a score, at 99 of 100 detections.
            masks: least mean IoU of the masks.

        Raises:
            ModelError: says by how much.
        """
        found = self.found
        apart = float(np.percentile(found.scores, 99)) if len(found.scores) else 0.0
        large = found.masks[found.areas > SMALL_MASK]
        iou = float(large.mean()) if len(large) else 1.0
        if found.matched < matched or apart > score or iou < masks:
            raise ModelError(
                f"the two models differ: {found.matched:.1%} of the detections are the same (at "
                f"least {matched:.1%} is right), scores by {apart:.2g} (at most {score:g}), masks "
                f"with a mean IoU of {iou:.4f} (at least {masks:g}); do not use the file"
            )


def compare_detections(reference: Segmenter, other: Segmenter, picture: Picture) -> DetectorParity:
    """Run both on a picture, as an application would.

    Args:
        reference: what is right.
        other: what is compared with it.
        picture: uint8 [H, W, 3], BGR.
    """
    return DetectorParity(agreement(reference(picture), other(picture)))


def torch_segmenter(model: Rcnn, card: InstanceCard) -> Segmenter:
    """The network computed by PyTorch, its picture prepared by PyTorch too."""
    import torch
    import torch.nn.functional as F

    spec = model.spec

    def answer(inputs: Tensors) -> Tensors:
        size = torch.from_numpy(inputs["size"])
        pixels = torch.from_numpy(np.ascontiguousarray(inputs["picture"])).float()
        x = (pixels - torch.tensor(spec.rules.mean)).permute(2, 0, 1)[None]
        height, width = size.tolist()
        if card.canvas:
            x = F.pad(x[..., :height, :width], (0, x.shape[3] - width, 0, x.shape[2] - height))
        else:
            if card.framework == "torchvision":
                x = F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
            x = F.pad(x, (0, -x.shape[3] % spec.multiple, 0, -x.shape[2] % spec.multiple))
        with torch.inference_mode():
            found = model(x, size)._asdict()
        return {name: value.numpy() for name, value in found.items() if value is not None}

    return Segmenter(FakeBackend(card, answer))
