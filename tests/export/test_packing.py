"""Several levels in one call: the results are those of a call for each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.progress import Progress

import engine.pieces
from benchmarks.score_first import spread_scores
from engine import Instances, OptionError, Segmenter
from engine.backends import Tensors
from engine.backends.fake import FakeBackend
from engine.pieces import TILE, Piece, calls, input_limits
from engine.prepare import Level
from engine.tiling import tiles
from export.graph import make_card, trace
from export.model_file import read_onnx, save_onnx, set_card
from export.models.deepmask import MODELS
from export.models.dense import DenseDeepMask
from export.profiles import make_profile
from export.tensorrt_graph import for_tensorrt
from export.to_onnx import load
from export.verify import noise, torch_backend

SCALES = [1.5, 1.0, 0.7]


@pytest.fixture(scope="module")
def packed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped net with three pictures a call."""
    network = load("deepmask_small", None)
    card = replace(make_card(network, {}, proposals=500, pieces=3), scales=SCALES)
    graph = trace(DenseDeepMask(network, 500), 3)
    set_card(graph, card)
    path = tmp_path_factory.mktemp("packed") / "packed.onnx"
    save_onnx(graph, path)
    return path


@pytest.fixture(scope="module")
def packed(packed_file: Path) -> Segmenter:
    return Segmenter(packed_file)


def counted(segmenter: Segmenter, **changes: object) -> tuple[Segmenter, list[list[int]]]:
    """The same with another card, and the sides of the pictures that each call is given."""
    seen: list[list[int]] = []

    def run(inputs: Tensors) -> Tensors:
        seen.append([inputs[name].shape[0] for name in segmenter.card.pictures])
        return segmenter.backend.run(inputs)

    return Segmenter(FakeBackend(replace(segmenter.card, **changes), run)), seen


def assert_same(found: Instances, expected: Instances) -> None:
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    # Where scores tie to the last digits either order is right.
    same = (found.mask_boxes == expected.mask_boxes).all(1)
    assert same.mean() > 0.98 if len(same) else True
    np.testing.assert_allclose(found.mask_values[same], expected.mask_values[same], atol=2e-3)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 260), st.integers(1, 260), st.integers(0, 99),
    st.lists(st.sampled_from([0.3, 0.5, 0.7, 1.0, 1.3]), min_size=1, max_size=5, unique=True),
)  # fmt: skip
def test_one_call_is_level_by_level(
    exported: Path, packed: Segmenter, height: int, width: int, seed: int, scales: list[float]
) -> None:
    """Pictures of odd sizes, with fewer and with more levels than a call takes."""
    picture = noise(height, width, seed)
    options = {"scales": scales, "score_threshold": 0.0, "mask_nms": 1.0, "top": 150}
    with Segmenter(exported) as single:
        assert_same(packed(picture, **options), single(picture, **options))


def test_a_pyramid_is_one_call(packed: Segmenter) -> None:
    """All levels go into one call; what is left of a call sees a single pixel."""
    segmenter, seen = counted(packed)
    segmenter(noise(100, 120))
    segmenter(noise(100, 120), scales=[0.5])
    assert seen == [[150, 100, 70], [50, 1, 1]]


