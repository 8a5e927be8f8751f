"""A checkpoint to one ONNX file that runs anywhere and says what it is.

    python export/to_onnx.py deepmask_small --weights FILE --output FILE
    python export/to_onnx.py --weights maskrcnn.pth --output FILE

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
from engine.files import check_writable
from engine.picture import Picture, read_picture
from export import detector_graph
from export.checkpoints.recognize import read_network
from export.detector_parity import compare_detections, torch_segmenter
from export.graph import make_card, trace
from export.labels import read_labels
from export.model_file import save_onnx, set_card
from export.models.deepmask import MODELS, DeepMask
from export.models.dense import DenseDeepMask
from export.models.rcnn.model import Rcnn
from export.verify import check_parity, noise, torch_backend
from maskrt.console import console

SHIPPED = {"deepmask_small": Path(__file__).parent / "weights" / "deepmask_small.pth"}
MOST_ROWS = 3840
"""What TensorRT's TopK takes."""


def main(
    output: Annotated[Path, typer.Option(help="The ONNX file to write.")],
    model: Annotated[
        str | None,
        typer.Argument(
            help=f"{', '.join(MODELS)}, or a detector's name as maskrcnn_resnet50_fpn; left out: "
            "what the checkpoint's keys say."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint (.pth, .pkl). Left out: the shipped one, where there is one."
        ),
    ] = None,
    score_threshold: Annotated[
        float | None,
        typer.Option(help="DeepMask: the card's default; a detector: the floor of its graph."),
    ] = None,
    proposals: Annotated[
        int | None, typer.Option(help="DeepMask: windows that get a mask, at most. [default: 500]")
    ] = None,
    mask_nms: Annotated[
        float | None, typer.Option(help="DeepMask: the card's default IoU; 1 keeps all.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="DeepMask: the card's default number of results.")
    ] = None,
    pack: Annotated[
        bool, typer.Option(help="DeepMask: all levels of the pyramid in one call.")
    ] = False,
    size: Annotated[
        str, typer.Option(help="Detectors: the graph's input, HxW, or any size.")
    ] = "dynamic",
    max_detections: Annotated[
        int | None, typer.Option(help="Detectors: of a picture. [default: 100]")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Detectors: one name a line, or COCO annotations. [default: COCO's]"),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Picture for the parity report; left out: noise.")
    ] = None,
) -> None:
    """Export a trained network to ONNX, its card inside."""
    for name, share in (("--score-threshold", score_threshold), ("--mask-nms", mask_nms)):
        if share is not None and not 0 <= share <= 1:
            raise OptionError(f"{name} is {share}; give a number from 0 to 1")
    for name, number, most in (
        ("--proposals", proposals, MOST_ROWS),
        ("--top", top, MOST_ROWS),
        ("--max-detections", max_detections, 1000),
    ):
        if number is not None and not 1 <= number <= most:
            raise OptionError(f"{name} is {number}; give a number from 1 to {most}")
    canvas = _canvas(size)
    check_writable(output)
    sample = noise() if picture is None else read_picture(picture)
    limits = {"detections": max_detections, "score_threshold": score_threshold}
    network = load(model, weights, **{k: v for k, v in limits.items() if v is not None})
    if isinstance(network, DeepMask):
        _refuse(network.spec.name, size=canvas, max_detections=max_detections, labels=labels)
        _export_deepmask(
            network, output, sample, proposals=proposals or 500, pack=pack,
            score_threshold=score_threshold, mask_nms=mask_nms, top=top,
        )  # fmt: skip
    else:
        _refuse(
            network.spec.name, proposals=proposals, mask_nms=mask_nms, top=top, pack=pack or None
        )
        _export_detector(network, output, sample, canvas=canvas, labels=labels)


def _export_deepmask(
    network: DeepMask,
    output: Path,
    sample: Picture,
    *,
    proposals: int,
    pack: bool,
    score_threshold: float | None,
    mask_nms: float | None,
    top: int | None,
) -> None:
    results = network.spec.top if top is None else top
    if pack and results > proposals:
        raise OptionError(
            f"--top is {results} and --pack gives {proposals} results for all levels together; "
            f"give --proposals {results}"
        )
    dense = DenseDeepMask(network, proposals)
    card = make_card(
        network,
        network.state_dict(),
        proposals=proposals,
        pieces=len(network.spec.scales) if pack else 1,
        score_threshold=score_threshold,
        mask_nms=mask_nms,
        top=top,
    )
    with console.status(f"tracing {network.spec.name}"):
        graph = trace(dense, card.pieces)
        set_card(graph, card)
        save_onnx(graph, output)
    console.print(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")
    with Segmenter(output) as exported:
        report = check_parity(torch_backend(dense, card), exported.backend, sample)
    console.print(report.table("PyTorch", "ONNX on onnxruntime"))
    report.require(score=1e-4, mask=1e-2)


def _export_detector(
    network: Rcnn,
    output: Path,
    sample: Picture,
    *,
    canvas: tuple[int, int] | None,
    labels: Path | None,
) -> None:
    spec = network.spec
    if canvas is not None and any(side % spec.multiple for side in canvas):
        raise OptionError(
            f"--size is {canvas[0]}x{canvas[1]} and {spec.name} needs multiples of {spec.multiple}"
        )
    names = None if labels is None else read_labels(labels, spec.classes)
    card = detector_graph.make_card(network, canvas=canvas, labels=names)
    with console.status(f"tracing {spec.name}"):
        graph = detector_graph.trace(network, canvas)
        set_card(graph, card)
        save_onnx(graph, output)
    console.print(
        f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB): {spec.name} of "
        f"{spec.rules.framework}, {spec.classes} classes, input {size_name(canvas)}"
    )
    with console.status("comparing with PyTorch"), Segmenter(output) as exported:
        report = compare_detections(torch_segmenter(network, card), exported, sample)
    console.print(report.table("PyTorch", "ONNX on onnxruntime"))
    report.require(matched=0.99, score=2e-3, masks=0.99)


def size_name(canvas: tuple[int, int] | None) -> str:
    """How a graph's input size is written."""
    return "of any size" if canvas is None else f"{canvas[0]} x {canvas[1]}"


def _canvas(size: str) -> tuple[int, int] | None:
    if size == "dynamic":
        return None
    height, _, width = size.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise OptionError(f"--size is {size!r}; give height x width, like 800x1344, or dynamic")
    canvas = int(height), int(width)
    if not all(64 <= side <= 8192 for side in canvas):
        raise OptionError(f"--size is {size}; give sides from 64 to 8192")
    return canvas


def _refuse(name: str, **options: object) -> None:
    """An option of the other kind of network would be left unheard."""
    for option, value in options.items():
        if value is not None:
            written = option.replace("_", "-")
            raise OptionError(f"--{written} means nothing to {name}; leave it out")


def load(model: str | None, weights: Path | None, **limits: float) -> DeepMask | Rcnn:
    """The network with the checkpoint's weights, or the shipped ones."""
    path = SHIPPED.get(model or "") if weights is None else weights
    if path is None and model is None:
        raise OptionError("give a model's name, or a checkpoint with --weights")
    if path is None:
        known = model in MODELS or str(model).partition("_")[0].endswith("rcnn")
        if not known:
            raise OptionError(f"there is no model {model!r}; choose one of {', '.join(MODELS)}")
        raise ModelError(f"no weights are shipped for {model}; give a checkpoint with --weights")
    return read_network(path, model, **limits)
