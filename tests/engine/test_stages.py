"""Stages sum to a call's time, and cost nothing that counts where nobody measures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import engine.prepare
from engine import Segmenter
from engine.stages import OTHER, STAGES, measured, stage


def test_what_lies_inside_is_counted_there_alone() -> None:
    """An inner stage's time is not the outer one's; a stage may come back."""
    start = time.perf_counter()
    with measured() as seconds:
        with stage("finish"):
            time.sleep(0.02)
            with stage("paste"):
                time.sleep(0.03)
        with stage("finish"):
            time.sleep(0.01)
    whole = time.perf_counter() - start
    assert set(seconds) == {"finish", "paste", OTHER}
    assert 0.03 <= seconds["finish"] < 0.05
    assert 0.03 <= seconds["paste"] < 0.05
    assert sum(seconds.values()) == pytest.approx(whole, abs=1e-3)


def test_an_error_closes_its_stage() -> None:
    """What comes after it is not counted as the stage that failed."""
    with measured() as seconds:
        with pytest.raises(ValueError, match="wrong"), stage("decode"):
            raise ValueError("wrong")
        time.sleep(0.01)
    assert seconds["decode"] < 0.005
    assert seconds[OTHER] >= 0.01


def test_nobody_measures() -> None:
    """Then a stage takes a few microseconds."""
    start = time.perf_counter()
    for _ in range(1000):
        with stage("paste"):
            pass
    assert time.perf_counter() - start < 0.05


def once(segmenter: Segmenter, path: Path) -> dict[str, float]:
    with measured() as seconds:
        segmenter(path, scales=[1.0], score_threshold=0.0).rle()
    return seconds


@pytest.fixture(scope="module")
def segmenter(exported: Path) -> Iterator[Segmenter]:
    with Segmenter(exported) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((200, 240, 3), 90, np.uint8))
    return tmp_path / "a.png"


def test_a_call_is_its_stages(segmenter: Segmenter, path: Path) -> None:
    """97 % of a call and more lie in one of them."""
    shares = []
    for _ in range(5):
        seconds = once(segmenter, path)
        assert set(seconds) <= {*STAGES, OTHER}
        shares.append(seconds[OTHER] / sum(seconds.values()))
    assert min(shares) < 0.03


def test_what_is_planted_appears_in_its_stage(
    segmenter: Segmenter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in no other; the shortest of several calls by turns, for the machine has other work."""
    resize = engine.prepare.resize

    def slow(*arguments: Any) -> np.ndarray:
        time.sleep(0.02)
        return resize(*arguments)

    before, after = [], []
    for _ in range(10):
        monkeypatch.setattr(engine.prepare, "resize", resize)
        before.append(once(segmenter, path))
        monkeypatch.setattr(engine.prepare, "resize", slow)
        after.append(once(segmenter, path))
    for name in ("decode", "prepare", "finish", "paste"):
        shortest = [min(seconds[name] for seconds in some) for some in (before, after)]
        expected = 0.02 if name == "prepare" else 0.0
        assert shortest[1] - shortest[0] == pytest.approx(expected, abs=0.005), name
