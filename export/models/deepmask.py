"""DeepMask: one class, three published forms, and a small one for the demo.

Pinheiro, Collobert, Dollar: Learning to Segment Object Candidates (NIPS 2015, arXiv 1506.06204),
and the research code released in 2016. A DeepMask sees a patch and answers with a mask of the
object in its middle and a score of there being one.

Every fully connected layer over a patch is written as a convolution whose kernel is the patch's
whole feature map. A patch then gives a 1 x 1 map and a picture gives a map of windows, 16 pixels
apart, from the same weights and the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.models import trunks

STRIDE = 16


def octaves(first: float, last: float, step: float = 0.5) -> tuple[float, ...]:
    """Scales 2^first ... 2^last in steps of 2^step."""
    count = round((last - first) / step) + 1
    return tuple(2.0 ** (first + step * k) for k in range(count))


@dataclass(frozen=True)
class DeepMaskSpec:
    """The sizes of one DeepMask, all in pixels of its own input.

    Attributes:
        name: what `to_onnx.py` calls it.
        patch: side of the window that a mask covers.
        object_size: longest side of an object as the window wants it.
        margin: context around a training patch; trimmed from the features, so that a patch's
            features do not see the border. A multiple of the stride.
        scales: the pyramid, as factors on the picture's size.
        resize: how pictures are made smaller: "bilinear" (2016) or "area".
        mask_threshold: probability above which a pixel belongs to the object.
        target: side of the masks that training compares with.
        mask_size: side of the mask that comes out.
        score_threshold, mask_nms, top: what the card gives as defaults. The published nets are
            proposers: the best 500, overlapping or not (2016 release).
    """

    name: str
    patch: int
    object_size: int
    margin: int
    scales: tuple[float, ...]
    resize: str
    mask_threshold: float
    target: int
    mask_size: int = 56
    score_threshold: float = 0.0
    mask_nms: float = 1.0
    top: int = 500
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def cells(self) -> int:
        """Side of the patch's feature map."""
        return self.patch // STRIDE


