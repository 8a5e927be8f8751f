"""`maskrt verify`: the same pictures through two models; do they agree?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track
from rich.table import Table

from engine import ModelError, OptionError, Segmenter
from engine.agreement import Agreement, agreement
from engine.backends import PLAN_SUFFIXES
from engine.backends.trt import read_card
from engine.files import sha256_of
from engine.picture import read_picture
from maskrt.console import console
from maskrt.inputs import Inputs, several


def verify(
    model: Annotated[Path, typer.Argument(help="The model to check.")],
    images: Annotated[Path, typer.Option(help="A picture, or a folder of them.")],
    against: Annotated[
        Path | None,
        typer.Option(help="The model that is right; for a plan, the ONNX file that it is from."),
    ] = None,
    backend: Annotated[str | None, typer.Option(help="For the model to check.")] = None,
    precision: Annotated[str | None, typer.Option(help="bf16: with openvino.")] = None,
    least_score: Annotated[float, typer.Option(help="Results that count score this.")] = 0.5,
    iou: Annotated[float, typer.Option(help="Of two boxes that are the same result.")] = 0.9,
    matched: Annotated[float, typer.Option(help="Share of results to be found again.")] = 0.98,
    score: Annotated[float, typer.Option(help="Largest score difference, at 99 of 100.")] = 0.05,
    mask: Annotated[float, typer.Option(help="Least mean IoU of the masks.")] = 0.95,
) -> None:
    """Run pictures through two models and compare what they find; fails if they differ."""
    for name, value in (
        ("--least-score", least_score), ("--iou", iou), ("--matched", matched),
        ("--score", score), ("--mask", mask),
    ):  # fmt: skip
        if not 0 <= value <= 1:
            raise OptionError(f"{name} is {value}; give a number from 0 to 1")
    found: list[Agreement] = []
    against = against or _source(model)
    table = Table(title=f"{model} against {against}")
    for column in ("picture", "results", "found again", "box, px", "score", "mask IoU"):
        table.add_column(column, justify="left" if column == "picture" else "right")
    with (
        Segmenter(against) as right,
        Segmenter(model, backend=backend, precision=precision) as other,
    ):
        inputs = Inputs([images.name], iter([images])) if images.is_file() else several(str(images))
        pictures = zip(inputs.names, inputs.frames, strict=True)
        total = len(inputs.names)
        for name, source in track(pictures, total=total, console=console, description="pictures"):
            pixels = read_picture(source)
            expected = right(pixels)
            same = agreement(expected[expected.scores >= least_score], other(pixels), iou=iou)
            found.append(same)
            table.add_row(name, *_row(same))
    console.print(table)
    _require(found, model, matched=matched, score=score, mask=mask)


def _source(model: Path) -> Path:
    """The ONNX file beside a plan that it was built from.

    Raises:
        OptionError: it is not there, or is another one by now.
    """
    told = read_card(model).runtime if model.suffix in PLAN_SUFFIXES else {}
    source = model.with_name(told.get("source", "?"))
    if not source.is_file():
        raise OptionError(f"{model} has no ONNX file beside it to compare with; give --against")
    if sha256_of(source) != told.get("source_sha256"):
        raise OptionError(f"{model} was not built from {source} as it is now; give --against")
    return source


def _row(same: Agreement) -> list[str]:
    mask = f"{same.masks.mean():.4f}" if len(same.masks) else ""
    return [
        str(same.expected),
        str(len(same.pairs)),
        f"{same.boxes.max(initial=0):.3f}",
        f"{same.scores.max(initial=0):.1e}",
        mask,
    ]


def _require(
    found: list[Agreement], model: Path, *, matched: float, score: float, mask: float
) -> None:
    """Refuse a model that is too far off.

    Raises:
        ModelError: says by how much; also if nothing was found to compare.
    """
    expected = sum(same.expected for same in found)
    if not expected:
        raise ModelError(
            "the right model found nothing on these pictures, so nothing was compared; give others "
            "with --images, or a lower --least-score"
        )
    share = sum(len(same.pairs) for same in found) / expected
    scores = np.concatenate([same.scores for same in found])
    apart = float(np.percentile(scores, 99)) if len(scores) else 0.0
    masks = np.concatenate([same.masks for same in found])
    ious = float(masks.mean()) if len(masks) else 1.0
    said = (
        f"{share:.1%} of {expected} results found again, scores within {apart:.2g} at 99 of 100, "
        f"mean mask IoU {ious:.4f}"
    )
    if share < matched or apart > score or ious < mask:
        raise ModelError(
            f"{model} differs: {said}; at least {matched:.1%}, at most {score:g} and at least "
            f"{mask:g} are asked for"
        )
    console.print(f"passed: {said}")
