"""A checkpoint to one ONNX file that runs anywhere and says what it is.

    python export/to_onnx.py deepmask_small --weights FILE --output FILE

Also `maskrt export`. Ends with a parity report: the file on onnxruntime against PyTorch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":
    # As a script, sys.path[0] is this folder, where nothing of the project can be imported.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from maskrt.cli import main as command

    command(["export", *sys.argv[1:]])

import typer

from engine import Segmenter
from engine.errors import ModelError, OptionError
from engine.picture import read_picture
from export.checkpoints.plain import find_weights, load_weights, read_checkpoint
from export.graph import make_card, save_onnx, set_card, trace
from export.models.deepmask import MODELS, DeepMask
from export.models.dense import DenseDeepMask
from export.verify import check_parity, noise, torch_backend
from maskrt.console import console

SHIPPED = {"deepmask_small": Path(__file__).parent / "weights" / "deepmask_small.pth"}


def main(
    model: Annotated[str, typer.Argument(help=f"One of {', '.join(MODELS)}.")],
    output: Annotated[Path, typer.Option(help="The ONNX file to write.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="Checkpoint (.pth). Left out: the shipped one, where there is one."),
    ] = None,
    proposals: Annotated[int, typer.Option(help="Windows that get a mask, at most.")] = 500,
    score_threshold: Annotated[
        float | None, typer.Option(help="The card's default; left out: the model's own.")
    ] = None,
    mask_nms: Annotated[float | None, typer.Option(help="Likewise; IoU, 1 keeps all.")] = None,
    top: Annotated[int | None, typer.Option(help="Likewise; number of results.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Picture for the parity report; left out: noise.")
    ] = None,
) -> None:
    """Export a trained DeepMask to ONNX, its card inside."""
    if model not in MODELS:
        raise OptionError(f"there is no model {model!r}; choose one of {', '.join(MODELS)}")
    for name, share in (("--score-threshold", score_threshold), ("--mask-nms", mask_nms)):
        if share is not None and not 0 <= share <= 1:
            raise OptionError(f"{name} is {share}; give a number from 0 to 1")
    for name, number in (("--proposals", proposals), ("--top", top)):
        if number is not None and not 1 <= number <= 3840:  # what TensorRT's TopK takes
            raise OptionError(f"{name} is {number}; give a number from 1 to 3840")
    sample = noise() if picture is None else read_picture(picture)
    network = load(model, weights)

    dense = DenseDeepMask(network, proposals)
    with console.status(f"tracing {model}"):
        graph = trace(dense)
        card = make_card(
            network.spec,
            network.state_dict(),
            proposals=proposals,
            score_threshold=score_threshold,
            mask_nms=mask_nms,
            top=top,
        )
        set_card(graph, card)
        save_onnx(graph, output)
    console.print(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")

    with Segmenter(output) as exported:
        report = check_parity(torch_backend(dense, card), exported.backend, sample)
    console.print(report.table("PyTorch", "ONNX on onnxruntime"))
    report.require(score=1e-4, mask=1e-2)


def load(model: str, weights: Path | None) -> DeepMask:
    """The model with the checkpoint's weights, or the shipped ones."""
    path = SHIPPED.get(model) if weights is None else weights
    if path is None:
        raise ModelError(f"no weights are shipped for {model}; give a checkpoint with --weights")
    network = MODELS[model]()
    load_weights(network, find_weights(read_checkpoint(path), path), path)
    return network.eval()
