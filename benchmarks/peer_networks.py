"""torchvision's detectors with random weights that behave like trained ones.

Untouched random weights saturate: every probability is 1 or 1/91, all regions look alike, and ties
decide. So in one pass over a few pictures, layer after layer, outputs are centred and given the
spread that a trained network's have. A residual branch adds little to its shortcut; most regions
are background; masks and heat maps are blobs, not grain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "maskrcnn_resnet50_fpn": detection.maskrcnn_resnet50_fpn,
    "maskrcnn_resnet50_fpn_v2": detection.maskrcnn_resnet50_fpn_v2,
    "fasterrcnn_resnet50_fpn": detection.fasterrcnn_resnet50_fpn,
    "keypointrcnn_resnet50_fpn": detection.keypointrcnn_resnet50_fpn,
    "maskrcnn_resnet101_fpn": lambda num_classes=91, **kwargs: detection.MaskRCNN(
        resnet_fpn_backbone(backbone_name="resnet101", weights=None, norm_layer=nn.BatchNorm2d),
        num_classes,
        **_without_weights(kwargs),
    ),
}
SPREADS = {  # standard deviation of what predictors say; other layers have 1
    "rpn.head.cls_logits": 2.0,
    "rpn.head.bbox_pred": 0.1,
    "roi_heads.box_predictor.cls_score": 2.0,
    "roi_heads.box_predictor.bbox_pred": 0.5,
    "roi_heads.mask_predictor.mask_fcn_logits": 2.0,
    "roi_heads.keypoint_predictor.kps_score_lowres": 2.0,
}
BRANCH = 0.1
"""Scale of a residual branch."""
OBJECTS = 0.05
"""Share of the regions that are no background."""


def _without_weights(options: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in options.items() if not key.startswith("weights")}


def to_tensor(picture: np.ndarray) -> Tensor:
    """What torchvision takes: float32 [3, H, W], RGB from 0 to 1, of uint8 [H, W, 3] BGR."""
    return (
        torch.from_numpy(np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1))).float() / 255
    )


@torch.no_grad()
def network(name: str, pictures: Sequence[np.ndarray], **options: object) -> nn.Module:
    """One of NETWORKS, settled on these pictures, evaluating."""
    torch.manual_seed(0)
    model = NETWORKS[name](weights=None, weights_backbone=None, **options).eval()
    settled: set[nn.Module] = set()  # a layer that serves several levels settles on the first
    hooks = []
    for key, layer in model.named_modules():
        if key.endswith("bn3"):
            layer.weight.fill_(BRANCH)
        if any(part in key for part in ("mask", "keypoint", "kps")) and hasattr(layer, "stride"):
            flat = layer.weight.mean((2, 3), keepdim=True)
            layer.weight.copy_(flat.expand_as(layer.weight))
        if hasattr(layer, "running_var"):
            hooks.append(layer.register_forward_pre_hook(_measure))
        elif getattr(layer, "bias", None) is not None:
            hooks.append(layer.register_forward_hook(_settle(key, settled)))
    model([to_tensor(picture) for picture in pictures])
    for hook in hooks:
        hook.remove()
    return model


def _measure(norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
    """Give a batch norm the statistics of what reaches it."""
    norm.running_mean.copy_(arguments[0].mean((0, 2, 3)))
    norm.running_var.copy_(arguments[0].var((0, 2, 3)) + 1e-3)


def _settle(key: str, settled: set[nn.Module]) -> Callable[..., Tensor | None]:
    """A hook that gives each output the mean 0 and all of them their standard deviation."""

    def hook(layer: nn.Module, _: object, output: Tensor) -> Tensor | None:
        if layer in settled:
            return None
        settled.add(layer)
        values = output.movedim(1, -1)
        mean = values.flatten(0, -2).mean(0)
        factor = SPREADS.get(key, 1.0) / float((values - mean).std())
        layer.weight.mul_(factor)
        layer.bias.copy_((layer.bias - mean) * factor)
        values = (values - mean) * factor
        if key.endswith("cls_score"):
            lead = values[:, 1:].max(1).values - values[:, 0]
            background = lead.quantile(1 - OBJECTS)
            layer.bias[0] += background
            values[:, 0] += background
        return values.movedim(-1, 1)

    return hook
