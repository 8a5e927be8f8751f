"""`maskrt demo`: the whole way on one photo, from the shipped checkpoint to masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import BackendError, OutputError
from export import to_onnx, to_trt
from export.build_options import load_builder
from maskrt.console import console
from maskrt.segment import segment

PHOTO = Path(__file__).parent / "data" / "coins.png"
MODEL = "deepmask_small"


def demo(
    output: Annotated[Path, typer.Option(help="Folder for the models and results.")] = Path(
        "out/demo"
    ),
    photo: Annotated[Path, typer.Option(help="Another picture than the shipped one.")] = PHOTO,
) -> None:
    """Export the shipped checkpoint, compile it, and segment a photo."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {output}: {error.strerror}; give another --output"
        ) from error
    model = output / f"{MODEL}.onnx"

    console.rule("1. checkpoint to ONNX")
    to_onnx.main(model, MODEL, picture=photo)

    console.rule("2. ONNX to a TensorRT FP16 engine, without a GPU")
    try:
        load_builder("tensorrt-rtx")
    except BackendError as error:
        console.print(f"left out: {error}")
    else:
        to_trt.main(
            model, output=output / f"{MODEL}.engine", backend=to_trt.Target.rtx, picture=photo
        )

    console.rule("3. a photo in, masks out")
    name = photo.stem
    segment(
        str(photo),
        model=model,
        results=output / f"{name}.json",
        drawn=output / f"{name}.png",
        image_id=1,
    )
