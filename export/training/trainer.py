"""The training loop: resumes, validates, draws its curves, and never leaves half a file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader, Subset

from engine.errors import OptionError
from engine.files import write_aside
from export.checkpoints.plain import load_weights, read_checkpoint, save_checkpoint
from export.models.deepmask import MODELS, DeepMask, normalize
from export.training.batches import Batches, SceneSource
from export.training.loss import joint_loss
from export.training.sampler import Batch

WARM_UP = 200
OPTIMIZERS = ("adamw", "sgd")
VALIDATION_BATCHES = 8


@dataclass(frozen=True)
class TrainingConfig:
    """What a run is; a run resumes only under the same one.

    Attributes:
        model: a name in `MODELS`.
        steps: optimizer steps in all.
        batch: windows a step.
        learning_rate: after the warm-up; falls to zero along a half cosine.
        optimizer: "sgd" (momentum 0.9, the paper's) or "adamw".
        weight_decay: for either.
        seed: of the weights, the scenes and the windows.
        bf16: compute in bfloat16 where torch's autocast allows it.
    """

    model: str = "deepmask_small"
    steps: int = 10_000
    batch: int = 64
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = 5e-4
    seed: int = 1
    bf16: bool = False


@dataclass
class History:
    """What the run has seen so far: one dict an entry, ready for JSON."""

    train: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Trains one DeepMask in `folder`: state.pth to resume from, model.pth, history.json, loss.png.

    Args:
        config: the run.
        source: scenes to learn from.
        held_out: scenes to validate on.
        folder: made if missing; a state.pth in it is resumed.
        workers: processes that cut windows.
    """

    def __init__(
        self,
        config: TrainingConfig,
        source: SceneSource,
        held_out: SceneSource,
        folder: Path,
        workers: int = 1,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.folder, self.workers = config, folder, workers
        self.model: DeepMask = MODELS[config.model]().to(memory_format=torch.channels_last)
        spec = self.model.spec
        sizes = {"size": config.batch, "seed": config.seed}
        self.batches = Batches(spec, source, steps=config.steps, **sizes)
        # The validation stream's seed is one that no training run of this seed reads from.
        sizes["seed"] = config.seed + 1_000_003
        self.validation = Batches(spec, held_out, steps=VALIDATION_BATCHES, **sizes)
        self.optimizer = _optimizer(self.model, config)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _rate(step, config.steps)
        )
        self.step = 0
        self.history = History()
        folder.mkdir(parents=True, exist_ok=True)
        if self._state_path.exists():
            self._resume()

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.pth"

    def run(self, progress: Progress, save_every: int = 500) -> None:
        """Train to the end, saving on the way; Ctrl-C keeps what the last save has."""
        task = progress.add_task("train", total=self.config.steps, completed=self.step, note="")
        running: dict[str, float] = {}
        for batch in self._loader():
            losses = self._learn(batch)
            for name, value in losses.items():
                running[name] = 0.98 * running.get(name, value) + 0.02 * value
            self.step += 1
            note = "  ".join(f"{name} {value:.4f}" for name, value in running.items())
            progress.update(task, completed=self.step, note=note)
            if self.step % 50 == 0:
                self.history.train.append({"step": self.step, **running})
            if self.step % save_every == 0 or self.step == self.config.steps:
                self.history.validation.append({"step": self.step, **self.validate()})
                self.save()

    def _loader(self) -> Iterator[Batch]:
        rest = Subset(self.batches, range(self.step, self.config.steps))
        return iter(
            DataLoader(
                rest,
                batch_size=None,
                num_workers=self.workers,
                collate_fn=_as_is,
                prefetch_factor=4 if self.workers else None,
            )
        )

    def _forward(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        patches = torch.from_numpy(batch.patches)
        x = normalize(patches, self.model.spec).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
            masks, scores = self.model(x)
        targets = torch.from_numpy(batch.masks).float(), torch.from_numpy(batch.labels).float()
        return masks.float(), scores.float(), *targets

    def _learn(self, batch: Batch) -> dict[str, float]:
        self.model.train()
        # Dropout too is known by the step's number, so that a resumed run goes on alike.
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        loss = joint_loss(*self._forward(batch))
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.schedule.step()
        return {"mask": loss.mask.item(), "score": loss.score.item()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses, score accuracy and mean mask IoU on the held-out windows."""
        self.model.eval()
        rows = []
        for step in range(len(self.validation)):
            masks, scores, targets, labels = self._forward(self.validation[step])
            loss = joint_loss(masks, scores, targets, labels)
            positive = labels > 0
            logits = torch.nn.functional.interpolate(
                masks[positive][:, None], targets.shape[-2:], mode="bilinear"
            )[:, 0]
            found, truth = logits > 0, targets[positive] > 0
            iou = (found & truth).sum((1, 2)) / (found | truth).sum((1, 2)).clamp(min=1)
            right = ((scores > 0) == positive).float()
            values = loss.mask, loss.score, right.mean(), iou.mean()
            rows.append(torch.stack(values))
        means = torch.stack(rows).mean(0).tolist()
        return dict(zip(("mask", "score", "accuracy", "iou"), means, strict=True))

    def save(self) -> None:
        """Write the state, the model alone, the history and its plot."""
        save_checkpoint(
            self._state_path,
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "step": self.step,
                "config": asdict(self.config),
                "history": asdict(self.history),
            },
        )
        save_checkpoint(
            self.folder / "model.pth",
            {"architecture": self.config.model, "model": self.model.state_dict()},
        )
        with write_aside(self.folder / "history.json") as path:
            path.write_text(json.dumps(asdict(self.history), indent=1))
        plot(self.history, self.folder / "loss.png")

    def _resume(self) -> None:
        state = read_checkpoint(self._state_path)
        theirs = state["config"]
        if theirs != asdict(self.config):
            changed = {k: v for k, v in asdict(self.config).items() if theirs.get(k) != v}
            raise OptionError(
                f"{self._state_path} belongs to a run with other settings ({changed} differ); "
                "give the same settings to resume it, or another --output to start afresh"
            )
        load_weights(self.model, state["model"], self._state_path)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = int(state["step"])
        self.history = History(**state["history"])


def progress_bar(console: Console | None = None) -> Progress:
    """The bar that `Trainer.run` draws on."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def plot(history: History, output: Path) -> None:
    """Draw the losses, the validation accuracy and the mask IoU over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    for axis, name in zip(axes, ("mask", "score"), strict=False):
        for rows, label in ((history.train, "training"), (history.validation, "held out")):
            axis.plot([r["step"] for r in rows], [r[name] for r in rows], label=label)
        axis.set(title=f"{name} loss", xlabel="step", yscale="log")
        axis.legend()
    for name in ("accuracy", "iou"):
        rows = history.validation
        axes[2].plot([r["step"] for r in rows], [r[name] for r in rows], label=name)
    axes[2].set(title="held out", xlabel="step")
    axes[2].legend()
    with write_aside(output) as path:
        figure.savefig(path, format="png", dpi=110)
    pyplot.close(figure)


def _optimizer(model: DeepMask, config: TrainingConfig) -> torch.optim.Optimizer:
    settings = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), **settings)
    return torch.optim.SGD(model.parameters(), momentum=0.9, **settings)


def _rate(step: int, steps: int) -> float:
    """The learning rate's factor: a linear warm-up, then half a cosine to zero."""
    warm = min(1.0, (step + 1) / WARM_UP)
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def _as_is(batch: Batch) -> Batch:
    return batch
