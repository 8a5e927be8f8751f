"""Who is measured when, and what a report says of the stages; no worker processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import networks
import numpy as np
import pytest
from virtual_time import Clock

from benchmarks.harness import scenarios
from benchmarks.harness.process import WorkerError
from benchmarks.harness.report import comparisons, result
from benchmarks.harness.scenarios import MULTI, OFFLINE, SERVER, SINGLE, Samples
from benchmarks.harness.turns import LEAST, LEAST_TURNS, TURN, Load, Turn, Turns, measure, plan
from engine import Segmenter
from engine.backends.fake import FakeBackend
from engine.stages import measured


class Here:
    """A contestant in this process."""

    def __init__(self, name: str, once: Callable, dies_at: int | None = None) -> None:
        self.name, self.once, self.calls, self.dies_at = name, once, 0, dies_at
        self.settled: list[int] = []

    def run(self, scenario: str, settle: int = 0, **options: object) -> Samples:
        """The scenario's own function."""
        self.calls += 1
        self.settled.append(settle)
        if self.calls == self.dies_at:
            raise WorkerError(f"{self.name}: its process ended with 1 (out of memory)")
        for k in range(settle):
            self.once(k)
        return getattr(scenarios, scenario)(self.once, **options)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((64, 80, 3), 90, np.uint8))
    return path


def sleeping(picture: Path, seconds: float, clock: Any = time) -> Callable[[int], dict[str, float]]:
    """A whole segmenter whose network sleeps so long."""
    card = networks.card()
    network = networks.RectangleNetwork(card, (64, 80), (10, 10, 60, 50))

    def answer(inputs):
        clock.sleep(seconds)
        return network(inputs)

    segmenter = Segmenter(FakeBackend(card, answer))

    def once(k: int) -> dict[str, float]:
        with measured() as stages:
            segmenter(picture).rle()
        return dict(stages)

    return once