class DeepMask(nn.Module):
    """Trunk, mask head and score head.

    Args:
        spec: sizes.
        trunk: [B, 3, H, W] normalized pictures to features of stride 16.
        mask_base: features to the map that a mask is computed from. In the 2015 nets this works
            a cell at a time; in the 2016 net it is the embedding that both heads share.
        mask_head: the rest of the mask; its first layer's kernel is `mask_kernel`.
        score_head: the score from the features (2015) or from the shared embedding (2016).
        pooled: True for the 2015 score head, which begins with a 2 x 2 max-pool.
    """

    def __init__(
        self,
        spec: DeepMaskSpec,
        *,
        trunk: nn.Module,
        mask_base: nn.Module,
        mask_head: nn.Sequential,
        score_head: nn.Sequential,
        pooled: bool,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = trunk
        self.mask_base = mask_base
        self.mask_head = mask_head
        self.score_head = score_head
        self.pooled = pooled

    @property
    def mask_kernel(self) -> int:
        """Side of the square of `mask_base` cells that one window's mask is computed from."""
        first = self.mask_head[0]
        assert isinstance(first, nn.Conv2d)
        return first.kernel_size[0]

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Masks and scores of patches, as in training.

        Args:
            patches: float [B, 3, patch + 2 * m, ...] normalized; m is a multiple of 16, and the
                window is the middle `patch` pixels.

        Returns:
            Mask logits [B, mask_size, mask_size] and score logits [B].
        """
        features = self.trunk(patches)
        trim = (features.shape[-1] - self.spec.cells) // 2
        if trim:
            features = features[..., trim:-trim, trim:-trim]
        base = self.mask_base(features)
        size = self.spec.mask_size
        masks = self.mask_head(base).reshape(-1, size, size)
        return masks, self._scores_literal(features, base).reshape(-1)

    def score_map(self, features: Tensor, base: Tensor) -> Tensor:
        """Score logits of every window [B, rows, columns], 16 pixels apart.

        The 2015 head's 2 x 2 max-pool of stride 2 would leave one window in 32 pixels. Pooling
        with stride 1 and reading the next layer's inputs two cells apart gives what pooling at
        all four shifts and interleaving would (OverFeat, section 3.3): in
        element 2a + p, tap u reads pool output 2(a + u) + p = (2a + p) + 2u.
        """
        if not self.pooled:
            return self.score_head(base)[:, 0]
        first = self.score_head[0]
        assert isinstance(first, nn.Conv2d)
        pooled = F.max_pool2d(features, 2, stride=1)
        x = F.conv2d(pooled, first.weight, first.bias, dilation=2)
        return self.score_head[1:](x)[:, 0]

    def score_map_interleaved(self, features: Tensor, base: Tensor) -> Tensor:
        """`score_map` in OverFeat's literal form: pool at four shifts, run, interleave."""
        if not self.pooled:
            return self._scores_literal(features, base)
        rows, columns = (n - self.spec.cells + 1 for n in features.shape[-2:])
        scores = features.new_zeros(features.shape[0], rows, columns)
        for p in range(min(2, rows)):
            for q in range(min(2, columns)):
                scores[:, p::2, q::2] = self._scores_literal(features[..., p:, q:], base)
        return scores

    def _scores_literal(self, features: Tensor, base: Tensor) -> Tensor:
        x = F.max_pool2d(features, 2) if self.pooled else base
        return self.score_head(x)[:, 0]


def _heads_2015(
    channels: int, cells: int, widths: tuple[int, int, int], mask: int, low_rank: bool = True
) -> dict[str, nn.Module]:
    """The paper's heads (sections 3.1 and 3.2); `widths`: mask stem, low rank, last score layer."""
    stem, rank, last = widths
    mask_head = (
        # No non-linearity between the two: together they are one low-rank layer.
        nn.Sequential(nn.Conv2d(stem, rank, cells), nn.Conv2d(rank, mask * mask, 1))
        if low_rank
        else nn.Sequential(nn.Conv2d(stem, mask * mask, cells))
    )
    return {
        "mask_base": nn.Sequential(nn.Conv2d(channels, stem, 1), nn.ReLU(inplace=True)),
        "mask_head": mask_head,
        "score_head": nn.Sequential(
            nn.Conv2d(channels, rank, cells // 2),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Conv2d(rank, last, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Conv2d(last, 1, 1),
        ),
    }


def _vgg(name: str, *, low_rank: bool = True, scales: tuple[float, ...]) -> DeepMask:
    spec = DeepMaskSpec(
        name, patch=224, object_size=128, margin=0, scales=scales, resize="bilinear",
        mask_threshold=0.2, target=224,
    )  # fmt: skip
    heads = _heads_2015(512, spec.cells, (512, 512, 1024), spec.mask_size, low_rank)
    return DeepMask(spec, trunk=trunks.vgg_a(), pooled=True, **heads)  # type: ignore[arg-type]


def deepmask_vgg() -> DeepMask:
    """The 2015 net: VGG-A, 224 pixel patches, about 75 M parameters."""
    return _vgg("deepmask_vgg", scales=octaves(-2, 1))


def deepmask_vgg_zoom() -> DeepMask:
    """DeepMaskZoom: the 2015 net with one more scale at the fine end, for smaller objects."""
    return _vgg("deepmask_vgg_zoom", scales=octaves(-2, 1.5))


def deepmask_vgg_full() -> DeepMask:
    """DeepMaskFull: one fully connected layer in place of the low-rank pair, over 300 M."""
    return _vgg("deepmask_vgg_full", low_rank=False, scales=octaves(-2, 1))


def deepmask_resnet50() -> DeepMask:
    """The net released in 2016: ResNet-50, 160 pixel patches, both heads on one embedding."""
    spec = DeepMaskSpec(
        "deepmask_resnet50", patch=160, object_size=92, margin=16, scales=octaves(-2.5, 0.5),
        resize="bilinear", mask_threshold=0.2, target=112,
    )  # fmt: skip
    return DeepMask(
        spec,
        trunk=trunks.resnet50_conv4(),
        mask_base=nn.Sequential(
            nn.Conv2d(1024, 128, 1), nn.ReLU(inplace=True), nn.Conv2d(128, 512, spec.cells)
        ),
        mask_head=nn.Sequential(nn.Conv2d(512, spec.mask_size**2, 1)),
        score_head=nn.Sequential(
            nn.Dropout(0.5),
            nn.Conv2d(512, 1024, 1),
            nn.Threshold(0, 1e-6),
            nn.Dropout(0.5),
            nn.Conv2d(1024, 1, 1),
        ),
        pooled=False,
    )


def deepmask_small() -> DeepMask:
    """The demo's net: 1.8 M parameters, 128 pixel patches, the 2015 heads made narrow."""
    spec = DeepMaskSpec(
        "deepmask_small", patch=128, object_size=73, margin=16, scales=octaves(-2, 1.5),
        resize="area", mask_threshold=0.5, target=112,
        # 0.75 is where precision and recall balance on drawn scenes that it was not trained on.
        score_threshold=0.75, mask_nms=0.5, top=100,
    )  # fmt: skip
    heads = _heads_2015(128, spec.cells, (64, 128, 256), spec.mask_size)
    return DeepMask(spec, trunk=trunks.small(), pooled=True, **heads)  # type: ignore[arg-type]


MODELS: dict[str, Callable[[], DeepMask]] = {
    build.__name__: build
    for build in (
        deepmask_vgg,
        deepmask_vgg_zoom,
        deepmask_vgg_full,
        deepmask_resnet50,
        deepmask_small,
    )
}


def normalize(pictures: Tensor, spec: DeepMaskSpec) -> Tensor:
    """RGB [B, 3, H, W] in 0 ... 255 to what the trunk was trained on."""
    mean = torch.tensor(spec.mean, device=pictures.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(spec.std, device=pictures.device).view(1, 3, 1, 1) * 255
    return (pictures.float() - mean) / std
