"""All levels of a pyramid in one call, against a call for each level.

    python benchmarks/packing.py deepmask_small

Both graphs run on onnxruntime's CPU, interleaved A B A B in one run, after their answers were
compared. What is timed is the way from the picture to its best windows and their small masks;
bringing the masks to the picture's pixels is the same for both. The weights are random: what is
measured does not depend on them.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.score_first import check, open_exported, seconds, spread_scores
from engine import Segmenter
from engine.card import ProposalCard
from engine.picture import Picture
from engine.proposer import Winners, best_windows
from export.models.deepmask import MODELS
from export.models.dense import DenseDeepMask
from export.verify import noise
from maskrt.console import console, run_script

SIZES = (120, 160), (240, 320), (480, 640)


def main(
    models: Annotated[list[str], typer.Argument(help="Names of models.")],
    proposals: Annotated[int, typer.Option(help="Masks a picture.")] = 500,
    rounds: Annotated[int, typer.Option(help="Timed runs of each form.")] = 9,
    threads: Annotated[int | None, typer.Option(help="Left out: all cores.")] = None,
) -> None:
    """Time both forms of each model at three sizes of picture."""
    check(models, rounds)
    table = Table(title=f"whole pyramid, {proposals} proposals, median of {rounds} rounds")
    for column in ("model", "picture", "by levels, ms", "one call, ms", "ratio", "from", "to"):
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    for name in models:
        with tempfile.TemporaryDirectory() as folder:
            levels, packed = _segmenters(name, proposals, Path(folder), threads)
        for height, width in SIZES:
            picture = noise(height, width)
            first, second = (partial(_windows, some, picture) for some in (levels, packed))
            expected, found = first(), second()
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
            same = (found.boxes == expected.boxes).all(1)  # but for ties
            assert same.mean() > 0.98
            np.testing.assert_allclose(found.logits[same], expected.logits[same], atol=1e-3)
            pairs = [(seconds(first), seconds(second)) for _ in range(rounds)]
            ratios = [a / b for a, b in pairs]
            times = (median(column) * 1000 for column in zip(*pairs, strict=True))
            table.add_row(
                name, f"{width} x {height}", *(f"{t:.0f}" for t in times),
                *(f"{r:.2f}" for r in (median(ratios), min(ratios), max(ratios))),
            )  # fmt: skip
    console.print(table)


def _segmenters(
    name: str, proposals: int, folder: Path, threads: int | None
) -> tuple[Segmenter, Segmenter]:
    torch.manual_seed(0)
    network = spread_scores(MODELS[name]().eval(), noise(480, 640))
    dense = DenseDeepMask(network, proposals)
    single = open_exported(network, dense, folder, threads)
    return single, open_exported(network, dense, folder, threads, len(network.spec.scales))


def _windows(segmenter: Segmenter, picture: Picture) -> Winners:
    card = segmenter.card
    assert isinstance(card, ProposalCard)
    return best_windows(segmenter.backend, card, picture, card.scales, 0.0, card.proposals)


if __name__ == "__main__":
    run_script(main)
