"""The scenarios of benchmarks/latency.py, with functions in the place of models."""

from __future__ import annotations

import time
from statistics import median

import pytest

from benchmarks.harness import scenarios
from benchmarks.harness.scenarios import WAIT


def sleeper(seconds: float):
    """Segments nothing for so long, all of it in one stage."""

    def once(k: int) -> dict[str, float]:
        start = time.perf_counter()
        time.sleep(seconds)
        return {"network": time.perf_counter() - start}

    return once


def test_a_picture_behind_a_stall_has_waited() -> None:
    """At a fixed rate one call of 0.3 s delays those that were due meanwhile, each by its share."""

    def once(k: int) -> dict[str, float]:
        return sleeper(0.3 if k == 5 else 0.001)(k)

    samples = scenarios.server(once, 50, rate=100.0)
    assert samples.starts == pytest.approx([k / 100 for k in range(50)])
    for behind in range(1, 20):  # what was due so many hundredths after the stall began
        assert samples.latencies[5 + behind] >= 0.3 - behind / 100
        assert samples.stages[5 + behind][WAIT] >= 0.299 - behind / 100
    # Timed from when somebody is free, as benchmarks often do it, one call alone would be slow.
    served = [sum(s.values()) - s[WAIT] for s in samples.stages]
    assert sum(seconds > 0.2 for seconds in served) == 1
    assert sum(seconds > 0.2 for seconds in samples.latencies) >= 10


def test_what_waits_when_time_is_up_is_told() -> None:
    """A rate that cannot be kept up ends in time; the queue is counted with what it has waited."""
    samples = scenarios.server(sleeper(0.02), 100, rate=200.0, most_seconds=0.3)
    assert samples.seconds < 1.0
    assert samples.pictures == len(samples.stages) < 100
    assert samples.unanswered > 10
    assert len(samples.latencies) == len(samples.starts) == samples.pictures + samples.unanswered
    for start, latency in list(zip(samples.starts, samples.latencies, strict=True))[-10:]:
        assert start + latency >= 0.3


@pytest.mark.parametrize("name", ["single_stream", "multi_stream", "offline", "server"])
def test_stages_are_the_latency(name: str) -> None:
    """In each scenario a picture's stages, waiting among them, sum to what was measured.

    In the middle of several calls: a busy machine may stop a process between two clocks.
    """
    more = {"multi_stream": {"streams": 1}, "server": {"rate": 20.0}}.get(name, {})
    samples = getattr(scenarios, name)(sleeper(0.02), 9, **more)
    sums = [sum(stages.values()) for stages in samples.stages]
    shares = [told / latency for told, latency in zip(sums, samples.latencies, strict=True)]
    assert median(shares) == pytest.approx(1.0, abs=0.03)
    assert max(shares) <= 1.0 + 1e-9


def test_several_at_once() -> None:
    """A query of the multi stream scenario is done when the last of its pictures is."""
    seen: list[int] = []

    def once(k: int) -> dict[str, float]:
        seen.append(k)
        return sleeper(0.05 if k % 3 == 0 else 0.001)(k)

    samples = scenarios.multi_stream(once, 2, streams=3, first=2)
    assert sorted(seen) == [6, 7, 8, 9, 10, 11]
    assert samples.pictures == 6
    assert all(0.05 <= latency < 0.3 for latency in samples.latencies)


def test_warm_up_ends_when_times_are_steady() -> None:
    """Slow first calls are waited for; time that is up ends it too."""
    assert scenarios.warm_up(lambda k: sleeper(0.05 if k < 5 else 0.01)(k), near=0.5) == 15
    start = time.perf_counter()
    assert scenarios.warm_up(sleeper(0.02), most_seconds=0.05, near=0.0) <= 5
    assert time.perf_counter() - start < 0.5
