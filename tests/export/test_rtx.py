"""Plans built for real by TensorRT for RTX on the CPU; running them needs a GPU."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from rich.progress import Progress

from engine.card import Card
from engine.errors import ModelError, OptionError
from export import rtx, to_trt
from export.graph import read_onnx
from export.precision import to_half, without_row_cuts

pytest.importorskip("tensorrt_rtx", reason="no TensorRT for RTX on this platform")


@pytest.fixture(scope="module")
def typed(exported: Path) -> onnx.ModelProto:
    return without_row_cuts(to_half(read_onnx(exported)[0])[0])


def test_a_plan_and_its_card_are_written(exported: Path, tmp_path: Path) -> None:
    """The plan is TensorRT's own format; the card beside it names it, its builder and its sizes."""
    output = tmp_path / "small.engine"
    to_trt.main(exported, output=output)
    data = output.read_bytes()
    assert data[:4] == b"vtrt"
    assert struct.unpack("<Q", data[16:24])[0] == len(data)
    card = Card.from_json((tmp_path / "small.engine.json").read_text(), "card")
    assert card.precision == "fp16"
    assert card.plan_sha256 == hashlib.sha256(data).hexdigest()
    assert card.runtime["flavour"] == "tensorrt-rtx"
    assert card.runtime["max"] == "2048x2048"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.engine", "small.engine.json"]


def test_fp16_takes_about_half_the_plan(exported: Path, tmp_path: Path) -> None:
    """An fp32 plan is nearly twice as large: the types in the graph are what is built."""
    for precision in to_trt.Precision:
        to_trt.main(exported, output=tmp_path / precision.value, precision=precision)
    half, full = ((tmp_path / name).stat().st_size for name in ("fp16", "fp32"))
    assert full > 1.6 * half
    assert json.loads((tmp_path / "fp32.json").read_text())["precision"] == "fp32"


@pytest.mark.slow
@pytest.mark.parametrize("corner", [(1, 1), (1, 2048), (480, 640), (2048, 2048)])
def test_every_corner_of_the_profile_builds(
    typed: onnx.ModelProto, corner: tuple[int, int]
) -> None:
    """The builder checks shapes at the usual size only, so each corner is built as that."""
    with Progress(disable=True) as progress:
        plan = rtx.build(typed, rtx.Profile(corner, corner, corner), progress)
    assert len(plan.data) > 1e6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepmask_vgg", "deepmask_resnet50"])
def test_the_published_nets_build(name: str) -> None:
    """The 2015 and the 2016 net make fp16 plans too."""
    from export.graph import trace
    from export.models.deepmask import MODELS
    from export.models.dense import DenseDeepMask

    graph = without_row_cuts(to_half(trace(DenseDeepMask(MODELS[name](), 500)))[0])
    with Progress(disable=True) as progress:
        plan = rtx.build(graph, rtx.Profile((1, 1), (480, 640), (1024, 1024)), progress)
    weights = sum(p.numel() for p in MODELS[name]().parameters())
    assert 2 * weights < len(plan.data) < 2.2 * weights


def test_the_progress_bar_shows_the_builders_phases(typed: onnx.ModelProto) -> None:
    """The build is one task that ends complete; its steps have been named."""
    progress = Progress(disable=True)
    rtx.build(typed, rtx.Profile((1, 1), (64, 64), (128, 128)), progress)
    whole = progress.tasks[0]
    assert whole.description == "Building engine"
    assert whole.total
    assert whole.completed == whole.total


def test_a_graph_that_cannot_be_built_is_one_sentence() -> None:
    """The builder's own words are in the message, on one line."""
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["picture"], ["y"])],
        "g",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["h", "w", 3])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [3, "n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    with Progress(disable=True) as progress, pytest.raises(ModelError) as error:
        rtx.build(model, rtx.Profile((1, 1), (8, 8), (9, 9)), progress)
    assert "TensorRT-RTX cannot" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sizes", [("10", "20x20", "30x30"), ("0x1", "2x2", "3x3"), ("9x9",) * 2])
def test_sizes_must_be_height_x_width(exported: Path, tmp_path: Path, sizes: tuple) -> None:
    """Sizes that do not parse or do not rise are refused before anything is built."""
    smallest, usual, largest = (*sizes, "8x9")[:3]
    with pytest.raises(OptionError, match="--m"):
        to_trt.main(
            exported, output=tmp_path / "x", smallest=smallest, usual=usual, largest=largest
        )
    assert not list(tmp_path.iterdir())
