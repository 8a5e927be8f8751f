"""Score first, masks for the winners, against a mask at every window.

    python benchmarks/score_first.py deepmask_vgg deepmask_resnet50

Both graphs run the whole pyramid of the same picture on onnxruntime's CPU, interleaved A B A B in
one run. Their answers are compared before anything is timed. The weights are random: what is
measured does not depend on them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import torch
import typer
from rich.table import Table

from engine import OptionError, Segmenter
from engine.picture import Picture
from export.graph import make_card, trace
from export.model_file import save_onnx, set_card
from export.models.deepmask import MODELS, DeepMask, normalize
from export.models.dense import DenseDeepMask
from export.verify import noise
from maskrt.console import console, run_script


def main(
    models: Annotated[list[str], typer.Argument(help="Names of models.")],
    proposals: Annotated[int, typer.Option(help="Masks a picture.")] = 500,
    rounds: Annotated[int, typer.Option(help="Timed runs of each form.")] = 5,
    threads: Annotated[int | None, typer.Option(help="Left out: all cores.")] = None,
) -> None:
    """Time both forms of each model on a 640 x 480 picture."""
    check(models, rounds)
    picture = noise(height=480, width=640)
    title = f"640 x 480, whole pyramid, {proposals} proposals, median of {rounds} rounds"
    table = Table(title=title)
    for column in ("model", "every mask, s", "score first, s", "ratio", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    for name in models:
        with tempfile.TemporaryDirectory() as folder:
            dense, first = _sessions(name, picture, proposals, Path(folder), threads)
            every, winners, ratios = _compare(dense, first, picture, proposals, rounds)
        table.add_row(
            name,
            *(f"{median(times):.2f}" for times in (every, winners, ratios)),
            f"{min(ratios):.2f}",
            f"{max(ratios):.2f}",
        )
    console.print(table)


def _sessions(
    name: str, picture: Picture, proposals: int, folder: Path, threads: int | None
) -> tuple[Segmenter, Segmenter]:
    torch.manual_seed(0)
    network = spread_scores(MODELS[name]().eval(), picture)
    opened = []
    for every_mask in (True, False):
        dense = DenseDeepMask(network, proposals, every_mask=every_mask)
        opened.append(open_exported(network, dense, folder, threads))
    return opened[0], opened[1]


def check(models: list[str], rounds: int) -> None:
    """Refuse models that there are not, and no rounds.

    Raises:
        OptionError: says which.
    """
    unknown = [name for name in models if name not in MODELS]
    if unknown or rounds < 1:
        raise OptionError(
            f"models {unknown}, rounds {rounds}; models are among {', '.join(MODELS)}, rounds "
            "at least 1"
        )


def open_exported(
    network: DeepMask, dense: DenseDeepMask, folder: Path, threads: int | None, pieces: int = 1
) -> Segmenter:
    """A form of a network, exported; every window counts, and no mask suppresses another.

    Args:
        network: for its card.
        dense: what is traced.
        folder: where the file is for as long as that takes.
        threads: of the session; None for all cores.
        pieces: how many pictures a call takes.
    """
    top = dense.proposals
    card = make_card(
        network, {}, proposals=top, pieces=pieces, score_threshold=0, mask_nms=1, top=top
    )
    graph = trace(dense, pieces)
    set_card(graph, card)
    path = folder / "exported.onnx"
    save_onnx(graph, path)
    opened = Segmenter(path, threads=threads)
    path.unlink()
    return opened


@torch.no_grad()
def spread_scores(network: DeepMask, picture: Picture) -> DeepMask:
    """Give a random network scores as spread as a trained one's: untouched, all are alike.

    He's initialization keeps activations from fading through the layers; then the last layer is
    scaled so that the picture's score logits have mean 0 and deviation 1.
    """
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    x = normalize(torch.from_numpy(picture).permute(2, 0, 1)[None], network.spec)
    features = network.trunk(x)
    logits = network.score_map(features, network.mask_base(features))
    last = network.score_head[-1]
    last.weight /= logits.std()
    last.bias.copy_((last.bias - logits.mean()) / logits.std())
    return network


def _compare(
    dense: Segmenter, first: Segmenter, picture: Picture, proposals: int, rounds: int
) -> tuple[list[float], list[float], list[float]]:
    """Seconds of each form, and their ratios pair by pair; the answers are checked first."""
    expected, found = dense(picture), first(picture)
    assert len(expected) == len(found) == proposals, (len(expected), len(found))
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    every, winners = [], []
    for _ in range(rounds):
        every.append(seconds(lambda: dense(picture)))
        winners.append(seconds(lambda: first(picture)))
    return every, winners, [a / b for a, b in zip(every, winners, strict=True)]


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    run_script(main)
