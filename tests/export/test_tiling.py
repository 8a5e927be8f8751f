"""Tiled equals untiled: the same windows with the same scores and masks, whatever the tiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.pieces
from benchmarks.score_first import spread_scores
from engine import Segmenter
from engine.backends import Tensors
from engine.backends.fake import FakeBackend
from engine.tiling import EVERY_WINDOW, spans, tiles
from export.graph import make_card
from export.models.deepmask import MODELS
from export.models.dense import DenseDeepMask
from export.models.receptive import field_of, halo_of
from export.models.trunks import resnet50_conv4, small, vgg_a
from export.verify import noise, torch_backend


@pytest.fixture(scope="module")
def segmenter(exported: Path) -> Segmenter:
    return Segmenter(exported)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 3000), st.integers(1, 900), st.sampled_from([64, 128, 160, 224]),
    st.integers(0, 140),
)  # fmt: skip
def test_every_window_has_one_owner(length: int, side: int, patch: int, halo: int) -> None:
    """Tiles share no window and leave none out; each sees what its windows look at."""
    card = _Sizes(patch, halo)
    found = spans(length, card, side)
    windows = length // 16 + 1
    owned = [k for span in found for k in range(span.first, min(span.last, windows))]
    assert owned == list(range(windows))
    smallest = 16 * (2 * -(-(patch // 2 + halo) // 16) + 1)
    for span in found:
        assert span.start % 16 == 0
        assert 0 <= span.start < span.stop <= length
        assert span.stop - span.start <= max(side, smallest)
        for window in (span.first, min(span.last, windows) - 1):
            reach = patch // 2 + halo
            assert span.start == 0 or span.start <= 16 * window - reach
            assert span.stop == length or span.stop >= 16 * window + reach


class _Sizes:
    stride = 16

    def __init__(self, patch: int, halo: int) -> None:
        self.patch, self.halo = patch, halo


def compare(run: object, card: object, picture: np.ndarray, side: int) -> int:
    """All windows of a level by tiles against the level as a whole; how many tiles there were."""
    floor = {"min_score": np.zeros(1, np.float32)}
    whole = run({"picture": picture, "owned": EVERY_WINDOW} | floor)
    n = int(whole["count"][0])
    expected = {tuple(w): k for k, w in enumerate(whole["windows"][:n].tolist())}
    seen: dict[tuple[int, int], tuple[float, np.ndarray]] = {}
    count = 0
    for tile in tiles(*picture.shape[:2], card, (side, side + 40)):
        rows, columns = tile.rows, tile.columns
        part = np.ascontiguousarray(picture[rows.start : rows.stop, columns.start : columns.stop])
        found = run({"picture": part, "owned": tile.owned} | floor)
        m = int(found["count"][0])
        windows = found["windows"][:m] + tile.offset
        for k, window in enumerate(map(tuple, windows.tolist())):
            assert window not in seen
            seen[window] = float(found["scores"][k]), found["masks"][k]
        count += 1
    assert seen.keys() == expected.keys()
    for window, (score, mask) in seen.items():
        k = expected[window]
        assert abs(score - whole["scores"][k]) < 1e-4
        np.testing.assert_allclose(mask, whole["masks"][k], atol=2e-3)
    return count


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 350), st.integers(1, 350), st.integers(270, 340), st.integers(0, 99))
def test_tiled_is_untiled(
    segmenter: Segmenter, height: int, width: int, side: int, seed: int
) -> None:
    """Of the shipped net on pictures of odd sizes: every window, score and mask."""
    picture = noise(height, width, seed)
    compare(segmenter.backend.run, segmenter.card, picture, side)


def test_there_are_several_tiles(segmenter: Segmenter) -> None:
    """A picture that has them, so that the property is about something."""
    assert compare(segmenter.backend.run, segmenter.card, noise(340, 345), 272) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepmask_vgg", "deepmask_resnet50"])
def test_the_published_nets_tiled(name: str) -> None:
    """Zero and mirrored padding alike, as PyTorch computes them."""
    torch.manual_seed(0)
    picture = noise(530, 420)
    network = spread_scores(MODELS[name]().eval(), picture)
    card = make_card(network, {}, proposals=2000)
    backend = torch_backend(DenseDeepMask(network, 2000), card)
    reach = 2 * (card.patch // 2 + card.halo) + 64
    assert compare(backend.run, card, picture, min(reach, 500)) >= 2


@pytest.mark.parametrize("make", [small, vgg_a, resnet50_conv4])
def test_the_halo_is_as_far_as_the_net_looks(make: object) -> None:
    """Pixels beyond a feature's field change nothing; those at its ends do."""
    torch.manual_seed(0)
    trunk = make().eval().double()
    field = field_of(trunk)
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.copy_(parameter.abs() + 1e-3)  # nothing cancels, no ReLU is shut
    side = 16 * 40
    at = 20
    first = field.first + at * field.jump
    x = torch.rand(1, 3, 32, side, dtype=torch.float64)
    with torch.no_grad():
        before = trunk(x)[..., at]
        for column, changes in (
            (first - 1, False), (first + field.size, False), (first, True),
            (first + field.size - 1, True),
        ):  # fmt: skip
            moved = x.clone()
            moved[..., column] += 100
            assert bool((trunk(moved)[..., at] != before).any()) == changes
    assert halo_of(trunk, 160) >= field.size // 2 - 16


@pytest.mark.parametrize("by_plan", [False, True])
def test_a_segmenter_tiles_what_is_large(
    exported: Path, monkeypatch: pytest.MonkeyPatch, by_plan: bool
) -> None:
    """The same objects, with calls that stay below the tile's side, or what a plan takes."""
    picture = np.tile(noise(300, 400), (1, 2, 1))
    with Segmenter(exported) as whole:
        expected = whole(picture, scales=[1.0, 0.5], score_threshold=0.0, mask_nms=1.0, top=200)
        sizes = []

        def run(inputs: Tensors) -> Tensors:
            sizes.append(inputs["picture"].shape)
            return whole.backend.run(inputs)

        card = whole.card
        if by_plan:
            card = replace(card, runtime={"max": "320x340"})
        else:
            monkeypatch.setattr(engine.pieces, "TILE", 320)
        tiled = Segmenter(FakeBackend(card, run))
        found = tiled(picture, scales=[1.0, 0.5], score_threshold=0.0, mask_nms=1.0, top=200)
    assert len(sizes) > 6
    assert max(size[0] for size in sizes) <= 320
    assert max(size[1] for size in sizes) <= (340 if by_plan else 320)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
