"""detectron2's checkpoints: which network the keys are of, and its layers' names.

Names: modeling/backbone/{resnet,fpn}.py, modeling/roi_heads/*.py; numbers: the zoo's configs. What
a key cannot say (where a block's stride is, the pixels' standard deviation) is as the zoo has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from export.checkpoints.assemble import Layer, assemble, count, family, take_in_std, trunk
from export.models.rcnn.model import Rcnn
from export.models.rcnn.spec import DETECTRON2, RcnnSpec, Rules

SCORES = "roi_heads.box_predictor.cls_score.weight"
MARK = "proposal_generator.rpn_head.objectness_logits.weight"
EPS = 1e-5
# The zoo's ResNeXt was pretrained by Caffe2 on scaled pixels; its ResNets by MSRA on plain ones.
RESNEXT_STD = (57.375, 57.120, 58.395)
# Buffers: constants of the configuration, or counters.
IGNORED = r"num_batches_tracked$|anchor_generator\.cell_anchors|^pixel_(mean|std)$"


def recognizes(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the keys of one of detectron2's R-CNNs."""
    return MARK in weights and SCORES in weights


def load(weights: Mapping[str, Tensor], path: Path, **limits: Any) -> Rcnn:
    """The network that a checkpoint holds.

    Args:
        weights: its state dict.
        path: the file, for messages.
        limits: fields of the spec that a user may choose.

    Raises:
        ModelError: keys or shapes that do not fit.
    """
    rules = _rules(weights)
    kept = {key: value for key, value in weights.items() if not re.search(IGNORED, key)}
    spec = replace(_spec(kept, rules), **limits)
    model = Rcnn(spec).eval()
    assemble(model, kept, _layers(spec, kept), EPS, path)
    take_in_std(model)
    return model


def _rules(weights: Mapping[str, Tensor]) -> Rules:
    """As the file's own pixel_mean and pixel_std say, where it has them, or as the zoo's."""
    rules = replace(DETECTRON2, std=RESNEXT_STD) if _groups(weights) > 1 else DETECTRON2
    for name, field in (("pixel_mean", "mean"), ("pixel_std", "std")):
        if name in weights and weights[name].numel() == 3:
            rules = replace(rules, **{field: tuple(weights[name].flatten().tolist())})
    # Backbones that were trained on scaled pixels are torch's or Caffe2's, with the stride in 3x3.
    return replace(rules, stride_in_1x1=rules.std == (1.0, 1.0, 1.0))


def _bottom(weights: Mapping[str, Tensor]) -> str:
    pyramid = any(key.startswith("backbone.fpn_") for key in weights)
    return "backbone.bottom_up" if pyramid else "backbone"


