"""The convolutional trunks under DeepMask: pictures [B, 3, H, W] to features of stride 16.

VGG-A: Simonyan and Zisserman 2015, table 1, column A. ResNet-50: He et al. 2016, table 1, as
fb.resnet.torch trained it (the stride sits in the 3 x 3 convolution).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def vgg_a() -> nn.Sequential:
    """VGG-A's eight 3 x 3 convolutions with four of its five max-pools: 512 channels.

    The last pool is dropped, so a 224 x 224 patch gives 14 x 14 (DeepMask 2015, section 3.1).
    Convolutions pad with zeros.
    """
    layers: list[nn.Module] = []
    channels = 3
    for width in (64, None, 128, None, 256, 256, None, 512, 512, None, 512, 512):
        if width is None:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*layers)


def small() -> nn.Sequential:
    """A 0.5 M parameter trunk in VGG's manner with batch normalization: 128 channels.

    Ours, for the demo: the first convolution has stride 2 in the place of a pool.
    """
    layers: list[nn.Module] = []
    channels = 3
    plan = (16, 32, None, 64, 64, None, 96, 96, None, 128, 128)
    for depth, width in enumerate(plan):
        if width is None:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [
                nn.Conv2d(channels, width, 3, stride=2 if depth == 0 else 1, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
    return nn.Sequential(*layers)


class SymmetricPad(nn.Module):
    """Mirror the border, edge pixel included: cba|abcd|dcb (what the 2016 release pads with)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Pad [B, C, H, W] by `width` on every side."""
        if self.width == 1:  # then it is the edge repeated, which ONNX has an operator for
            return F.pad(x, (1, 1, 1, 1), mode="replicate")
        for axis in (2, 3):
            first = [x.narrow(axis, k, 1) for k in reversed(range(self.width))]
            last = [x.narrow(axis, x.shape[axis] - 1 - k, 1) for k in range(self.width)]
            x = torch.cat([*first, x, *last], axis)
        return x


def _conv(channels: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution that pads symmetrically; its bias carries the folded batch norm."""
    conv = nn.Conv2d(channels, width, kernel, stride=stride)
    return nn.Sequential(SymmetricPad(kernel // 2), conv) if kernel > 1 else nn.Sequential(conv)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (with the stride), 1 x 1 to four times the width, and the shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, width, 1),
            nn.ReLU(inplace=True),
            _conv(width, width, 3, stride),
            nn.ReLU(inplace=True),
            _conv(width, 4 * width, 1),
        )
        same = stride == 1 and channels == 4 * width
        self.shortcut = nn.Identity() if same else _conv(channels, 4 * width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to [B, 4 * width, H / stride, W / stride]."""
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet50_conv4() -> nn.Sequential:
    """ResNet-50 up to conv4, batch norm folded, symmetric padding: 1024 channels."""
    layers: list[nn.Module] = [
        _conv(3, 64, 7, stride=2),
        nn.ReLU(inplace=True),
        # Mirroring one pixel repeats values that are in the window already, so that the pool's
        # own padding (with minus infinity) is the same function.
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    channels = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, stride if block == 0 else 1))
            channels = 4 * width
    return nn.Sequential(*layers)
