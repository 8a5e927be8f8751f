"""`maskrt segment`: pictures in; tables, COCO results, label maps and drawings out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TimeRemainingColumn
from rich.table import Table

from engine import Instances, OptionError, OutputError, PictureError, Segmenter
from engine.files import check_writable, write_aside
from engine.large import AnyPicture, open_picture, part_of
from engine.picture import PictureSource
from engine.stream import Frame
from maskrt.console import console
from maskrt.inputs import Inputs, several, single
from maskrt.lines import Lines

SHOWN = 30


def segment(
    pictures: Annotated[
        str,
        typer.Argument(help="A picture, a folder, a pattern, a video, or - for standard input."),
    ],
    model: Annotated[Path, typer.Option(help="A model from `maskrt export`.")],
    results: Annotated[
        Path | None,
        typer.Option("--json", help="COCO results to write; of several pictures, a line for each."),
    ] = None,
    drawn: Annotated[
        Path | None, typer.Option(help="Picture with the masks to write; a folder for several.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="PNG with each pixel's object, 0 for none; a folder for several."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with --json's file.")] = False,
    score_threshold: Annotated[float | None, typer.Option(help="From 0 to 1.")] = None,
    mask_nms: Annotated[float | None, typer.Option(help="IoU; 1 keeps all.")] = None,
    top: Annotated[int | None, typer.Option(help="Results at most.")] = None,
    scales: Annotated[
        str | None, typer.Option(help="DeepMask: its pyramid's factors, like 0.25,0.5,1.")
    ] = None,
    slices: Annotated[
        int | None,
        typer.Option(help="Detectors: side of slices to see small objects of large pictures in."),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(help="Pixels that slices share. [default: a quarter]")
    ] = None,
    image_id: Annotated[int, typer.Option(help="For the COCO results; of the first.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1.")] = None,
    backend: Annotated[str | None, typer.Option(help="onnxruntime, openvino or tensorrt.")] = None,
    precision: Annotated[str | None, typer.Option(help="bf16: with openvino.")] = None,
) -> None:
    """Find the objects of pictures."""
    with Segmenter(model, device=device, backend=backend, precision=precision) as segmenter:
        one = single(pictures)
        options: dict[str, Any] = {
            "score_threshold": score_threshold, "mask_nms": mask_nms, "top": top,
            "scales": None if scales is None else _factors(scales), "slices": slices,
            "overlap": overlap,
        }  # fmt: skip
        if one is not None:
            if resume:
                raise OptionError("--resume is for several pictures; leave it out")
            _check_outputs(results, drawn, masks)
            picture = open_picture(one)
            start = time.perf_counter()
            found = segmenter(picture, **options)
            seconds = time.perf_counter() - start
            report(found, picture, results, drawn, masks, image_id)
            height, width = found.size
            console.print(
                f"{len(found)} objects in {width} x {height} pixels, {seconds * 1000:.0f} ms"
            )
            return
        inputs = several(pictures)
        failed = _many(segmenter, inputs, options, results, drawn, masks, image_id, resume=resume)
    if failed:
        raise PictureError(f"{failed} could not be segmented; see above")


def _factors(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise OptionError(f"--scales is {text!r}; give factors like 0.25,0.5,1") from error


def report(
    found: Instances,
    picture: AnyPicture,
    results: Path | None,
    drawn: Path | None,
    masks: Path | None,
    image_id: int,
) -> None:
    """Print the objects of one picture as a table and write the files that were asked for."""
    console.print(_table(found))
    if results is not None:
        with write_aside(results) as aside:
            aside.write_text(json.dumps(found.to_coco(image_id), indent=1) + "\n")
        console.print(f"wrote {results}")
    whole = partial(part_of, picture, 0, found.size[0], 0, found.size[1])
    for path, make in ((drawn, lambda: found.draw(whole())), (masks, lambda: label_map(found))):
        if path is not None:
            _write(path, make())
            console.print(f"wrote {path}")


def _many(
    segmenter: Segmenter,
    inputs: Inputs,
    options: dict[str, Any],
    results: Path | None,
    drawn: Path | None,
    masks: Path | None,
    image_id: int,
    *,
    resume: bool,
) -> int:
    """Segment picture after picture; how many failed."""
    if resume and results is None:
        raise OptionError("--resume goes on with --json's file; give --json")
    lines = None if results is None else Lines(results, resume=resume)
    failed = objects = seen = 0
    total = None if inputs.is_video else len(inputs.names)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(SpinnerColumn(), *columns, console=console) as progress:
            task = progress.add_task("pictures", total=total)
            for index, frame in _wanted(segmenter, inputs, options, lines):
                name, seen = inputs.name(index), seen + 1
                content: dict[str, Any] = {"file_name": name, "image_id": image_id + index}
                if frame.objects is None or frame.picture is None:
                    failed += 1
                    progress.console.print(f"{name}: {frame.error}", markup=False)
                    content["error"] = str(frame.error)
                else:
                    objects += len(frame.objects)
                    content |= _line(frame.objects, image_id + index)
                    _pictures(frame, inputs.output(index), drawn, masks)
                if lines is not None:
                    lines.write(content)
                progress.update(task, completed=index + 1)
            progress.update(task, completed=total)
    finally:
        if lines is not None:
            lines.close()
    before = f"; {len(lines.done)} were done before" if resume and lines else ""
    console.print(f"{objects} objects in {seen - failed} pictures{before}")
    return failed


def _wanted(
    segmenter: Segmenter, inputs: Inputs, options: dict[str, Any], lines: Lines | None
) -> Iterator[tuple[int, Frame]]:
    """Each picture's number and frame; those that there are results of are passed over."""
    done = set() if lines is None else lines.done
    left: list[int] = []

    def sources() -> Iterator[PictureSource]:
        for index, source in enumerate(inputs.frames):
            if inputs.name(index) not in done:
                left.append(index)
                yield source

    for frame in segmenter.stream(sources(), **options):
        yield left[frame.index], frame


