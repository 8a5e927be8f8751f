"""A detectron2 R-CNN over its own state dict, written anew from its published code and configs.

Neither detectron2 nor anything of ours runs in it: names and shapes are made by `state_dict`, and
`detect` is torch's functions, torchvision's operators, and the rules of detectron2's
modeling/{anchor_generator,box_regression,poolers,postprocessing}.py, roi_heads/ and
proposal_generator/.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.ops import batched_nms, roi_align

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Config:
    """The parts of a detectron2 config that matter here."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    classes: int = 80
    fpn: bool = True
    groups: int = 1
    masks: int = 80  # 1: class-agnostic, 0: none
    keypoints: int = 0

    @property
    def width(self) -> int:
        return 64 if self.groups == 1 else 8 * self.groups

    @property
    def stride_in_1x1(self) -> bool:
        return self.groups == 1

    @property
    def std(self) -> tuple[float, ...]:
        return (1.0, 1.0, 1.0) if self.groups == 1 else (57.375, 57.120, 58.395)

    @property
    def bottom(self) -> str:
        return "backbone.bottom_up" if self.fpn else "backbone"


def state_dict(config: Config, seed: int = 0) -> Weights:
    """Random weights under detectron2's names, scaled so that signals keep their size."""
    generator = torch.Generator().manual_seed(seed)
    made: Weights = {}

    def layer(name: str, *shape: int, gain: float = 2.0, bias: bool = True) -> None:
        fan = math.prod(shape[1:])
        made[f"{name}.weight"] = torch.randn(shape, generator=generator) * math.sqrt(gain / fan)
        if bias:
            made[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)

    def conv_norm(name: str, *shape: int, scale: float = 1.0) -> None:
        layer(name, *shape, bias=False)
        count = shape[0]
        made[f"{name}.norm.weight"] = scale * (0.8 + 0.4 * torch.rand(count, generator=generator))
        made[f"{name}.norm.bias"] = 0.1 * torch.randn(count, generator=generator)
        made[f"{name}.norm.running_mean"] = 0.1 * torch.randn(count, generator=generator)
        made[f"{name}.norm.running_var"] = 0.5 + torch.rand(count, generator=generator)

    # MSRA's networks see pixels as they are: the first layer brings them down.
    conv_norm(f"{config.bottom}.stem.conv1", 64, 3, 7, 7)
    if config.groups == 1:
        made[f"{config.bottom}.stem.conv1.weight"] /= 60
    channels = 64
    for s, blocks in enumerate(config.blocks):
        inner, out = config.width << s, 256 << s
        inside = config.fpn or s < 3
        stage = f"{config.bottom}.res{s + 2}" if inside else "roi_heads.res5"
        for b in range(blocks):
            if b == 0:
                conv_norm(f"{stage}.0.shortcut", out, channels, 1, 1)
            conv_norm(f"{stage}.{b}.conv1", inner, channels, 1, 1)
            conv_norm(f"{stage}.{b}.conv2", inner, inner // config.groups, 3, 3)
            conv_norm(f"{stage}.{b}.conv3", out, inner, 1, 1, scale=0.3)
            channels = out
    wide = 256 if config.fpn else 1024
    if config.fpn:
        for k in range(4):
            layer(f"backbone.fpn_lateral{k + 2}", 256, 256 << k, 1, 1, gain=1)
            layer(f"backbone.fpn_output{k + 2}", 256, 256, 3, 3, gain=1)
    anchors = 3 if config.fpn else 15
    rpn = "proposal_generator.rpn_head"
    layer(f"{rpn}.conv", wide, wide, 3, 3)
    layer(f"{rpn}.objectness_logits", anchors, wide, 1, 1)
    layer(f"{rpn}.anchor_deltas", 4 * anchors, wide, 1, 1, gain=0.02)
    deep = 1024 if config.fpn else 2048
    if config.fpn:
        layer("roi_heads.box_head.fc1", 1024, 256 * 49)
        layer("roi_heads.box_head.fc2", 1024, 1024)
    layer("roi_heads.box_predictor.cls_score", config.classes + 1, deep, gain=0.5)
    layer("roi_heads.box_predictor.bbox_pred", 4 * config.classes, deep, gain=1)
    if config.masks:
        for k in range(4 if config.fpn else 0):
            layer(f"roi_heads.mask_head.mask_fcn{k + 1}", 256, 256, 3, 3)
        up = "roi_heads.mask_head.deconv"
        made[f"{up}.weight"] = torch.randn(
            wide if config.fpn else 2048, 256, 2, 2, generator=generator
        )
        made[f"{up}.weight"] *= math.sqrt(2 / (256 if config.fpn else 2048))
        made[f"{up}.bias"] = torch.zeros(256)
        layer("roi_heads.mask_head.predictor", config.masks, 256, 1, 1)
    if config.keypoints:
        for k in range(8):
            layer(f"roi_heads.keypoint_head.conv_fcn{k + 1}", 512, 256 if k == 0 else 512, 3, 3)
        up = "roi_heads.keypoint_head.score_lowres"
        made[f"{up}.weight"] = torch.randn(512, config.keypoints, 4, 4, generator=generator) / 45
        made[f"{up}.bias"] = torch.zeros(config.keypoints)
    return made


@torch.inference_mode()
def detect(w: Weights, config: Config, picture: np.ndarray) -> dict[str, Tensor]:
    """What detectron2 gives for uint8 [H, W, 3] BGR: boxes, scores, classes, masks [N, H, W]."""
    height, width = picture.shape[:2]
    new_height, new_width = _shortest_edge(height, width)
    resized = np.asarray(Image.fromarray(picture).resize((new_width, new_height), Image.BILINEAR))
    x = torch.from_numpy(resized.astype(np.float32)).permute(2, 0, 1)
    mean = torch.tensor([103.530, 116.280, 123.675])[:, None, None]
    x = ((x - mean) / torch.tensor(config.std)[:, None, None])[None]
    if config.fpn:  # size_divisibility
        x = F.pad(x, (0, -new_width % 32, 0, -new_height % 32))
    levels = _features(w, config, x)
    boxes = _proposals(w, config, levels, (new_height, new_width))
    boxes, scores, classes = _classify(w, config, levels, boxes, (new_height, new_width))
    pooled = _others(w, config, levels, boxes)
    found = {"scores": scores, "classes": classes}
    masks = None
    if config.masks:
        y = pooled
        for k in range(4 if config.fpn else 0):
            y = F.relu(_conv(w, f"roi_heads.mask_head.mask_fcn{k + 1}", y, padding=1))
        up = "roi_heads.mask_head.deconv"
        y = F.relu(F.conv_transpose2d(y, w[f"{up}.weight"], w[f"{up}.bias"], stride=2))
        y = _conv(w, "roi_heads.mask_head.predictor", y)
        rows = torch.arange(len(y))
        masks = y[rows, classes if config.masks > 1 else torch.zeros_like(classes)].sigmoid()
    if config.keypoints:
        y = pooled
        for k in range(8):
            y = F.relu(_conv(w, f"roi_heads.keypoint_head.conv_fcn{k + 1}", y, padding=1))
        up = "roi_heads.keypoint_head.score_lowres"
        y = F.conv_transpose2d(y, w[f"{up}.weight"], w[f"{up}.bias"], stride=2, padding=1)
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        points = _keypoints(y, boxes)
        points[..., 0] *= width / new_width
        points[..., 1] *= height / new_height
        found["keypoints"] = points
    scaled = boxes * torch.tensor([width / new_width, height / new_height] * 2)
    scaled = _clip(scaled, (height, width))
    found["boxes"] = scaled
    if masks is not None:
        found["masks"] = _paste(masks, scaled, height, width)
    return found


def _shortest_edge(height: int, width: int, short: int = 800, long: int = 1333) -> tuple[int, int]:
    scale = short / min(height, width)
    new = (short, scale * width) if height < width else (scale * height, short)
    if max(new) > long:
        new = tuple(side * long / max(new) for side in new)
    return int(new[0] + 0.5), int(new[1] + 0.5)


def _conv(w: Weights, name: str, x: Tensor, **options: int) -> Tensor:
    x = F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), **options)
    if f"{name}.norm.weight" in w:
        keys = ("running_mean", "running_var", "weight", "bias")
        x = F.batch_norm(x, *(w[f"{name}.norm.{key}"] for key in keys), eps=1e-5)
    return x


