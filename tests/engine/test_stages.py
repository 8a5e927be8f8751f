"""Stages sum to a call's time, and cost nothing that counts where nobody measures."""

from __future__ import annotations

import time
from pathlib import Path

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


@pytest.mark.parametrize("planted", [None, "prepare"])
def test_a_call_is_its_stages(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str | None
) -> None:
    """97 % of a call and more; what is planted into one stage appears in that stage alone."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((200, 240, 3), 90, np.uint8))
    resize = engine.prepare.resize

    def slow(*arguments: object) -> np.ndarray:
        time.sleep(0.005)
        return resize(*arguments)

    with Segmenter(exported) as segmenter:
        for _ in range(2):
            segmenter(path, scales=[1.0])

        def once() -> dict[str, float]:
            with measured() as seconds:
                segmenter(path, scales=[1.0], score_threshold=0.0).rle()
            return seconds

        before = [once() for _ in range(9)]
        if planted is None:
            for seconds in before:
                assert set(seconds) <= {*STAGES, OTHER}
                assert seconds[OTHER] < 0.03 * sum(seconds.values())
            return
        monkeypatch.setattr(engine.prepare, "resize", slow)
        after = [once() for _ in range(9)]
    for name in ("decode", "prepare", "finish", "paste"):
        difference = np.median([s[name] for s in after]) - np.median([s[name] for s in before])
        expected = 0.005 if name == planted else 0.0
        assert difference == pytest.approx(expected, abs=0.003), name
