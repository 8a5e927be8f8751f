"""DeepMask over a whole picture as one graph: uint8 pixels in, the best windows' masks out.

Scores are computed for every window, masks for the winners alone: a mask is a function of the
features under its window, so computing it for N windows instead of all is the same function for a
fraction of the work (the dense mask head is most of the original's time).
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.models.deepmask import STRIDE, DeepMask, normalize
from export.models.rows import first_rows, pad_rows

GREY = 127.5
"""What surrounds the picture: 0.5 of the pixel range, before normalization (2016 release)."""


class Winners(NamedTuple):
    """The best windows of one picture at one scale.

    Attributes:
        scores: float32 [N], probabilities, falling.
        windows: int32 [N, 2], row and column; window (i, j) is centred at pixel (16 i, 16 j).
        masks: float32 [N, S, S] logits over the window.
        count: int32 [1], how many rows are meant; the rest is padding.
    """

    scores: Tensor
    windows: Tensor
    masks: Tensor
    count: Tensor


class DenseDeepMask(nn.Module):
    """A DeepMask as it is exported.

    Args:
        model: the network; it is copied, put into evaluation mode, its batch norms folded.
        proposals: N, the number of rows that come out.
        every_mask: compute the mask head at every window and pick the winners' afterwards, as
            the original does. Slower; kept to test and to measure against.
    """

    def __init__(self, model: DeepMask, proposals: int, *, every_mask: bool = False) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval()
        self.model.trunk = fold_batch_norms(self.model.trunk)
        self.mask_layers = nn.Sequential(*(_linear(layer) for layer in self.model.mask_head))
        self.proposals = proposals
        self.every_mask = every_mask

    def forward(self, picture: Tensor, min_score: Tensor, owned: Tensor | None = None) -> Winners:
        """Score every window and compute the winners' masks.

        Args:
            picture: uint8 [H, W, 3], BGR.
            min_score: float32 [1]; windows that score lower are not counted.
            owned: int32 [4], the first row, the row behind the last one, and the same of the
                columns, of the windows that take part: a tile's own ones. None for all.
        """
        # The cast comes first: TensorRT knows no other operator on uint8.
        x = picture.float().permute(2, 0, 1)[None].flip(1)
        x = F.pad(x, (self.model.spec.patch // 2,) * 4, value=GREY)
        features = self.model.trunk(normalize(x, self.model.spec))
        base = self.model.mask_base(features)
        logits = self.model.score_map(features, base)[0]

        columns = logits.shape[1]
        scores = torch.sigmoid(logits.float())
        if owned is not None:
            row, column = (torch.arange(n) for n in logits.shape)
            inside = ((row >= owned[0]) & (row < owned[1]))[:, None]
            inside = inside & (column >= owned[2]) & (column < owned[3])
            scores = torch.where(inside, scores, -1.0)
        scores, order = self._top(scores.flatten())
        count = (scores >= min_score).sum(dtype=torch.int32).reshape(1)
        row = torch.div(order, columns, rounding_mode="floor")
        # Not order % columns: torch 2.13 cannot export a remainder by a dynamic size.
        rows_columns = torch.stack([row, order - row * columns], 1)
        if self.every_mask:
            masks = F.embedding(order, self.model.mask_head(base)[0].flatten(1).t())
        else:
            masks = self._winners_masks(base, first_rows(rows_columns, count))
        size = self.model.spec.mask_size
        masks = pad_rows(masks.float(), rows_columns).reshape(self.proposals, size, size)
        return Winners(scores, rows_columns.int(), masks, count)

    def _top(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The N best of [M] and their places; a picture of fewer windows is filled up with -1."""
        filled = torch.cat([scores, scores.new_full((self.proposals,), -1.0)])
        best, order = torch.topk(filled, self.proposals)
        return best, torch.where(best < 0, 0, order)

    def _winners_masks(self, base: Tensor, windows: Tensor) -> Tensor:
        """Mask logits [n, S * S] of n windows (row, column) from [1, C, h, w]."""
        kernel, width = self.model.mask_kernel, base.shape[-1]
        cells = base[0].flatten(1).t()
        step = torch.arange(kernel)
        inside = (step[:, None] * width + step[None]).flatten()
        corner = windows[:, 0] * width + windows[:, 1]
        x = F.embedding(corner[:, None] + inside[None], cells).flatten(1)  # a plain ONNX Gather
        return self.mask_layers(x)


def _linear(layer: nn.Module) -> nn.Linear:
    """A convolution over a whole window as a matrix, its columns in the order row, column, channel.

    In that order a window's inputs are gathered as runs of whole channels.
    """
    assert isinstance(layer, nn.Conv2d)
    weight = layer.weight.detach().permute(0, 2, 3, 1).flatten(1)
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    linear.bias = layer.bias
    return linear


def fold_batch_norms(trunk: nn.Module) -> nn.Module:
    """Write every batch norm of a Sequential into the convolution before it."""
    if not isinstance(trunk, nn.Sequential):
        return trunk
    folded: list[nn.Module] = []
    for layer in trunk:
        if isinstance(layer, nn.BatchNorm2d) and folded and isinstance(folded[-1], nn.Conv2d):
            folded[-1] = nn.utils.fusion.fuse_conv_bn_eval(folded[-1], layer)
        else:
            folded.append(layer)
    return nn.Sequential(*folded)


def window_count(height: int, width: int) -> int:
    """How many windows a picture has: one for every 16 pixels, both ends included."""
    return (height // STRIDE + 1) * (width // STRIDE + 1)
