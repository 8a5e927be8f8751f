"""The parity report: nothing where two models agree, and every kind of difference where not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine import ModelError, Segmenter
from engine.backends import Backend, Tensors
from engine.backends.fake import FakeBackend
from export.verify import check_parity, noise


@pytest.fixture(scope="module")
def backend(exported: Path) -> Backend:
    return Segmenter(exported).backend


def _changed(backend: Backend, change: Callable[[dict], None]) -> FakeBackend:
    def answer(inputs: Tensors) -> Tensors:
        outputs = {name: value.copy() for name, value in backend.run(inputs).items()}
        change(outputs)
        return outputs

    return FakeBackend(backend.card, answer)


def test_a_model_equals_itself(backend: Backend) -> None:
    """No difference, every window shared, on every level of the pyramid."""
    parity = check_parity(backend, backend, noise(90, 120))
    assert (parity.score, parity.mask, parity.same_windows) == (0, 0, 1)
    assert len(parity.levels) == len(backend.card.scales)
    parity.require(score=0, mask=0, same_windows=1)


def test_differences_are_found_and_refused(backend: Backend) -> None:
    """A changed score, mask or window shows in its own figure, and is refused with it."""

    def score(outputs: dict) -> None:
        outputs["scores"][0] -= 0.125

    def mask(outputs: dict) -> None:
        outputs["masks"][0, 3, 4] = 60

    def window(outputs: dict) -> None:
        outputs["windows"][:, 0] += 1000

    picture = noise(90, 120)
    found = check_parity(backend, _changed(backend, score), picture)
    assert found.score == pytest.approx(0.125)
    assert found.mask == 0
    found = check_parity(backend, _changed(backend, mask), picture)
    assert found.mask > 0.1
    assert max(level.flipped for level in found.levels) < 1e-3
    found = check_parity(backend, _changed(backend, window), picture)
    assert found.same_windows < 0.9
    with pytest.raises(ModelError, match="do not use the file"):
        found.require(score=1, mask=1)


def test_noise_is_a_picture_of_its_own() -> None:
    """It is repeatable, uses the range, and is neither flat nor grain."""
    picture = noise(200, 300)
    np.testing.assert_array_equal(picture, noise(200, 300))
    assert (picture.shape, picture.dtype) == ((200, 300, 3), np.uint8)
    assert picture.std() > 30
    steps = np.abs(np.diff(picture.astype(int), axis=1))
    assert 1 < steps.mean() < 30
