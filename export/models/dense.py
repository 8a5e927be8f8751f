"""DeepMask over whole pictures as one graph: uint8 pixels in, the best windows' masks out.

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

from engine.tiling import EVERY_WINDOW
from export.models.deepmask import STRIDE, DeepMask, normalize
from export.models.rows import first_rows, pad_rows

GREY = 127.5
"""What surrounds the picture: 0.5 of the pixel range, before normalization (2016 release)."""


class Winners(NamedTuple):
    """The best windows of what a call was given.

    Attributes:
        scores: float32 [N], probabilities, falling.
        windows: int32 [N, 2], row and column; window (i, j) is centred at pixel (16 i, 16 j).
        masks: float32 [N, S, S] logits over the window.
        count: int32 [1], how many rows are meant; the rest is padding.
        piece: int32 [N], the number of the picture that a window is of.
    """

    scores: Tensor
    windows: Tensor
    masks: Tensor
    count: Tensor
    piece: Tensor


class _Windows(NamedTuple):
    """Every window of one picture.

    Attributes:
        scores: float32 [M]; -1 where a window does not take part.
        places: int64 [M, 4], row, column, the number of its first cell, and cells in a row.
        cells: [K, C], what masks are computed from, a row a cell; or all masks, [M, S * S].
    """

    scores: Tensor
    places: Tensor
    cells: Tensor


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

    def forward(
        self, pictures: list[Tensor], min_score: Tensor, owned: Tensor | None = None
    ) -> Winners:
        """Score every window of all pictures and compute the winners' masks.

        Each picture has its own border, and its layers see nothing of the others: they only share
        the ranking, and one pass of the mask head.

        Args:
            pictures: uint8 [H, W, 3] each, BGR; levels of a pyramid, or tiles of them.
            min_score: float32 [1]; windows that score lower are not counted.
            owned: int32 [4 * len(pictures)], of each the first row, the row behind the last one,
                and the same of the columns, of the windows that take part. None for all.
        """
        if owned is None:
            owned = torch.tensor(EVERY_WINDOW).repeat(len(pictures))
        found = [self._windows(*some) for some in zip(pictures, owned.split(4), strict=True)]
        scores, order = self._top(torch.cat([some.scores for some in found]))
        count = (scores >= min_score).sum(dtype=torch.int32).reshape(1)
        places = []
        cells_before: int | Tensor = 0
        for k, some in enumerate(found):
            row, column, cell, width = some.places.unbind(1)
            piece = torch.full_like(row, k)
            places.append(torch.stack([row, column, cell + cells_before, width, piece], 1))
            cells_before = cells_before + some.cells.shape[0]
        best = torch.cat(places).index_select(0, order)
        cells = torch.cat([some.cells for some in found])
        if self.every_mask:
            masks = F.embedding(order, cells)
        else:
            masks = self._masks(cells, first_rows(best, count))
        size = self.model.spec.mask_size
        masks = pad_rows(masks.float(), best).reshape(self.proposals, size, size)
        return Winners(scores, best[:, :2].int(), masks, count, best[:, 4].int())

    def _windows(self, picture: Tensor, owned: Tensor) -> _Windows:
        # The cast comes first: TensorRT knows no other operator on uint8.
        x = picture.float().permute(2, 0, 1)[None].flip(1)
        x = F.pad(x, (self.model.spec.patch // 2,) * 4, value=GREY)
        features = self.model.trunk(normalize(x, self.model.spec))
        base = self.model.mask_base(features)
        logits = self.model.score_map(features, base)[0]
        row, column = (torch.arange(n) for n in logits.shape)
        inside = ((row >= owned[0]) & (row < owned[1]))[:, None]
        inside = inside & (column >= owned[2]) & (column < owned[3])
        scores = torch.where(inside, torch.sigmoid(logits.float()), -1.0)
        row, column = (n.flatten() for n in torch.meshgrid(row, column, indexing="ij"))
        width = base.shape[-1]
        places = torch.stack([row, column, row * width + column, torch.full_like(row, width)], 1)
        of_masks = self.model.mask_head(base) if self.every_mask else base
        return _Windows(scores.flatten(), places, of_masks[0].flatten(1).t())

    def _top(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The N best of [M] and their places; where there are fewer, filled up with -1."""
        filled = torch.cat([scores, scores.new_full((self.proposals,), -1.0)])
        best, order = torch.topk(filled, self.proposals)
        return best, torch.where(best < 0, 0, order)

    def _masks(self, cells: Tensor, places: Tensor) -> Tensor:
        """Mask logits [n, S * S] of n windows at `places` [n, 5]."""
        step = torch.arange(self.model.mask_kernel)
        inside = (places[:, 3, None, None] * step[:, None] + step).flatten(1)
        # A plain ONNX Gather.
        x = F.embedding(places[:, 2, None] + inside, cells).flatten(1)
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
