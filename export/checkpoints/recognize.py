"""A checkpoint of any kind that MaskRT knows: which network it is, and the network itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import ModelError, OptionError
from export.checkpoints import detectron2, torchvision
from export.checkpoints.arrays import read_arrays
from export.checkpoints.plain import find_weights, load_weights, read_checkpoint
from export.models.deepmask import MODELS, DeepMask
from export.models.rcnn.model import Rcnn

DETECTORS = (torchvision, detectron2)


def read_network(path: Path, name: str | None = None, **limits: Any) -> DeepMask | Rcnn:
    """The network in a checkpoint, evaluating.

    Args:
        path: a .pth (or any file of torch.save), or detectron2's .pkl.
        name: what the user takes it for; None to go by the keys alone.
        limits: fields of a detector's spec that a user may choose.

    Raises:
        ModelError: not a checkpoint, a network that MaskRT does not know, or one that does not fit.
        OptionError: another network than `name`.
    """
    weights = find_weights(_content(path), path)
    for framework in DETECTORS:
        if framework.recognizes(weights):
            network = framework.load(weights, path, **limits)
            if name is not None and name != network.spec.name:
                raise OptionError(
                    f"{path} holds a {network.spec.name} and not a {name}; leave the model's name "
                    "out, or give another file"
                )
            return network
    found = name or _deepmask(weights)
    if found not in MODELS:
        listed = ", ".join(list(weights)[:4])
        raise ModelError(
            f"{path} holds no network that MaskRT knows (its first keys: {listed}); it knows "
            f"{', '.join(MODELS)}, and the Faster, Mask and Keypoint R-CNNs of torchvision and "
            "detectron2"
        )
    model = MODELS[found]()
    load_weights(model, weights, path)
    return model.eval()


def _content(path: Path) -> dict[str, Any]:
    if path.suffix != ".pkl" or not path.is_file():
        return read_checkpoint(path)
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"  # torch.save's files are, whatever their name
    return read_checkpoint(path) if zipped else read_arrays(path)


def _deepmask(weights: Mapping[str, Tensor]) -> str | None:
    """The name of the DeepMask whose keys and shapes these are."""
    shapes = {key: value.shape for key, value in weights.items()}
    for name, make in MODELS.items():
        with torch.device("meta"):
            wanted = {key: value.shape for key, value in make().state_dict().items()}
        if wanted == shapes:
            return name
    return None
