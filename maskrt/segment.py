"""`maskrt segment`: one picture in, its objects as COCO results, a drawing and a table out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.table import Table

from engine import Instances, OutputError, Segmenter
from engine.files import write_aside
from engine.picture import Picture, read_picture
from maskrt.console import console

SHOWN = 30


def segment(
    picture: Annotated[Path, typer.Argument(help="A PNG, JPEG, TIFF, WebP or BMP file.")],
    model: Annotated[Path, typer.Option(help="A model from `maskrt export`.")],
    results: Annotated[Path | None, typer.Option("--json", help="COCO results to write.")] = None,
    drawn: Annotated[Path | None, typer.Option(help="Picture with the masks to write.")] = None,
    score_threshold: Annotated[float | None, typer.Option(help="From 0 to 1.")] = None,
    mask_nms: Annotated[float | None, typer.Option(help="IoU; 1 keeps all.")] = None,
    top: Annotated[int | None, typer.Option(help="Results at most.")] = None,
    image_id: Annotated[int, typer.Option(help="For the COCO results.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1.")] = None,
    backend: Annotated[str | None, typer.Option(help="onnxruntime, openvino or tensorrt.")] = None,
    precision: Annotated[str | None, typer.Option(help="bf16: with openvino.")] = None,
) -> None:
    """Find the objects of a picture."""
    with Segmenter(model, device=device, backend=backend, precision=precision) as segmenter:
        pixels = read_picture(picture)
        start = time.perf_counter()
        found = segmenter(pixels, score_threshold=score_threshold, mask_nms=mask_nms, top=top)
        seconds = time.perf_counter() - start
    report(found, pixels, results=results, drawn=drawn, image_id=image_id)
    height, width = found.size
    console.print(f"{len(found)} objects in {width} x {height} pixels, {seconds * 1000:.0f} ms")


def report(
    found: Instances, picture: Picture, *, results: Path | None, drawn: Path | None, image_id: int
) -> None:
    """Print the objects as a table and write the files that were asked for."""
    console.print(_table(found))
    if results is not None:
        with write_aside(results) as aside:
            aside.write_text(json.dumps(found.to_coco(image_id), indent=1) + "\n")
        console.print(f"wrote {results}")
    if drawn is not None:
        with write_aside(drawn) as aside:
            if not _encode(aside, found.draw(picture)):
                raise OutputError(f"cannot write {drawn}; give a name that ends in .png or .jpg")
        console.print(f"wrote {drawn}")


def _encode(path: Path, picture: Picture) -> bool:
    try:
        return cv2.imwrite(str(path), picture)
    except cv2.error:  # a suffix that OpenCV has no encoder for
        return False


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
