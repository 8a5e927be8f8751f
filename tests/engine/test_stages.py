"""Stages sum to a call's time, and cost nothing that counts where nobody measures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from virtual_time import Clock

import engine.prepare
from engine import Segmenter
from engine.stages import OTHER, STAGES, measured, stage


def test_what_lies_inside_is_counted_there_alone(clock: Clock) -> None:
    """An inner stage's time is not the outer one's; a stage may come back."""
    with measured() as seconds:
        clock.sleep(1)
        with stage("finish"):
            clock.sleep(2)
            with stage("paste"):
                clock.sleep(4)
        with stage("finish"):
            clock.sleep(8)
    assert seconds == {OTHER: 1, "finish": 10, "paste": 4}


def test_an_error_closes_its_stage(clock: Clock) -> None:
    """What comes after it is not counted as the stage that failed."""

    def failing() -> None:
        clock.sleep(1)
        raise ValueError("wrong")

    with measured() as seconds:
        with pytest.raises(ValueError, match="wrong"), stage("decode"):
            failing()
        clock.sleep(2)
    assert seconds == {"decode": 1, OTHER: 2}


def test_nobody_measures() -> None:
    """Then a stage takes a few microseconds."""
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(1000):
            with stage("paste"):
                pass
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.05


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
    segmenter: Segmenter, path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """And in no other."""
    resize = engine.prepare.resize

    def slow(*arguments: Any) -> np.ndarray:
        clock.sleep(0.005)
        return resize(*arguments)

    monkeypatch.setattr(engine.prepare, "resize", slow)
    seconds = once(segmenter, path)
    assert {"decode", "prepare", "network", "finish", "paste"} <= set(seconds)
    assert {name: taken for name, taken in seconds.items() if taken} == {"prepare": 0.005}
