"""PyTorch checkpoints: state dicts as torch.save writes them, read with weights-only unpickling."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import ModelError
from engine.files import write_aside

PREFIXES = ("module.", "model.", "_orig_mod.")  # DataParallel, Lightning, torch.compile


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content` (tensors and plain values) to `path`, aside first."""
    with write_aside(path) as aside:
        torch.save(content, aside)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint's dict; nothing in the file is executed.

    Raises:
        ModelError: no such file, not a checkpoint, or one that holds more than tensors and
            plain values.
    """
    if not path.is_file():
        raise ModelError(f"no checkpoint at {path}; give the path of a .pth file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is not a checkpoint of tensors and plain values alone "
            f"({_first_sentence(error)}); save model.state_dict() and give that file"
        ) from error
    except Exception as error:  # a damaged file can fail in any way
        raise ModelError(
            f"{path} is not a PyTorch checkpoint or is damaged ({_first_sentence(error)}); "
            "give a file written by torch.save"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(
            f"{path} holds a {type(content).__name__}, not a dict of tensors; "
            "save model.state_dict() and give that file"
        )
    return content


def find_weights(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The state dict inside a checkpoint, with wrappers' prefixes taken off its keys.

    Raises:
        ModelError: there is no dict of tensors in it.
    """
    for key in ("model", "state_dict", "model_state_dict"):
        inner = content.get(key)
        if isinstance(inner, Mapping):
            content = inner
            break
    weights = {k: v for k, v in content.items() if isinstance(v, Tensor)}
    if not weights:
        raise ModelError(
            f"{path} holds no weights (its keys: {', '.join(map(str, list(content)[:8]))}); "
            "save model.state_dict() and give that file"
        )
    while prefix := next((p for p in PREFIXES if all(k.startswith(p) for k in weights)), ""):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load `weights` into `model`, every key and shape exactly.

    Raises:
        ModelError: lists what is missing, left over, or of another shape, key by key.
    """
    wanted = model.state_dict()
    problems = [f"{key} is missing" for key in wanted if key not in weights]
    problems += [f"{key} is unknown" for key in weights if key not in wanted]
    problems += [
        f"{key} is {tuple(weights[key].shape)} and should be {tuple(wanted[key].shape)}"
        for key in wanted
        if key in weights and weights[key].shape != wanted[key].shape
    ]
    if problems:
        listed = "\n  ".join(problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ModelError(
            f"{path} does not fit this model; give the model that it was trained as:"
            f"\n  {listed}{more}"
        )
    model.load_state_dict(weights)


def _first_sentence(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".")[:160]
