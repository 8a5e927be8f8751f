"""Reading checkpoints: nothing in a file runs, and what does not fit is listed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.errors import ModelError
from export.checkpoints.plain import (
    find_weights,
    load_weights,
    read_checkpoint,
    save_checkpoint,
)


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.module."])
@pytest.mark.parametrize("key", [None, "model", "state_dict"])
def test_wrapped_state_dicts_are_found(
    model: nn.Module, tmp_path: Path, prefix: str, key: str | None
) -> None:
    """A state dict loads whatever wrapped it: DataParallel, Lightning, torch.compile, a trainer."""
    weights = {prefix + name: value for name, value in model.state_dict().items()}
    path = tmp_path / "x.pth"
    save_checkpoint(path, weights if key is None else {key: weights, "epoch": 3})
    fresh = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    load_weights(fresh, find_weights(read_checkpoint(path), path), path)
    for a, b in zip(fresh.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_what_does_not_fit_is_listed(model: nn.Module) -> None:
    """Each key that is missing, left over or of another shape is named, with both shapes."""
    weights = dict(model.state_dict())
    weights["0.weight"] = torch.zeros(5, 2)
    weights["extra"] = weights.pop("1.bias")
    with pytest.raises(ModelError) as error:
        load_weights(model, weights, Path("x.pth"))
    text = str(error.value)
    assert "0.weight is (5, 2) and should be (3, 2)" in text
    assert "1.bias is missing" in text
    assert "extra is unknown" in text


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o, protocol=2))]
)
def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, save: object) -> None:
    """A pickle that would run a function is refused, and the function does not run."""
    path, trace = tmp_path / "evil.pth", tmp_path / "ran"
    save({"model": _Evil(trace)}, path)  # type: ignore[operator]
    with pytest.raises(ModelError, match=r"evil\.pth is not a"):
        read_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 not a zip", bytes(5000)])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    """Any other bytes are one sentence."""
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.pth is not a"):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_refused(model: nn.Module, tmp_path: Path) -> None:
    """Half a checkpoint is damaged, not half loaded."""
    path = tmp_path / "x.pth"
    save_checkpoint(path, model.state_dict())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match="damaged"):
        read_checkpoint(path)


def test_missing_empty_and_foreign_contents(tmp_path: Path) -> None:
    """No file, a list in the place of a dict, and a dict without tensors each say what to do."""
    with pytest.raises(ModelError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "none.pth")
    path = tmp_path / "x.pth"
    torch.save([1, 2], path)
    with pytest.raises(ModelError, match="holds a list"):
        read_checkpoint(path)
    with pytest.raises(ModelError, match="holds no weights"):
        find_weights({"epoch": 3}, path)
