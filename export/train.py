"""Train a DeepMask, on drawn scenes or on any data set in COCO's format.

    python export/train.py deepmask_small --output runs/small

Also `maskrt train`. A run that was stopped goes on from its last save.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":
    # As a script, sys.path[0] is this folder, where nothing of the project can be imported.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from maskrt.cli import main as command

    command(["train", *sys.argv[1:]])

import torch
import typer

from engine.errors import OptionError
from export.models.deepmask import MODELS
from export.training.batches import Procedural, SceneSource
from export.training.coco import CocoScenes
from export.training.trainer import OPTIMIZERS, Trainer, TrainingConfig, progress_bar
from maskrt.console import console

DEFAULTS = TrainingConfig()


def main(
    output: Annotated[Path, typer.Option(help="Folder of the run; resumed if it has one.")],
    model: Annotated[str, typer.Argument(help=f"One of {', '.join(MODELS)}.")] = DEFAULTS.model,
    steps: Annotated[int, typer.Option(help="Optimizer steps in all.")] = DEFAULTS.steps,
    batch: Annotated[int, typer.Option(help="Windows a step.")] = DEFAULTS.batch,
    learning_rate: Annotated[float, typer.Option()] = DEFAULTS.learning_rate,
    optimizer: Annotated[str, typer.Option(help=" or ".join(OPTIMIZERS))] = DEFAULTS.optimizer,
    weight_decay: Annotated[float, typer.Option()] = DEFAULTS.weight_decay,
    seed: Annotated[int, typer.Option()] = DEFAULTS.seed,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16 where it is safe.")] = False,
    annotations: Annotated[
        Path | None, typer.Option(help="COCO instances JSON; left out: drawn scenes.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of its pictures.")] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(help="COCO instances JSON to validate on, of the same pictures' folder."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that cut windows.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Left out: all cores.")] = None,
) -> None:
    """Train a DeepMask with the joint objective."""
    if model not in MODELS:
        raise OptionError(f"there is no model {model!r}; choose one of {', '.join(MODELS)}")
    if optimizer not in OPTIMIZERS:
        raise OptionError(f"--optimizer is {optimizer!r}; choose one of {', '.join(OPTIMIZERS)}")
    for name, value, least in (
        ("--steps", steps, 1),
        ("--batch", batch, 2),
        ("--workers", workers, 0),
        ("--threads", 1 if threads is None else threads, 1),
        ("--learning-rate", learning_rate, 0),
        ("--weight-decay", weight_decay, 0),
        ("--seed", seed, 0),
    ):
        if not value >= least:
            raise OptionError(f"{name} is {value}; give {least} or more")
    source, validation = _sources(annotations, images, held_out)
    if threads is not None:
        torch.set_num_threads(threads)

    config = TrainingConfig(
        model=model,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        optimizer=optimizer,
        weight_decay=weight_decay,
        seed=seed,
        bf16=bf16,
    )
    trainer = Trainer(config, source, validation, output, workers=workers)
    if trainer.step:
        console.print(f"going on from step {trainer.step} of {steps}")
    with progress_bar(console) as progress:
        trainer.run(progress)
    last = trainer.history.validation[-1]
    console.print(
        f"held out: score accuracy {last['accuracy']:.3f}, mask IoU {last['iou']:.3f}\n"
        f"weights {output / 'model.pth'}, curves {output / 'loss.png'}"
    )


def _sources(
    annotations: Path | None, images: Path | None, held_out: Path | None
) -> tuple[SceneSource, SceneSource]:
    """Scenes to learn from and to validate on."""
    if annotations is None and images is None and held_out is None:
        return Procedural(), Procedural()
    if annotations is None or images is None:
        raise OptionError("--annotations and --images go together; give both, or neither")
    source = CocoScenes(annotations, images)
    return source, source if held_out is None else CocoScenes(held_out, images)
