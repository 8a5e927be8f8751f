"""A run that was stopped goes on as if it had not been."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from engine.errors import OptionError
from export.train import main
from export.training.batches import Procedural
from export.training.trainer import OPTIMIZERS, Trainer, TrainingConfig, progress_bar

CONFIG = TrainingConfig(steps=6, batch=4, seed=2)


def _trainer(folder: Path, config: TrainingConfig = CONFIG) -> Trainer:
    trainer = Trainer(config, Procedural(96), Procedural(96), folder, workers=0)
    trainer.validation.steps = 1
    return trainer


def _train(folder: Path, config: TrainingConfig = CONFIG) -> Trainer:
    trainer = _trainer(folder, config)
    with progress_bar() as progress:
        trainer.run(progress)
    return trainer


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """Three steps, a new process' worth of state, three more: the same weights as six at once."""
    whole = _train(tmp_path / "whole")
    half = _trainer(tmp_path / "two")
    batches = half._loader()
    for _ in range(3):
        half._learn(next(batches))
        half.step += 1
    half.save()
    second = _train(tmp_path / "two")
    assert second.step == whole.step == 6
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_leaves_weights_history_and_curves(tmp_path: Path, optimizer: str) -> None:
    """The folder has the model alone, the state, the history and the plot, and nothing else."""
    _train(tmp_path, TrainingConfig(steps=2, batch=4, optimizer=optimizer))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["history.json", "loss.png", "model.pth", "state.pth"]
    history = json.loads((tmp_path / "history.json").read_text())
    assert set(history["validation"][-1]) == {"step", "mask", "score", "accuracy", "iou"}
    saved = torch.load(tmp_path / "model.pth", weights_only=True)
    assert saved["architecture"] == "deepmask_small"


def test_other_settings_do_not_resume(tmp_path: Path) -> None:
    """A folder of another run is refused, and what differs is named."""
    _train(tmp_path, TrainingConfig(steps=1, batch=4))
    with pytest.raises(OptionError, match=r"settings \(\{'batch': 6\} differ\)"):
        Trainer(TrainingConfig(steps=1, batch=6), Procedural(), Procedural(), tmp_path)


def test_it_learns(tmp_path: Path) -> None:
    """Twenty steps on one batch bring both losses down."""
    trainer = _trainer(tmp_path, TrainingConfig(steps=30, batch=8))
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.003
    trainer.schedule = torch.optim.lr_scheduler.ConstantLR(trainer.optimizer, 1.0)
    batch = trainer.batches[0]
    losses = [trainer._learn(batch) for _ in range(20)]
    assert losses[-1]["mask"] < 0.8 * losses[0]["mask"]
    assert losses[-1]["score"] < losses[0]["score"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "resnet"}, "no model 'resnet'"),
        ({"optimizer": "lamb"}, "--optimizer is 'lamb'"),
        ({"steps": 0}, "--steps is 0"),
        ({"annotations": Path("x.json")}, "go together"),
        ({"annotations": Path("x.json"), "images": Path()}, "cannot read x.json"),
    ],
)
def test_mistakes_are_said_before_anything_is_made(
    tmp_path: Path, options: dict, says: str
) -> None:
    """A wrong option is one sentence, and no folder is made."""
    with pytest.raises(OptionError, match=says):
        main(output=tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())
