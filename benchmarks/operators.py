"""The portable RoIAlign against the export of torchvision's MultiScaleRoIAlign, on onnxruntime.

    python benchmarks/operators.py

Both graphs cut the same regions out of the same pyramid, interleaved A B A B in one run, after
their answers were compared. Needs torchvision: run it in the environment of `make parity`.
"""

from __future__ import annotations

import io
import sys
import time
import warnings
from collections import OrderedDict
from pathlib import Path
from statistics import median
from typing import Annotated

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import onnxruntime as ort
import torch
import typer
from rich.table import Table
from torch import Tensor, nn

from engine import BackendError
from export.operators import session_of
from maskrt.console import console, run_script
from plugins.roi_align.cases import pyramid
from plugins.roi_align.op import NAME, RoiAlignAttributes

ATTRIBUTES = RoiAlignAttributes(7, 2, aligned=False)


def main(
    regions: Annotated[int, typer.Option(help="Regions cut out.")] = 1000,
    channels: Annotated[int, typer.Option(help="Channels of the pyramid.")] = 256,
    height: Annotated[int, typer.Option(help="Of the picture.")] = 800,
    width: Annotated[int, typer.Option(help="Of the picture.")] = 1088,
    rounds: Annotated[int, typer.Option(help="Timed runs of each.")] = 9,
) -> None:
    """Time both forms."""
    boxes, features, _ = pyramid(regions, channels, height, width, ATTRIBUTES)
    ours = session_of(NAME, ATTRIBUTES.for_node(), [boxes, *features])
    theirs = _torchvision(boxes, features, height, width)
    feeds = (
        {f"i{k}": array for k, array in enumerate([boxes, *features])},
        {f"i{k}": array for k, array in enumerate([boxes[0], *features])},
    )
    a, b = ours.run(None, feeds[0])[0][0], theirs.run(None, feeds[1])[0]
    worst = float(np.abs(a - b).max())
    if worst > 1e-5:
        raise BackendError(f"the two differ by {worst:.3g}; their times would not mean anything")
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for k, session in enumerate((ours, theirs)):
            start = time.perf_counter()
            session.run(None, feeds[k])
            times[k].append(time.perf_counter() - start)
    ratios = [theirs / ours for ours, theirs in zip(*times, strict=True)]
    table = Table(
        title=f"{regions} regions of {channels} x 7 x 7 from four levels of {width} x {height}, "
        f"onnxruntime {ort.__version__}, median of {rounds} rounds; largest difference {worst:.1e}"
    )
    for column in ("ours, ms", "torchvision's, ms", "ratio", "lowest", "highest"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row(
        *(f"{1000 * median(t):.0f}" for t in times),
        *(f"{r:.2f}" for r in (median(ratios), min(ratios), max(ratios))),
    )
    console.print(table)


def _torchvision(
    boxes: np.ndarray, features: list[np.ndarray], height: int, width: int
) -> ort.InferenceSession:
    try:
        from torchvision.ops import MultiScaleRoIAlign
    except ImportError as error:
        raise BackendError(
            "torchvision is not installed here; run `make parity` once and use "
            ".venv-parity/bin/python"
        ) from error

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = MultiScaleRoIAlign([str(k) for k in range(len(ATTRIBUTES.strides))], 7, 2)

        def forward(self, boxes: Tensor, *levels: Tensor) -> Tensor:
            named = OrderedDict((str(k), level) for k, level in enumerate(levels))
            return self.pool(named, [boxes], [(height, width)])

    example = tuple(torch.from_numpy(array) for array in (boxes[0], *features))
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The exporter that torchvision's own tests use: the newer one fails on it.
        torch.onnx.export(
            Pooled().eval(), example, file, dynamo=False, opset_version=17,
            input_names=[f"i{k}" for k in range(len(example))], dynamic_axes={"i0": {0: "regions"}},
        )  # fmt: skip
    return ort.InferenceSession(file.getvalue())


if __name__ == "__main__":
    run_script(main)