def test_large_levels_are_tiles_in_several_calls(
    exported: Path, packed: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pixels of a call are bounded, whatever the picture."""
    picture = noise(330, 560)
    options = {"score_threshold": 0.0, "mask_nms": 1.0, "top": 200}
    with Segmenter(exported) as single:
        expected = single(picture, scales=SCALES, **options)
    assert len(expected) == 200
    monkeypatch.setattr(engine.pieces, "TILE", 400)
    segmenter, seen = counted(packed)
    assert_same(segmenter(picture, **options), expected)
    assert len(seen) > 3
    assert max(map(max, seen)) <= 400


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, TILE), st.integers(1, TILE)), max_size=20),
    st.lists(st.tuples(st.integers(1, TILE), st.integers(1, TILE)), max_size=5),
)
def test_every_piece_has_one_place(
    sizes: list[tuple[int, int]], more: list[tuple[int, int]]
) -> None:
    """In order, each where it fits, no call above its pixels unless by a single piece."""
    card = make_card(MODELS["deepmask_small"](), {}, proposals=9)
    some = next(tiles(1, 1, card, (1, 1)))
    shapes = [np.empty(size, np.uint8) for size in sizes]
    pieces = [Piece(Level(1, 1, 1.0, 1.0), some, pixels) for pixels in shapes]
    limits = [(TILE, TILE), *more]
    found = list(calls(pieces, limits))
    assert all(len(call) == len(limits) for call in found)
    order = [id(piece) for call in found for piece in call if piece is not None]
    assert sorted(order) == sorted(map(id, pieces))
    for call in found:
        areas = [piece.pixels.size for piece in call if piece is not None]
        assert areas
        assert sum(areas) <= TILE * TILE
        for piece, (tall, wide) in zip(call, limits, strict=True):
            fits = piece is None or (
                piece.pixels.shape[0] <= tall and piece.pixels.shape[1] <= wide
            )
            assert fits


def test_a_call_gives_no_more_than_its_rows(packed: Segmenter) -> None:
    """More results than one call has for all levels would be silently fewer."""
    with pytest.raises(OptionError, match=r"top is 501, .* --proposals 501"):
        packed(noise(60, 60), top=501)


def test_a_plan_takes_the_levels_of_its_largest_picture(packed: Segmenter) -> None:
    """Each input has the size of its level; left over ones may be a pixel; --max is --opt."""
    card = packed.card
    profile = make_profile(card, None, "200x300", None)
    assert profile.pictures == {
        "picture": ((1, 1), (300, 450), (300, 450)),
        "picture_2": ((1, 1), (200, 300), (200, 300)),
        "picture_3": ((1, 1), (140, 210), (140, 210)),
    }
    assert (profile.smallest, profile.largest) == ((1, 1), (200, 300))
    segmenter, seen = counted(packed, runtime={"max": "200x300"})
    assert input_limits(segmenter.card) == [(300, 450), (200, 300), (140, 210)]
    segmenter(noise(200, 300))
    assert seen == [[300, 200, 140]]
    segmenter(noise(220, 300))  # larger than the plan is built for: in tiles
    assert all(a <= 300 and b <= 200 and c <= 140 for a, b, c in seen)
    with pytest.raises(OptionError, match="--min means nothing"):
        make_profile(card, "20x20", None, None)


def test_a_plan_is_built(packed: Segmenter, packed_file: Path) -> None:
    """By TensorRT for RTX, each input with the sizes of its level."""
    pytest.importorskip("tensorrt_rtx", reason="no TensorRT for RTX on this platform")
    from export import builder

    graph = for_tensorrt(read_onnx(packed_file)[0], with_plugins=False)
    profile = make_profile(packed.card, None, "120x160", None)
    with Progress(disable=True) as progress:
        plan = builder.build(graph, profile, progress, precision="fp32")
    assert len(plan.data) > 1e6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepmask_vgg", "deepmask_resnet50"])
def test_the_published_nets_packed(name: str) -> None:
    """Zero and mirrored padding alike, as PyTorch computes them."""
    torch.manual_seed(0)
    network = spread_scores(MODELS[name]().eval(), noise(240, 320))
    dense = DenseDeepMask(network, 300)

    def run(pieces: int, scales: Sequence[float]) -> Instances:
        card = make_card(network, {}, proposals=300, pieces=pieces)
        segmenter = Segmenter(torch_backend(dense, card))
        return segmenter(noise(90, 120), scales=scales, score_threshold=0, mask_nms=1, top=100)

    expected = run(1, [1.0, 0.5])
    assert len(expected) > 50
    assert_same(run(2, [1.0, 0.5]), expected)
