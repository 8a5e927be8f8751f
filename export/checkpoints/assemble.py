"""A framework's weights as ours: renamed layer by layer, batch norms folded into convolutions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.errors import ModelError
from export.checkpoints.plain import load_weights
from export.models.rcnn.model import Rcnn

NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Layer:
    """One layer: our name, the framework's, and its batch norm's where it has one.

    Attributes:
        rows: how the output channels are taken: "all"; for a torchvision predictor, whose first
            class is the background, "background first" or "without background" (with `each` rows
            a class); "2 x 2", of a transposed convolution, for the four places that it writes.
    """

    ours: str
    theirs: str
    norm: str | None = None
    rows: str = "all"
    each: int = 1


def count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """How many different first groups the keys have that match a regular expression."""
    found = (re.match(pattern, key) for key in weights)
    return len({m[1] for m in found if m})


def family(*, masks: bool, keypoints: bool) -> str:
    """What both frameworks call a network with these heads."""
    return "keypointrcnn" if keypoints else "maskrcnn" if masks else "fasterrcnn"


def trunk(width: int, blocks: tuple[int, ...]) -> str:
    """What both frameworks call a backbone of these blocks, by its first 3 x 3 layer's width."""
    return "resnext101_32x8d" if width == 256 else f"resnet{3 * sum(blocks) + 2}"


def assemble(
    model: nn.Module, weights: Mapping[str, Tensor], layers: Iterable[Layer], eps: float, path: Path
) -> None:
    """Fill `model` with a framework's weights.

    Args:
        model: ours.
        weights: the framework's state dict; batch norms' counters and constant buffers are gone.
        layers: every layer of the model.
        eps: the batch norms' epsilon.
        path: the file, for the message.

    Raises:
        ModelError: lists what is missing, left over or of another shape, by the file's own names.
    """
    wanted, problems, used = model.state_dict(), [], set()
    made: dict[str, Tensor] = {}
    for layer in layers:
        keys = [f"{layer.theirs}.weight"]
        keys += [f"{layer.norm}.{k}" for k in NORM] if layer.norm else [f"{layer.theirs}.bias"]
        # torchvision's convolutions with a norm have no bias; a user's may.
        extra = f"{layer.theirs}.bias"
        if layer.norm and extra in weights:
            keys.append(extra)
        used.update(keys)
        missing = [key for key in keys if key not in weights]
        if missing:
            problems += [f"{key} is missing" for key in missing]
            continue
        shape = tuple(wanted[f"{layer.ours}.weight"].shape)
        weight, bias = _folded(layer, weights, eps)
        weight, bias = _rows(layer, weight, bias)
        if weight.numel() != wanted[f"{layer.ours}.weight"].numel():
            had = tuple(weights[keys[0]].shape)
            problems.append(f"{keys[0]} is {had} and should give {shape}")
            continue
        made[f"{layer.ours}.weight"], made[f"{layer.ours}.bias"] = weight.reshape(shape), bias
    problems += [
        f"{key} {tuple(weights[key].shape)} is unknown" for key in weights if key not in used
    ]
    if problems:
        listed = "\n  ".join(problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ModelError(
            f"{path} does not fit the model that its keys look like:\n  {listed}{more}"
        )
    load_weights(model, made, path)


def take_in_std(model: Rcnn) -> None:
    """Divide the first layer's weights by the pixels' standard deviation, not each picture."""
    stem = model.backbone.stem.weight
    std = torch.tensor(model.spec.rules.std, dtype=torch.float64)
    stem.data = (stem.data / std[:, None, None]).float()


def _folded(layer: Layer, weights: Mapping[str, Tensor], eps: float) -> tuple[Tensor, Tensor]:
    weight = weights[f"{layer.theirs}.weight"].float()
    bias = weights.get(f"{layer.theirs}.bias")
    if layer.norm is None:
        assert bias is not None
        return weight, bias.float()
    scale, shift, mean, variance = (weights[f"{layer.norm}.{k}"].double() for k in NORM)
    # In fp64: frameworks divide by a square root where we multiply.
    factor = scale / torch.sqrt(variance + eps)
    shift = shift - mean * factor
    if bias is not None:
        shift = shift + bias.double() * factor
    return (weight.double() * factor[:, None, None, None]).float(), shift.float()


def _rows(layer: Layer, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    if layer.rows == "all":
        return weight, bias
    if layer.rows == "2 x 2":
        return weight.permute(2, 3, 1, 0).flatten(0, 2), bias.repeat(4)
    objects = weight[layer.each :], bias[layer.each :]
    if layer.rows == "without background":
        return objects
    return torch.cat([objects[0], weight[:1]]), torch.cat([objects[1], bias[:1]])
