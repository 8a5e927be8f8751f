"""How accurate models are on a COCO-format set, and what each loses against the first.

    python benchmarks/accuracy.py model.onnx model.onnx@openvino,bf16 model.engine \
        --annotations instances.json --images FOLDER --json out/accuracy.json

A model is a file (ONNX or plan) or a folder, and may say how it is to be run, after an @: a
backend, a device, a precision and threads in any order, as in `model.onnx@openvino,bf16` and
`model.onnx@threads=1`. All see the same pictures; the first one is what the others' losses are
against, so put the fp32 file first.

Detectors get COCO's AP of boxes, masks and keypoints, DeepMasks AR and AUC of their proposals
(`benchmarks/coco_scores.py` defines them; pycocotools does the scoring). A picture that cannot be
read is left out for all, a model that cannot be run has a sentence in its place; then the exit
code is 1. The JSON's fields are in `benchmarks/accuracy_report.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

try:
    import typer
    from pycocotools.coco import COCO
    from rich.progress import track

    from benchmarks.accuracy_report import Outcome, losses, report, shown
    from benchmarks.coco_scores import average_precision, average_recall, ground_truth
    from benchmarks.coco_set import CocoSet, read_set, readable
    from benchmarks.findings import found
    from benchmarks.forms import Form, check_threads, parse
    from engine import (
        MaskRTError,
        ModelError,
        OptionError,
        PictureError,
        Segmenter,
    )
    from engine.backends import PLAN_SUFFIXES
    from engine.files import check_writable, write_aside
    from maskrt.console import console, run_script
except ModuleNotFoundError as error:
    sys.exit(f"error: the package {error.name} is not installed; pip install 'maskrt[bench]'")


OPTIONS = ("backend", "device", "precision", "threads")
"""What may stand after a model's @."""


def main(
    models: Annotated[
        list[str], typer.Argument(help="FILE or FILE@HOW; the first is compared to.")
    ],
    annotations: Annotated[Path, typer.Option(help="COCO instances or keypoints, as JSON.")],
    images: Annotated[Path, typer.Option(help="The folder of its pictures.")],
    output: Annotated[
        Path | None, typer.Option("--json", help="File to write the figures to.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Of ONNX files; left out: all cores.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="Only the set's first so many pictures.")
    ] = None,
    score_threshold: Annotated[float, typer.Option(help="Results that count score this.")] = 0.0,
    mask_nms: Annotated[float, typer.Option(help="Of proposals; 1 keeps all.")] = 1.0,
) -> None:
    """Score models on the same pictures."""
    for name, value in (("--score-threshold", score_threshold), ("--mask-nms", mask_nms)):
        if not 0 <= value <= 1:
            raise OptionError(f"{name} is {value}; give a number from 0 to 1")
    check_threads(threads)
    forms = [parse(model, OPTIONS) for model in models]
    if len({form.text for form in forms}) < len(forms):
        raise OptionError(f"models are {', '.join(models)}; name each once")
    if output is not None:
        check_writable(output)
    whole = read_set(annotations, images, limit)
    looking = track(whole.images, description="reading", console=console)
    usable, left_out = readable(whole, looking)
    for _, why in left_out:
        console.print(f"left out: {why}", markup=False)
    truth = ground_truth(usable)
    settings = {"score_threshold": score_threshold, "mask_nms": mask_nms}
    outcomes = []
    for form in forms:
        try:
            outcomes.append(scored(form, usable, truth, threads, **settings))
        except MaskRTError as error:
            outcomes.append(Outcome(form.text, error=str(error)))
    outcomes = losses(outcomes)
    if output is not None:  # first: whatever the terminal does, the file is there
        with write_aside(output) as aside:
            more = {"limit": limit, "threads": threads}
            aside.write_text(report(outcomes, usable, left_out, settings | more))
    for part in shown(outcomes, usable):
        console.print(part)
    if output is not None:
        console.print(f"wrote {output}")
    failed = sum(bool(outcome.error) for outcome in outcomes)
    problems = [f"{failed} of {len(forms)} models could not be scored"] * bool(failed)
    if left_out:
        problems.append(f"{len(left_out)} of {len(whole.images)} pictures were left out")
    if problems:
        kind = ModelError if failed else PictureError
        raise kind(f"{' and '.join(problems)}; see above")


def scored(
    form: Form,
    some: CocoSet,
    truth: COCO,
    threads: int | None = None,
    score_threshold: float = 0.0,
    mask_nms: float = 1.0,
) -> Outcome:
    """Run a model over a set and score what it finds.

    Args:
        form: the model.
        some: pictures, all readable, and objects.
        truth: the same as pycocotools has it.
        threads: for the layers of an ONNX file's network, where the form says none; None for all
            cores.
        score_threshold: results score at least this.
        mask_nms: of proposals.

    Raises:
        ModelError: no model, or one whose labels are none of the set's categories.
        BackendError: its backend is not installed, lacks the device, or failed.
        OptionError: options that it does not have.
        PictureError: a picture that it does not take.
    """
    threads = None if form.path.suffix in PLAN_SUFFIXES else threads
    with Segmenter(form.path, **({"threads": threads} | form.options)) as segmenter:
        outcome, results = found(segmenter, some, form.text, score_threshold, mask_nms)
        outcome.precision = form.options.get("precision", outcome.precision)
    for kind in outcome.metrics:
        score = average_recall if outcome.task == "proposals" else average_precision
        outcome.metrics[kind] = score(truth, results, kind)
    return outcome


if __name__ == "__main__":
    run_script(main)