def _line(found: Instances, image_id: int) -> dict[str, Any]:
    height, width = found.size
    return {"height": height, "width": width, "annotations": found.to_coco(image_id)}


def _pictures(frame: Frame, file: Path, drawn: Path | None, masks: Path | None) -> None:
    assert frame.objects is not None
    assert frame.picture is not None
    height, width = frame.objects.size
    for folder in (drawn, masks):
        if folder is not None:
            _make_folder((folder / file).parent)
    if drawn is not None:
        _write(drawn / file, frame.objects.draw(part_of(frame.picture, 0, height, 0, width)))
    if masks is not None:
        _write(masks / file, label_map(frame.objects))


def label_map(found: Instances) -> NDArray[np.uint16]:
    """Uint16 [H, W]: the number of the best object at each pixel, from 1; 0 where there is none."""
    labels = np.zeros(found.size, np.uint16)
    crops = list(islice(found.crops(), np.iinfo(np.uint16).max))
    for number, crop in reversed(list(enumerate(crops, 1))):
        x0, y0, x1, y1 = crop.box
        labels[y0:y1, x0:x1][crop.mask] = number
    return labels


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}: {error.strerror}; give another one"
        ) from error


def _check_outputs(results: Path | None, drawn: Path | None, masks: Path | None) -> None:
    """Refuse files that could not be written, before the work.

    Raises:
        OutputError: their folder, or a picture's suffix.
    """
    for path in filter(None, (results, drawn, masks)):
        check_writable(path)
    if drawn is not None and not cv2.haveImageWriter(str(drawn)):
        raise OutputError(f"cannot write {drawn}; give a name that ends in .png or .jpg")
    if masks is not None and masks.suffix.lower() != ".png":  # JPEG would change the numbers
        raise OutputError(f"cannot write {masks}; give a name that ends in .png")


def _write(path: Path, picture: NDArray[Any]) -> None:
    with write_aside(path) as aside:
        if not cv2.imwrite(str(aside), picture):
            raise OutputError(f"cannot write {path}: its bytes could not be; is the disk full?")


def _table(found: Instances) -> Table:
    table = Table(title="objects")
    for column in ("", "label", "score", "x", "y", "width", "height", "pixels"):
        table.add_column(column, justify="left" if column == "label" else "right")
    crops = found[:SHOWN].crops() if found.has_masks else None
    for k, box in enumerate(found.boxes[:SHOWN]):
        x0, y0, x1, y1 = box.round().astype(int).tolist()
        numbers = [x0, y0, x1 - x0, y1 - y0]
        label = found.names[found.labels[k]]
        pixels = "" if crops is None else str(int(crops[k].mask.sum()))
        table.add_row(str(k + 1), label, f"{found.scores[k]:.3f}", *map(str, numbers), pixels)
    if len(found) > SHOWN:
        table.caption = f"and {len(found) - SHOWN} more"
    return table