def _stage(w: Weights, config: Config, name: str, x: Tensor, *, halve: bool) -> Tensor:
    for b in range(config.blocks[int(name[-1]) - 2]):
        stride = 2 if halve and b == 0 else 1
        first, second = (stride, 1) if config.stride_in_1x1 else (1, stride)
        y = F.relu(_conv(w, f"{name}.{b}.conv1", x, stride=first))
        y = F.relu(_conv(w, f"{name}.{b}.conv2", y, stride=second, padding=1, groups=config.groups))
        y = _conv(w, f"{name}.{b}.conv3", y)
        x = F.relu(y + (_conv(w, f"{name}.0.shortcut", x, stride=stride) if b == 0 else x))
    return x


def _features(w: Weights, config: Config, x: Tensor) -> list[Tensor]:
    x = F.relu(_conv(w, f"{config.bottom}.stem.conv1", x, stride=2, padding=3))
    x = F.max_pool2d(x, 3, 2, 1)
    found = []
    for k in range(4 if config.fpn else 3):
        x = _stage(w, config, f"{config.bottom}.res{k + 2}", x, halve=k > 0)
        found.append(x)
    if not config.fpn:
        return found[-1:]
    inner = _conv(w, "backbone.fpn_lateral5", found[3])
    levels = [_conv(w, "backbone.fpn_output5", inner, padding=1)]
    for k in (2, 1, 0):
        above = F.interpolate(inner, scale_factor=2.0, mode="nearest")
        inner = _conv(w, f"backbone.fpn_lateral{k + 2}", found[k]) + above
        levels.insert(0, _conv(w, f"backbone.fpn_output{k + 2}", inner, padding=1))
    return [*levels, F.max_pool2d(levels[-1], 1, 2)]


