"""ResNets and the feature pyramid: pictures [1, 3, H, W] to features of strides 4 to 64.

He et al. 2016; Xie et al. 2017 (ResNeXt); Lin et al. 2017 (Feature Pyramid Networks). Every
convolution has a bias: batch norms are folded into them when a checkpoint is read.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.models.rcnn.spec import RcnnSpec

PYRAMID_CHANNELS = 256


class Block(nn.Module):
    """A bottleneck: 1 x 1, 3 x 3, 1 x 1, and the shortcut."""

    def __init__(
        self, channels: int, inner: int, out: int, stride: int, groups: int, *, stride_first: bool
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_first else (1, stride)
        self.conv1 = nn.Conv2d(channels, inner, 1, first)
        self.conv2 = nn.Conv2d(inner, inner, 3, second, padding=1, groups=groups)
        self.conv3 = nn.Conv2d(inner, out, 1)
        self.shortcut = nn.Conv2d(channels, out, 1, stride) if channels != out else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to [B, out, H / stride, W / stride]."""
        y = torch.relu(self.conv1(x))
        y = torch.relu(self.conv2(y))
        kept = x if self.shortcut is None else self.shortcut(x)
        return torch.relu(self.conv3(y) + kept)


def stage(spec: RcnnSpec, number: int) -> nn.Sequential:
    """Stage `number`, 0 to 3, of a network's ResNet: 256, 512, 1024 or 2048 channels."""
    out, inner = 256 << number, spec.width << number
    channels = 64 if number == 0 else out // 2
    blocks = []
    for k in range(spec.blocks[number]):
        stride = 2 if k == 0 and number > 0 else 1
        first = spec.rules.stride_in_1x1
        blocks.append(Block(channels, inner, out, stride, spec.groups, stride_first=first))
        channels = out
    return nn.Sequential(*blocks)


class ResNet(nn.Module):
    """The stem and so many stages."""

    def __init__(self, spec: RcnnSpec, stages: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 7, 2, padding=3)
        self.stages = nn.ModuleList(stage(spec, k) for k in range(stages))

    def forward(self, x: Tensor) -> list[Tensor]:
        """What each stage gives, strides 4, 8, 16 and 32."""
        x = F.max_pool2d(torch.relu(self.stem(x)), 3, 2, padding=1)
        found = []
        for layers in self.stages:
            x = layers(x)
            found.append(x)
        return found


class Pyramid(nn.Module):
    """P2 to P6: top-down sums; P6, for proposals alone, is every second cell of P5."""

    def __init__(self, channels: Sequence[int] = (256, 512, 1024, 2048)) -> None:
        super().__init__()
        self.inner = nn.ModuleList(nn.Conv2d(c, PYRAMID_CHANNELS, 1) for c in channels)
        self.outer = nn.ModuleList(
            nn.Conv2d(PYRAMID_CHANNELS, PYRAMID_CHANNELS, 3, padding=1) for _ in channels
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Of each stage's features, finest first, [1, 256, h, w] and one level more."""
        x = self.inner[-1](features[-1])
        found = [self.outer[-1](x)]
        for k in range(len(features) - 2, -1, -1):
            # The input's sides are multiples of 32, so each level is exactly twice the next.
            x = self.inner[k](features[k]) + F.interpolate(x, scale_factor=2.0, mode="nearest")
            found.insert(0, self.outer[k](x))
        return [*found, F.max_pool2d(found[-1], 1, 2)]
