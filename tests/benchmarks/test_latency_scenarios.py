"""The scenarios of benchmarks/latency.py, with functions in the place of models."""

from __future__ import annotations

import threading
import time
from statistics import median
from typing import Any

import pytest
from virtual_time import Clock

from benchmarks.harness import scenarios
from benchmarks.harness.scenarios import WAIT, Once


def sleeper(seconds: float, clock: Any = time) -> Once:
    """Segments nothing for so long, all of it in one stage."""

    def once(k: int) -> dict[str, float]:
        start = clock.perf_counter()
        clock.sleep(seconds)
        return {"network": clock.perf_counter() - start}

    return once


def test_a_picture_behind_a_stall_has_waited(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a fixed rate one call of 0.3 s delays those that were due meanwhile, each by its share."""
    monkeypatch.setattr(scenarios, "time", clock)

    def once(k: int) -> dict[str, float]:
        return sleeper(0.3 if k == 5 else 0.001, clock)(k)

    samples = scenarios.server(once, 50, rate=100.0)
    assert samples.starts == pytest.approx([k / 100 for k in range(50)])
    late = [max(0.0, 0.3 + 0.001 * (k - 6) - (k - 5) / 100) if k > 5 else 0.0 for k in range(50)]
    assert [stages[WAIT] for stages in samples.stages] == pytest.approx(late)
    served = [0.3 if k == 5 else 0.001 for k in range(50)]
    expected = [wait + seconds for wait, seconds in zip(late, served, strict=True)]
    assert samples.latencies == pytest.approx(expected)
    # Timed from when somebody is free, as benchmarks often do it, one call alone would be slow.
    assert sum(sum(s.values()) - s[WAIT] > 0.1 for s in samples.stages) == 1
    assert sum(seconds > 0.1 for seconds in samples.latencies) == 23


def test_a_rate_is_not_exceeded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick pictures do not make more of them: the time until the next one is due counts."""
    monkeypatch.setattr(scenarios, "time", clock)
    samples = scenarios.server(sleeper(0.001, clock), 10, rate=20.0)
    assert samples.pictures / samples.seconds == pytest.approx(20.0)


def test_offline_time_runs_while_all_threads_are_busy() -> None:
    """Of 20 ms that only one can have at a time and 20 others, 50 pictures a second are done."""
    alone = threading.Lock()

    def once(k: int) -> dict[str, float]:
        time.sleep(0.01)
        with alone:
            time.sleep(0.02)
        time.sleep(0.01)
        return {"network": 0.04}

    done = []
    for _ in range(5):  # the machine may have other work in some of them
        samples = scenarios.offline(once, 4)
        assert samples.pictures == len(samples.latencies) == len(samples.stages) == 4
        assert samples.uncounted == 4
        done.append(samples.pictures / samples.seconds)
    assert 46 < max(done) < 54


def test_what_waits_when_time_is_up_is_told(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that cannot be kept up ends in time; the queue is counted with what it has waited."""
    monkeypatch.setattr(scenarios, "time", clock)
    samples = scenarios.server(sleeper(0.02, clock), 100, rate=200.0, most_seconds=0.29)
    assert samples.seconds == pytest.approx(0.3)
    assert samples.pictures == len(samples.stages) == 15
    assert samples.unanswered == 46  # numbers 15 to 60 were due, the last at that moment
    assert len(samples.latencies) == len(samples.starts) == 61
    for start, latency in list(zip(samples.starts, samples.latencies, strict=True))[15:]:
        assert start + latency == pytest.approx(0.3)


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
    together = threading.Barrier(3)

    def once(k: int) -> dict[str, float]:
        seen.append(k)
        together.wait(timeout=60)
        return sleeper(0.05 if k % 3 == 0 else 0.001)(k)

    samples = scenarios.multi_stream(once, 2, streams=3, first=2)
    assert sorted(seen) == [6, 7, 8, 9, 10, 11]
    assert samples.pictures == 6
    assert all(latency >= 0.05 for latency in samples.latencies)


def test_warm_up_ends_when_times_are_steady(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow first calls are waited for; time that is up ends it too."""
    monkeypatch.setattr(scenarios, "time", clock)
    naps = iter([0.05] * 5 + [0.01] * 10)
    seen: list[int] = []

    def once(k: int) -> dict[str, float]:
        seen.append(k)
        return sleeper(next(naps), clock)(k)

    assert scenarios.warm_up(once) == (15, True)
    assert set(seen) == {0}  # pictures of several sizes are never equally fast
    assert scenarios.warm_up(sleeper(0.02, clock), most_seconds=0.05, near=-1.0) == (3, False)