def _decode(anchors: Tensor, deltas: Tensor, weights: tuple[float, ...]) -> Tensor:
    widths, heights = anchors[..., 2] - anchors[..., 0], anchors[..., 3] - anchors[..., 1]
    x, y = anchors[..., 0] + 0.5 * widths, anchors[..., 1] + 0.5 * heights
    dx, dy, dw, dh = (deltas[..., k] / weights[k] for k in range(4))
    limit = math.log(1000 / 16)
    dw, dh = dw.clamp(max=limit), dh.clamp(max=limit)
    x, y = dx * widths + x, dy * heights + y
    w, h = dw.exp() * widths, dh.exp() * heights
    return torch.stack([x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h], -1)


def _clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    x, y = boxes[..., 0::2].clamp(0, size[1]), boxes[..., 1::2].clamp(0, size[0])
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)


def _proposals(w: Weights, config: Config, levels: list[Tensor], size: tuple[int, int]) -> Tensor:
    every: list[tuple[Tensor, Tensor, Tensor]] = []
    sizes = [(32,), (64,), (128,), (256,), (512,)] if config.fpn else [(32, 64, 128, 256, 512)]
    strides = (4, 8, 16, 32, 64) if config.fpn else (16,)
    for k, x in enumerate(levels):
        cells = []
        for side in sizes[k]:
            for ratio in (0.5, 1.0, 2.0):
                wide = math.sqrt(side**2 / ratio)
                cells.append([-wide / 2, -ratio * wide / 2, wide / 2, ratio * wide / 2])
        rows = torch.arange(x.shape[2], dtype=torch.float32) * strides[k]
        columns = torch.arange(x.shape[3], dtype=torch.float32) * strides[k]
        y, z = torch.meshgrid(rows, columns, indexing="ij")
        shifts = torch.stack([z, y, z, y], -1).reshape(-1, 1, 4)
        anchors = (shifts + torch.tensor(cells)).reshape(-1, 4)
        rpn = "proposal_generator.rpn_head"
        t = F.relu(_conv(w, f"{rpn}.conv", x, padding=1))
        logits = _conv(w, f"{rpn}.objectness_logits", t)[0].permute(1, 2, 0).flatten()
        deltas = _conv(w, f"{rpn}.anchor_deltas", t)[0]
        deltas = deltas.view(-1, 4, *deltas.shape[1:]).permute(2, 3, 0, 1).reshape(-1, 4)
        best, order = logits.topk(min(1000 if config.fpn else 6000, len(logits)))
        boxes = _decode(anchors, deltas, (1, 1, 1, 1))[order]
        every.append((boxes, best, torch.full_like(order, k)))
    boxes, scores, level = (torch.cat(parts) for parts in zip(*every, strict=True))
    boxes = _clip(boxes, size)
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, scores, level = boxes[kept], scores[kept], level[kept]
    return boxes[batched_nms(boxes, scores, level, 0.7)[:1000]]


