"""Drawn scenes: seeded, endless, and their masks are what can be seen."""

from __future__ import annotations

from itertools import islice

import numpy as np

from export.models.deepmask import MODELS
from export.training.batches import Batches, Procedural
from export.training.scenes import procedural_scenes


def test_the_same_seed_is_the_same_stream() -> None:
    """Scenes repeat with their seed and differ from scene to scene and from seed to seed."""
    first, again = (list(islice(procedural_scenes(5, 96), 3)) for _ in range(2))
    other = next(procedural_scenes(6, 96))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.picture, b.picture)
        np.testing.assert_array_equal(a.masks, b.masks)
    assert (first[0].picture != other.picture).any()
    assert (first[0].picture != first[1].picture).any()


def test_masks_are_the_visible_parts() -> None:
    """No pixel belongs to two objects, and what is asked for is there to be seen."""
    count = 0
    for scene in islice(procedural_scenes(1, 200), 25):
        assert (scene.picture.shape, scene.picture.dtype) == ((200, 200, 3), np.uint8)
        assert scene.masks.shape == (len(scene.asked), 200, 200)
        assert (scene.masks.dtype, scene.asked.dtype) == (bool, bool)
        assert scene.masks.sum(0).max(initial=0) <= 1
        assert (scene.masks.sum((1, 2)) >= 40).all()
        count += int(scene.asked.sum())
    assert count > 50


def test_a_batch_is_known_by_its_number() -> None:
    """Whoever asks for batch k gets the same one, and every batch is full."""
    spec = MODELS["deepmask_small"]().spec
    one, two = (Batches(spec, Procedural(96), size=20, steps=9, seed=3) for _ in range(2))
    one[4]
    a, b = one[2], two[2]
    np.testing.assert_array_equal(a.patches, b.patches)
    np.testing.assert_array_equal(a.masks, b.masks)
    assert len(a.labels) == 20
    assert (one[3].patches != a.patches).any()
    assert len(one) == 9