@pytest.mark.parametrize("scenario", [SINGLE, SERVER])
def test_a_planted_sleep_is_in_its_stage(
    picture: Path, scenario: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 ms more in the network are 5 ms more in that stage of the report, and in no other."""
    monkeypatch.setattr(scenarios, "time", clock)
    runners = [Here(name, sleeping(picture, s, clock)) for name, s in (("a", 0.005), ("b", 0.01))]
    load, turns = Load(count=40, rate=20.0), {}
    measure(scenario, runners, load, turns)
    fast, slow = (result(name, scenario, turns[name], load) for name in ("a", "b"))
    assert {"decode", "prepare", "network", "finish", "paste"} <= set(fast["stages"])
    for name, stage in fast["stages"].items():
        more = slow["stages"][name]["value"] - stage["value"]
        assert more == pytest.approx(0.005 if name == "network" else 0.0), name
    assert slow["latency"]["p50"]["value"] - fast["latency"]["p50"]["value"] == pytest.approx(0.005)


@pytest.mark.parametrize("scenario", [SINGLE, MULTI, OFFLINE, SERVER])
def test_stages_sum_to_the_total(picture: Path, scenario: str) -> None:
    """Within 3 %, in every scenario's result."""
    turns: Turns = {}
    load = Load(count=24, streams=2, rate=20.0)
    measure(scenario, [Here("a", sleeping(picture, 0.025))], load, turns)
    entry = result("a", scenario, turns["a"], load)
    assert entry["queries"] == 24
    assert entry["stage_sum_share"] == pytest.approx(1.0, abs=0.03)
    assert sum(one["share"] for one in entry["stages"].values()) == pytest.approx(1.0)
    assert entry["sustained"] is (True if scenario == SERVER else None)


def test_turns_are_interleaved() -> None:
    """A B, B A, A B; each goes on with the pictures where it was."""
    order: list[str] = []
    firsts: dict[str, list[int]] = {"a": [], "b": []}

    class Noted(Here):
        def run(self, scenario: str, settle: int = 0, **options: object) -> Samples:
            order.append(self.name)
            firsts[self.name].append(options.get("first"))
            return super().run(scenario, settle, **options)

    once = lambda k: time.sleep(0.001) or {}  # noqa: E731
    measure(SINGLE, [Noted("a", once), Noted("b", once)], Load(count=30), {})
    assert order == ["a", "b"] + ["a", "b", "b", "a"] * 3  # the first two are probes
    assert firsts["a"] == firsts["b"] == [None, 0, 5, 10, 15, 20, 25]


def test_who_fails_is_left_out() -> None:
    """The others go on, and what there was before stays."""
    once = lambda k: time.sleep(0.001) or {"network": 0.001}  # noqa: E731
    turns: Turns = {}
    runners = [Here("a", once), Here("b", once, dies_at=4), Here("c", once, dies_at=1)]
    failed = measure(SINGLE, runners, Load(count=50), turns)
    assert set(failed) == {"b", "c"}
    assert "out of memory" in failed["b"]
    assert {name: len(these) for name, these in turns.items()} == {"a": 6, "b": 2}


def test_how_much_is_measured() -> None:
    """Turns take the same time; of several pictures, they have the same ones; counts are exact."""
    found = plan(SINGLE, {"a": 0.01, "b": 0.03}, Load(seconds=6.0))
    assert found == {"a": [30] * 20, "b": [10] * 20}
    found = plan(SINGLE, {"a": 0.01, "b": 0.03}, Load(seconds=6.0, pictures=2))
    assert found == {"a": [10] * 20, "b": [10] * 20}
    for scenario in (SINGLE, MULTI, OFFLINE, SERVER):
        for count in (1, 7, 100):
            for each in (0.001, TURN, 3.0):
                (sizes,) = plan(scenario, {"a": each}, Load(count=count)).values()
                assert sum(sizes) == count
                assert min(sizes) >= min(count, LEAST.get(scenario, 1))
        (sizes,) = plan(scenario, {"a": 2.0}, Load(seconds=1.0)).values()
        assert len(sizes) == LEAST_TURNS


def test_who_comes_after_another_settles() -> None:
    """One call more, told as not counted, where a turn is long enough for it to matter."""
    once = lambda k: time.sleep(0.001) or {"network": 0.001}  # noqa: E731
    for scenario, number, size, settles in (
        (SINGLE, 2, 5, 1), (SINGLE, 2, 4, 0), (SINGLE, 1, 5, 0), (OFFLINE, 2, 5, 0),
        (SERVER, 2, 10, 0),
    ):  # fmt: skip
        runners = [Here(name, once) for name in "ab"[:number]]
        turns: Turns = {}
        measure(scenario, runners, Load(count=6 * size, rate=500.0), turns)
        probes = int(scenario != SERVER)
        assert runners[0].settled == [1] * probes + [settles] * 6
        counted = {turn.samples.uncounted for turn in turns["a"]}
        assert counted == ({4} if scenario == OFFLINE else {settles})


def test_a_servers_turns_are_long() -> None:
    """A sixth of the time each, so that a queue that grows is seen growing."""
    assert plan(SERVER, {"a": 1 / 30}, Load(seconds=12.0, rate=30.0)) == {"a": [60] * 6}


@pytest.mark.parametrize("seconds", [5.0, 20.0])
def test_the_ratio_of_what_does_not_keep_up(
    seconds: float, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the time spent on a picture: how long the others waited says how long it lasted."""
    monkeypatch.setattr(scenarios, "time", clock)

    def takes(seconds: float) -> Callable:
        return lambda k: clock.sleep(seconds) or {"network": seconds}

    turns: Turns = {}
    load = Load(seconds=seconds, rate=30.0)
    measure(SERVER, [Here("a", takes(0.03)), Here("b", takes(0.036))], load, turns)
    (found,) = comparisons(SERVER, turns, load)
    assert found["ratio"]["value"] == pytest.approx(1.2)
    assert found["of"] == "picture"
    turns = {}
    measure(SERVER, [Here("a", takes(0.02)), Here("b", takes(0.03))], load, turns)
    (found,) = comparisons(SERVER, turns, load)
    assert found["ratio"]["value"] == pytest.approx(1.5)
    assert found["of"] == "query"


def test_offline_is_compared_by_its_throughput() -> None:
    """Not by latencies, which say nothing where several are done at once."""
    turns: Turns = {}
    for name, seconds in (("a", 1.0), ("b", 1.5)):
        samples = Samples([9.0] * 4, [{"network": 9.0}] * 4, [0.0] * 4, seconds, 4)
        turns[name] = [Turn(0.0, samples)] * 6
    (found,) = comparisons(OFFLINE, turns, Load())
    assert found["ratio"]["value"] == pytest.approx(1.5)


def test_queries_and_pictures() -> None:
    """A query's stages are its slowest picture's; who left some waiting did not keep up."""
    stages = [{"network": 1.0}, {"network": 0.5}]
    samples = Samples([1.0], stages, [0.0], 1.0, 2)
    assert result("a", MULTI, [Turn(0.0, samples)], Load())["stage_sum_share"] == 1.0
    left = Samples([0.001, 5.0], [{"network": 0.001}], [0.0, 0.0], 1.0, 1, unanswered=1)
    entry = result("a", SERVER, [Turn(0.0, left)], Load(rate=1.0, pictures=3))
    assert (entry["sustained"], entry["unanswered"]) == (False, 1)
    assert entry["distinct_pictures"] == 1
    assert entry["samples"]["turns"] == [
        {"queries": 2, "pictures": 1, "unanswered": 1, "seconds": 1.0}
    ]


def test_a_rate_that_is_too_high_is_told() -> None:
    """Pictures of 20 ms at 100 a second are not sustained, and who waits is counted."""
    turns: Turns = {}
    load = Load(count=100, rate=200.0)
    measure(SERVER, [Here("a", lambda k: time.sleep(0.02) or {"network": 0.02})], load, turns)
    entry = result("a", SERVER, turns["a"], load)
    assert entry["sustained"] is False
    assert entry["latency"]["p50"]["value"] > 0.1
