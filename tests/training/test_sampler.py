"""Windows: positives are centred on their object, negatives are away from all of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.models.deepmask import MODELS
from export.training.sampler import Jitter, Sampler, Window, _Objects
from export.training.scenes import Scene, draw_scene

SPEC = MODELS["deepmask_small"]().spec


def _disc(x: int = 150, y: int = 130, radius: int = 40) -> Scene:
    """A plain bright disc on black."""
    picture = np.zeros((300, 320, 3), np.uint8)
    cv2.circle(picture, (x, y), radius, (255, 255, 255), -1)
    return Scene(picture, (picture[..., 0] > 0)[None], np.array([True]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_positives_object_is_where_the_mask_says(seed: int) -> None:
    """The patch's pixels of the object and its target mask coincide, flipped or not."""
    batch = Sampler(SPEC, np.random.default_rng(seed)).batch(_disc(), 8)
    assert batch is not None
    margin, side = SPEC.margin, SPEC.patch
    for patch, mask, label in zip(batch.patches, batch.masks, batch.labels, strict=True):
        if label < 0:
            continue
        inner = patch[0, margin : margin + side, margin : margin + side]
        seen = cv2.resize(inner, mask.shape, interpolation=cv2.INTER_LINEAR) > 127
        # Outside the scene it is grey, just above the threshold; the disc never reaches it.
        seen &= ~(cv2.resize(inner, mask.shape, interpolation=cv2.INTER_NEAREST) == 128)
        truth = mask > 0
        assert (seen & truth).sum() > 0.93 * (seen | truth).sum()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_positive_is_centred_and_fits(seed: int) -> None:
    """Its object is off by the jitter at most, in place and in scale."""
    sampler = Sampler(SPEC, np.random.default_rng(seed))
    jitter = Jitter.of(SPEC)
    batch = sampler.batch(_disc(), 8)
    assert batch is not None
    per_cell = SPEC.patch / SPEC.target
    for mask in batch.masks[batch.labels > 0]:
        ys, xs = np.nonzero(mask > 0)
        assert abs(xs.mean() + 0.5 - SPEC.target / 2) * per_cell < jitter.shift + 1.5
        assert abs(ys.mean() + 0.5 - SPEC.target / 2) * per_cell < jitter.shift + 1.5
        longest = max(np.ptp(xs), np.ptp(ys)) + 1
        assert abs(np.log2(longest * per_cell / SPEC.object_size)) < jitter.octave + 0.06


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_negative_is_away_from_every_object(seed: int) -> None:
    """At least the paper's distance in place, or its octave in scale, from each of them."""
    scene = draw_scene(np.random.default_rng(seed), 240)
    sampler = Sampler(SPEC, np.random.default_rng(seed))
    objects, jitter = _Objects.of(scene, SPEC), Jitter.of(SPEC)
    for _ in range(10):
        window = sampler._negative_window(scene, objects) if len(objects.x) else None
        if window is None:
            continue
        for x, y, scale in zip(objects.x, objects.y, objects.scales, strict=True):
            away = np.hypot(x - window.x, y - window.y) * window.scale
            octave = abs(np.log2(scale / window.scale))
            assert away >= jitter.negative_shift or octave >= jitter.negative_octave


def test_the_papers_distances() -> None:
    """16 and 32 pixels for a 128 pixel object, in proportion for others."""
    vgg, small = Jitter.of(MODELS["deepmask_vgg"]().spec), Jitter.of(SPEC)
    assert (vgg.shift, vgg.negative_shift, vgg.octave, vgg.negative_octave) == (16, 32, 0.25, 1)
    assert small.shift == pytest.approx(16 * 73 / 128)
    assert small.shift > 8  # half of the stride: each object is some window's positive


def test_half_are_positives() -> None:
    """A batch has as many masks as negatives."""
    batch = Sampler(SPEC, np.random.default_rng(1)).batch(_disc(), 16)
    assert batch is not None
    assert batch.labels.tolist() == [1] * 8 + [-1] * 8
    assert (batch.masks[batch.labels < 0] == -1).all()
    side = SPEC.patch + 2 * SPEC.margin
    assert (batch.patches.shape, batch.patches.dtype) == ((16, 3, side, side), np.uint8)
    assert (batch.masks.shape, batch.masks.dtype) == ((16, 112, 112), np.int8)


def test_a_scene_without_objects_gives_no_batch() -> None:
    """Nothing to ask for, nothing sampled; a hidden object is not asked for."""
    sampler = Sampler(SPEC, np.random.default_rng(0))
    blank = np.zeros((50, 50, 3), np.uint8)
    none = Scene(blank, np.zeros((0, 50, 50), bool), np.zeros(0, bool))
    assert sampler.batch(none, 4) is None
    disc = _disc()
    assert sampler.batch(Scene(disc.picture, disc.masks, np.array([False])), 4) is None


def test_windows_outside_the_scene_are_grey() -> None:
    """A window that sees nothing of the scene is all grey."""
    sampler = Sampler(SPEC, np.random.default_rng(0))
    patch = sampler._patch(_disc().picture, Window(-500, -500, 1.0))
    assert (patch == 128).all()
