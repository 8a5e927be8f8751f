"""torchvision's detection checkpoints: which network the keys are of, and its layers' names.

Both spellings are read: that of the published files, and what torchvision writes since 0.13.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.errors import ModelError
from engine.files import sha256_of
from export.checkpoints.assemble import Layer, assemble, count, family, take_in_std, trunk
from export.models.rcnn.model import Rcnn
from export.models.rcnn.spec import TORCHVISION, RcnnSpec

MARK = "roi_heads.box_predictor.cls_score.weight"
EPS = 1e-5
# The first published files were trained with an epsilon of zero, and torchvision sets it for them
# alone: by the first eight digits of their SHA-256, which are in their names.
WITHOUT_EPS = ("bf2d0c1e", "258fb6c6", "fc266e95", "9f43e321")
OLD = (
    (r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2"),
    (r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1"),
)


def recognizes(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the keys of one of torchvision's R-CNNs."""
    return MARK in weights and any(k.startswith("backbone.body.") for k in weights)


def load(weights: Mapping[str, Tensor], path: Path, **limits: Any) -> Rcnn:
    """The network that a checkpoint holds.

    Args:
        weights: its state dict.
        path: the file, for messages.
        limits: fields of the spec that a user may choose.

    Raises:
        ModelError: another backbone than a ResNet, or keys that do not fit.
    """
    weights = {_new(key): value for key, value in weights.items()}
    weights = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    spec = replace(_spec(weights, path), **limits)
    model = Rcnn(spec).eval()
    eps = 0.0 if sha256_of(path).startswith(WITHOUT_EPS) else EPS
    assemble(model, weights, _layers(spec, weights), eps, path)
    # It saw RGB, and a picture here is BGR.
    stem = model.backbone.stem.weight
    stem.data = stem.data.flip(1)
    take_in_std(model)
    return model


def _new(key: str) -> str:
    for old, new in OLD:
        key = re.sub(old, new, key)
    return re.sub(
        r"^roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)$",
        lambda m: f"roi_heads.mask_head.{int(m[1]) - 1}.0.{m[2]}",
        key,
    )


def _spec(weights: Mapping[str, Tensor], path: Path) -> RcnnSpec:
    first, grouped = (weights.get(f"backbone.body.layer1.0.conv{k}.weight") for k in (1, 2))
    if first is None or grouped is None:
        raise ModelError(
            f"{path} is a torchvision detector with another backbone than a ResNet; MaskRT knows "
            "those with ResNet-50, ResNet-101 and ResNeXt-101 alone"
        )
    blocks = tuple(
        count(weights, rf"backbone\.body\.layer{s}\.(\d+)\.conv1\.weight") for s in range(1, 5)
    )
    width = first.shape[0]
    keypoints = weights.get("roi_heads.keypoint_predictor.kps_score_lowres.weight")
    masks = weights.get("roi_heads.mask_predictor.mask_fcn_logits.weight")
    second = "roi_heads.box_head.0.0.weight" in weights
    kind = family(masks=masks is not None, keypoints=keypoints is not None)
    return RcnnSpec(
        name=f"{kind}_{trunk(width, blocks)}_fpn{'_v2' if second else ''}",
        rules=TORCHVISION,
        classes=weights[MARK].shape[0] - 1,
        blocks=blocks,  # type: ignore[arg-type]
        groups=width // grouped.shape[1],
        width=width,
        rpn_convs=count(weights, r"rpn\.head\.conv\.(\d+)\.0\.weight"),
        box_convs=count(weights, r"roi_heads\.box_head\.(\d+)\.0\.weight"),
        box_fcs=1 if second else 2,
        masks="none" if masks is None else "agnostic" if masks.shape[0] == 1 else "class",
        mask_convs=count(weights, r"roi_heads\.mask_head\.(\d+)\.0\.weight"),
        keypoints=0 if keypoints is None else keypoints.shape[1],
    )


def _layers(spec: RcnnSpec, weights: Mapping[str, Tensor]) -> Iterator[Layer]:
    def conv(ours: str, theirs: str) -> Layer:
        """A Conv2dNormActivation: the convolution is its 0, the norm, where there is one, its 1."""
        normed = f"{theirs}.1.running_var" in weights
        return Layer(ours, f"{theirs}.0", f"{theirs}.1" if normed else None)

    body = "backbone.body"
    yield Layer("backbone.stem", f"{body}.conv1", f"{body}.bn1")
    for s, blocks in enumerate(spec.blocks):
        for b in range(blocks):
            ours, theirs = f"backbone.stages.{s}.{b}", f"{body}.layer{s + 1}.{b}"
            for k in (1, 2, 3):
                yield Layer(f"{ours}.conv{k}", f"{theirs}.conv{k}", f"{theirs}.bn{k}")
        first = f"{body}.layer{s + 1}.0.downsample"
        yield Layer(f"backbone.stages.{s}.0.shortcut", f"{first}.0", f"{first}.1")
    for k in range(4):
        yield conv(f"pyramid.inner.{k}", f"backbone.fpn.inner_blocks.{k}")
        yield conv(f"pyramid.outer.{k}", f"backbone.fpn.layer_blocks.{k}")
    for k in range(spec.rpn_convs):
        yield conv(f"proposals.convs.{k}", f"rpn.head.conv.{k}")
    yield Layer("proposals.objectness", "rpn.head.cls_logits")
    yield Layer("proposals.deltas", "rpn.head.bbox_pred")
    head = "roi_heads.box_head"
    for k in range(spec.box_convs):
        yield conv(f"box.convs.{k}", f"{head}.{k}")
    names = ["fc6", "fc7"] if spec.box_fcs == 2 else [str(spec.box_convs + 1)]
    for k, name in enumerate(names):
        yield Layer(f"box.fcs.{k}", f"{head}.{name}")
    predictor = "roi_heads.box_predictor"
    yield Layer("box.scores", f"{predictor}.cls_score", rows="background first")
    yield Layer("box.deltas", f"{predictor}.bbox_pred", rows="without background", each=4)
    if spec.masks != "none":
        for k in range(spec.mask_convs):
            yield conv(f"mask.convs.{k}", f"roi_heads.mask_head.{k}")
        yield Layer("mask.up", "roi_heads.mask_predictor.conv5_mask", rows="2 x 2")
        rows = "without background" if spec.masks == "class" else "all"
        yield Layer("mask.logits", "roi_heads.mask_predictor.mask_fcn_logits", rows=rows)
    if spec.keypoints:
        for k in range(8):
            yield Layer(f"keypoint.convs.{k}", f"roi_heads.keypoint_head.{2 * k}")
        yield Layer("keypoint.up", "roi_heads.keypoint_predictor.kps_score_lowres")
