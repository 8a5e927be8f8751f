"""Intervals hold what they should, on a machine that drifts too; and nothing takes long."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from benchmarks.harness.report import comparisons, result
from benchmarks.harness.scenarios import SINGLE, Samples
from benchmarks.harness.statistics import per_second, percentiles, quantiles
from benchmarks.harness.statistics import ratio as of_pairs
from benchmarks.harness.turns import LEAST_TURNS, TURN, Load, Turns, measure


class Machine:
    """One that gets slower and faster: a trend, a wave, bursts, and noise at each call."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.rng = np.random.default_rng(seed)
        self.phase, self.burst = self.rng.uniform(0, 2 * math.pi), 0.0

    def call(self, seconds: float) -> float:
        """What a call takes that takes `seconds` on a quiet machine."""
        self.burst = 0.9 * self.burst + 0.02 * self.rng.normal()
        drift = 1 + 0.01 * self.now + 0.1 * math.sin(self.now / 2 + self.phase) + abs(self.burst)
        taken = seconds * drift * float(self.rng.lognormal(0, 0.03))
        self.now += taken
        return taken


class Simulated:
    """A contestant on such a machine."""

    def __init__(self, name: str, machine: Machine, seconds: float) -> None:
        self.name, self.machine, self.seconds = name, machine, seconds

    def run(self, scenario: str, settle: int = 0, **options: int) -> Samples:
        """Calls one after another."""
        begin = self.machine.now
        samples = Samples(pictures=options["count"])
        for _ in range(options["count"]):
            samples.starts.append(self.machine.now - begin)
            samples.latencies.append(self.machine.call(self.seconds))
            samples.stages.append({"network": samples.latencies[-1]})
        samples.seconds = self.machine.now - begin
        return samples


def ratio(seed: int, times: float, seconds: float) -> dict[str, float]:
    machine = Machine(seed)
    turns: Turns = {}
    both = [Simulated("a", machine, 0.01), Simulated("b", machine, 0.01 * times)]
    assert measure(SINGLE, both, Load(seconds=seconds), turns) == {}
    (found,) = comparisons(SINGLE, turns, Load())
    pairs = max(LEAST_TURNS, round(seconds / TURN))
    assert (found["base"], found["other"], found["pairs"]) == ("a", "b", pairs)
    return found["ratio"]


@pytest.mark.parametrize("seconds", [1.0, 2.5, 6.0])
@pytest.mark.parametrize("times", [1.0, 1.3])
def test_the_interval_holds_the_ratio(times: float, seconds: float) -> None:
    """In 18 of 20 runs and more, for a model against itself and against a slower one.

    The intervals are narrow too: the machine's drift of tens of per cent is not in them.
    """
    found = [ratio(seed, times, seconds) for seed in range(20)]
    assert sum(r["low"] <= times <= r["high"] for r in found) >= 18
    assert np.median([r["high"] - r["low"] for r in found]) < 0.1


def test_the_interval_of_a_percentile_holds_it() -> None:
    """Of turns that differ: the median of all turns that there could be is in 18 of 20."""
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        turns = [(10 + rng.normal() + rng.normal(size=30)).tolist() for _ in range(25)]
        (middle,) = quantiles(turns, [50])
        held += middle["low"] <= 10 <= middle["high"]
        assert middle["low"] <= middle["value"] <= middle["high"]
    assert held >= 18


def test_only_what_a_sample_can_tell_is_told() -> None:
    """p99.9 needs a thousand calls; what is told is a value that was seen."""
    names = {1: ["p50"], 10: ["p50", "p90"], 100: ["p50", "p90", "p99"]}
    for count, told in names.items():
        assert list(percentiles([[float(k) for k in range(count)]])) == told
    found = percentiles([[float(k) for k in range(1, 1001)]] * 3)
    assert {name: one["value"] for name, one in found.items()} == {
        "p50": 500, "p90": 900, "p99": 990, "p99.9": 999,
    }  # fmt: skip


def test_long_runs_are_told_soon() -> None:
    """300,000 calls take seconds, not minutes."""
    rng = np.random.default_rng(0)
    turns = [rng.exponential(0.01, 3000).tolist() for _ in range(100)]
    start = time.perf_counter()
    percentiles(turns)
    assert time.perf_counter() - start < 20


def test_few_turns() -> None:
    """Fewer than six have no interval; turns that are the same have one of no width."""
    for turns in ([[0.1, 0.2, 0.3]], [[0.2]] * 5):
        (middle,) = quantiles(turns, [50])
        assert middle == {"value": 0.2, "low": None, "high": None}
    (middle,) = quantiles([[0.2]] * 6, [50])
    assert middle == {"value": 0.2, "low": 0.2, "high": 0.2}
    assert per_second([3] * 5, [1.5] * 5) == {"value": 2.0, "low": None, "high": None}
    assert per_second([3] * 6, [1.5] * 6) == {"value": 2.0, "low": 2.0, "high": 2.0}


def test_the_ratios_interval_is_the_sign_tests() -> None:
    """Worked by hand: all of six, the second to the eighth of nine; of five there is none."""
    ones = [1.0] * 9
    ratios = [9.0, 1.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0, 50.0]
    assert of_pairs(ratios, ones) == {"value": 6.0, "low": 2.0, "high": 9.0}
    assert of_pairs(ratios[:6], ones[:6]) == {"value": 5.0, "low": 1.0, "high": 9.0}
    assert of_pairs(ratios[:5], ones[:5]) == {"value": 3.0, "low": None, "high": None}


@pytest.mark.parametrize(
    ("number", "each", "percentile"),
    [(12, 20, 50), (6, 50, 90), (36, 1, 90), (33, 31, 99)],
)
def test_intervals_hold_what_they_should(number: int, each: int, percentile: float) -> None:
    """In 90 of 100 samples and more, of few turns and of tails too; an open end holds all."""

    def turns(rng: np.random.Generator, count: int) -> list[np.ndarray]:
        return [rng.lognormal(0.05 * rng.normal(), 0.1, each) for _ in range(count)]

    many = np.concatenate(turns(np.random.default_rng(99), 200_000 // each))
    truth = np.percentile(many, percentile)
    held = 0
    for seed in range(100):
        (found,) = quantiles(turns(np.random.default_rng(seed), number), [percentile])
        assert found["low"] is not None
        held += found["low"] <= truth and (found["high"] is None or truth <= found["high"])
    assert held >= 90


def test_a_tail_that_was_not_seen_is_open() -> None:
    """A hundred calls do not tell how slow the slowest of a thousand is."""
    rng = np.random.default_rng(0)
    p50, p99 = quantiles(rng.exponential(size=(100, 1)).tolist(), [50, 99])
    assert p50["high"] is not None
    assert p99["high"] is None
    assert p99["low"] < p99["value"]


def test_throughput_is_of_all_turns_together() -> None:
    """Pictures over seconds: not the mean of rates."""
    turns: Turns = {}
    machine = Machine(0)
    measure(SINGLE, [Simulated("a", machine, 0.02)], Load(count=40), turns)
    entry = result("a", SINGLE, turns["a"], Load())
    assert entry["pictures"] == entry["queries"] == 40
    assert entry["throughput"]["value"] == pytest.approx(40 / entry["seconds"])
    assert entry["throughput"]["low"] < 40 / entry["seconds"] < entry["throughput"]["high"]