def _groups(weights: Mapping[str, Tensor]) -> int:
    first, second = (weights.get(f"{_bottom(weights)}.res2.0.conv{k}.weight") for k in (1, 2))
    if first is None or second is None or second.shape[1] == 0:
        return 1
    return max(1, first.shape[0] // second.shape[1])


def _spec(weights: Mapping[str, Tensor], rules: Rules) -> RcnnSpec:
    bottom = _bottom(weights)
    pyramid = bottom != "backbone"
    last = f"{bottom}.res5" if pyramid else "roi_heads.res5"
    stages = [f"{bottom}.res{s}" for s in (2, 3, 4)] + [last]
    blocks = tuple(count(weights, rf"{re.escape(name)}\.(\d+)\.conv1\.weight") for name in stages)
    first = weights.get(f"{bottom}.res2.0.conv1.weight")
    width = 64 if first is None else first.shape[0]
    keypoints = weights.get("roi_heads.keypoint_head.score_lowres.weight")
    masks = weights.get("roi_heads.mask_head.predictor.weight")
    kind = family(masks=masks is not None, keypoints=keypoints is not None)
    classes = weights[SCORES].shape[0] - 1
    # A class-agnostic mask of a one-class network is the same thing as its class's.
    agnostic = masks is not None and masks.shape[0] == 1 != classes
    return RcnnSpec(
        name=f"{kind}_{trunk(width, blocks)}_{'fpn' if pyramid else 'c4'}",
        rules=rules,
        classes=classes,
        blocks=blocks,  # type: ignore[arg-type]
        groups=_groups(weights),
        width=width,
        pyramid=pyramid,
        rpn_convs=max(1, count(weights, r"proposal_generator\.rpn_head\.conv\.conv(\d+)\.weight")),
        box_convs=count(weights, r"roi_heads\.box_head\.conv(\d+)\.weight"),
        box_fcs=count(weights, r"roi_heads\.box_head\.fc(\d+)\.weight"),
        masks="none" if masks is None else "agnostic" if agnostic else "class",
        mask_convs=count(weights, r"roi_heads\.mask_head\.mask_fcn(\d+)\.weight"),
        keypoints=0 if keypoints is None else keypoints.shape[1],
        rpn_before=1000 if pyramid else 6000,
    )


def _layers(spec: RcnnSpec, weights: Mapping[str, Tensor]) -> Iterator[Layer]:
    def conv(ours: str, theirs: str) -> Layer:
        """A detectron2 Conv2d: its norm, where it has one, is a part of it."""
        norm = f"{theirs}.norm"
        return Layer(ours, theirs, norm if f"{norm}.weight" in weights else None)

    bottom = _bottom(weights)
    yield Layer("backbone.stem", f"{bottom}.stem.conv1", f"{bottom}.stem.conv1.norm")
    for s, blocks in enumerate(spec.blocks):
        inside = spec.pyramid or s < 3
        ours = f"backbone.stages.{s}" if inside else "regions.last_stage"
        theirs = f"{bottom}.res{s + 2}" if inside else "roi_heads.res5"
        for b in range(blocks):
            for name in ("conv1", "conv2", "conv3", "shortcut")[: 4 if b == 0 else 3]:
                key = f"{theirs}.{b}.{name}"
                yield Layer(f"{ours}.{b}.{name}", key, f"{key}.norm")
    if spec.pyramid:
        for k in range(4):
            yield conv(f"pyramid.inner.{k}", f"backbone.fpn_lateral{k + 2}")
            yield conv(f"pyramid.outer.{k}", f"backbone.fpn_output{k + 2}")
    rpn = "proposal_generator.rpn_head"
    single = f"{rpn}.conv.weight" in weights
    for k in range(spec.rpn_convs):
        yield conv(f"proposals.convs.{k}", f"{rpn}.conv" if single else f"{rpn}.conv.conv{k}")
    yield Layer("proposals.objectness", f"{rpn}.objectness_logits")
    yield Layer("proposals.deltas", f"{rpn}.anchor_deltas")
    for k in range(spec.box_convs):
        yield conv(f"box.convs.{k}", f"roi_heads.box_head.conv{k + 1}")
    for k in range(spec.box_fcs):
        yield Layer(f"box.fcs.{k}", f"roi_heads.box_head.fc{k + 1}")
    yield Layer("box.scores", "roi_heads.box_predictor.cls_score")
    yield Layer("box.deltas", "roi_heads.box_predictor.bbox_pred")
    if spec.masks != "none":
        for k in range(spec.mask_convs):
            yield conv(f"mask.convs.{k}", f"roi_heads.mask_head.mask_fcn{k + 1}")
        yield Layer("mask.up", "roi_heads.mask_head.deconv", rows="2 x 2")
        yield Layer("mask.logits", "roi_heads.mask_head.predictor")
    if spec.keypoints:
        for k in range(8):
            yield Layer(f"keypoint.convs.{k}", f"roi_heads.keypoint_head.conv_fcn{k + 1}")
        yield Layer("keypoint.up", "roi_heads.keypoint_head.score_lowres")