def _pool(levels: list[Tensor], boxes: Tensor, output: int) -> Tensor:
    if len(levels) == 1:
        return roi_align(levels[0], [boxes], output, 1 / 16, 0, aligned=True)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    level = torch.floor(4 + torch.log2(areas.sqrt() / 224 + 1e-8)).clamp(2, 5).long() - 2
    found = torch.zeros(len(boxes), 256, output, output)
    for k in range(4):
        rows = torch.where(level == k)[0]
        found[rows] = roi_align(levels[k], [boxes[rows]], output, 1 / (4 << k), 0, aligned=True)
    return found


def _classify(
    w: Weights, config: Config, levels: list[Tensor], proposals: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    if config.fpn:
        x = _pool(levels[:4], proposals, 7).flatten(1)
        for name in ("fc1", "fc2"):
            key = f"roi_heads.box_head.{name}"
            x = F.relu(F.linear(x, w[f"{key}.weight"], w[f"{key}.bias"]))
    else:
        x = _stage(w, config, "roi_heads.res5", _pool(levels, proposals, 14), halve=True)
        x = x.mean((2, 3))
    head = "roi_heads.box_predictor"
    logits = F.linear(x, w[f"{head}.cls_score.weight"], w[f"{head}.cls_score.bias"])
    deltas = F.linear(x, w[f"{head}.bbox_pred.weight"], w[f"{head}.bbox_pred.bias"])
    boxes = _decode(proposals[:, None], deltas.view(len(x), -1, 4), (10, 10, 5, 5))
    boxes = _clip(boxes, size)
    scores = logits.softmax(1)[:, :-1]
    row, classes = (scores > 0.05).nonzero(as_tuple=True)
    boxes, scores = boxes[row, classes], scores[row, classes]
    kept = batched_nms(boxes, scores, classes, 0.5)[:100]
    return boxes[kept], scores[kept], classes[kept]


def _others(w: Weights, config: Config, levels: list[Tensor], boxes: Tensor) -> Tensor:
    if config.fpn:
        return _pool(levels[:4], boxes, 14)
    return _stage(w, config, "roi_heads.res5", _pool(levels, boxes, 14), halve=True)


def _paste(masks: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    x = torch.arange(width) + 0.5
    y = torch.arange(height) + 0.5
    u = (x - boxes[:, :1]) / (boxes[:, 2:3] - boxes[:, :1]) * 2 - 1
    v = (y - boxes[:, 1:2]) / (boxes[:, 3:] - boxes[:, 1:2]) * 2 - 1
    shape = (len(boxes), height, width)
    grid = torch.stack([u[:, None].expand(shape), v[:, :, None].expand(shape)], 3)
    return F.grid_sample(masks[:, None], grid, align_corners=False)[:, 0] >= 0.5


def _keypoints(maps: Tensor, boxes: Tensor) -> Tensor:
    found = torch.zeros(len(boxes), maps.shape[1], 3)
    for k, (map_, box) in enumerate(zip(maps, boxes, strict=True)):
        wide, high = (box[2:] - box[:2]).clamp(min=1)
        size = (int(high.ceil()), int(wide.ceil()))
        large = F.interpolate(map_[None], size=size, mode="bicubic", align_corners=False)[0]
        best, at = large.flatten(1).max(1)
        found[k, :, 0] = (at % size[1] + 0.5) * (wide / size[1]) + box[0]
        found[k, :, 1] = (at // size[1] + 0.5) * (high / size[0]) + box[1]
        found[k, :, 2] = 1 / (map_.flatten(1) - best[:, None]).exp().sum(1)
    return found
