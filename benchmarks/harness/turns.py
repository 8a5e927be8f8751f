"""Contestants measured by turns, A B, B A, A B: what slows the machine slows all of them.

A turn is some tenths of a second: short beside a machine's drift, long beside a process's start on
cold caches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from benchmarks.harness.process import WorkerError
from benchmarks.harness.scenarios import MULTI, OFFLINE, SERVER, WAIT, WORKERS, Samples
from benchmarks.harness.sensors import Sensors

TURN = 0.3
"""Seconds of a turn, if a query is not longer than that."""
LEAST_TURNS = 6
"""Of each contestant, as long as there are queries enough: fewer pairs cannot tell 95 %."""
LEAST = {OFFLINE: 2 * WORKERS, SERVER: 10}
"""Queries of a turn: offline threads have to take turns, a queue to have time to grow."""
FEW = 4
"""Queries of a turn from which on the first would count too much: others had the caches."""


class Runner(Protocol):
    """Who runs a scenario's function for a contestant: a worker process, or a test."""

    @property
    def name(self) -> str:
        """The contestant's."""
        ...

    def run(self, scenario: str, settle: int = 0, **options: Any) -> Samples:
        """Run a function of `scenarios.py`, after `settle` calls that are not counted."""
        ...


@dataclass(frozen=True)
class Load:
    """How much is measured.

    Attributes:
        seconds: of each contestant in each scenario; heeded where there is no
        count: of queries.
        streams: of the multi stream scenario.
        rate: of the server scenario, pictures in a second.
        pictures: how many different ones there are.
    """

    seconds: float = 10.0
    count: int | None = None
    streams: int = 4
    rate: float = 30.0
    pictures: int = 1


@dataclass
class Turn:
    """What happened in a turn.

    Attributes:
        begin: seconds from the scenario's start to the turn's.
        samples: of its queries.
        joules: that each counter of the machine has counted meanwhile, by the counter's name.
    """

    begin: float
    samples: Samples
    joules: dict[str, float] = field(default_factory=dict)

    def seconds(self, scenario: str) -> float:
        """Of one query: the median; offline, of one picture: all of them have the time of all."""
        if scenario == OFFLINE:
            return self.samples.seconds / self.samples.pictures
        return median(self.samples.latencies)

    def busy(self) -> float:
        """Seconds that were spent on a picture: not those in which it waited."""
        stages = self.samples.stages
        return sum(v for one in stages for n, v in one.items() if n != WAIT) / len(stages)


Turns = dict[str, list[Turn]]
"""By contestant; turn k of one was beside turn k of another."""


def measure(
    scenario: str,
    runners: Sequence[Runner],
    load: Load,
    turns: Turns,
    *,
    sensors: Sensors | None = None,
    tick: Callable[[float], None] = lambda share: None,
) -> dict[str, str]:
    """Run a scenario by turns.

    Args:
        scenario: one of `scenarios.SCENARIOS`.
        runners: the contestants.
        load: how much.
        turns: filled as it goes on, so that an interrupted measurement is not lost.
        sensors: read around each turn.
        tick: told the share of the work that has been done.

    Returns:
        Why, for each contestant that failed and was left out from then on.
    """
    failed: dict[str, str] = {}
    alive = list(runners)
    each: dict[str, float] = {}
    for runner in list(alive):
        try:
            each[runner.name] = _probe(scenario, runner, load)
        except WorkerError as error:
            failed[runner.name] = str(error)
            alive.remove(runner)
    sizes = plan(scenario, each, load) if each else {}
    rounds = len(next(iter(sizes.values()), []))
    begin = time.perf_counter()
    for number in range(rounds):
        for runner in list(alive if number % 2 == 0 else reversed(alive)):
            size = sizes[runner.name][number]
            options = _options(scenario, size, load)
            options["first"] = sum(sizes[runner.name][:number])
            settle = int(len(each) > 1 and size > FEW and scenario not in (OFFLINE, SERVER))
            turn = Turn(time.perf_counter() - begin, Samples())
            try:
                if sensors is None:
                    turn.samples = _run(scenario, runner, settle, options)
                else:
                    with sensors.around() as turn.joules:
                        turn.samples = _run(scenario, runner, settle, options)
            except WorkerError as error:
                failed[runner.name] = str(error)
                alive.remove(runner)
                continue
            turn.samples.uncounted += settle
            turns.setdefault(runner.name, []).append(turn)
        tick((number + 1) / rounds)
    return failed


def plan(scenario: str, each: dict[str, float], load: Load) -> dict[str, list[int]]:
    """How many queries each contestant has in each turn.

    Turns of all contestants take the same time. If there are several pictures they have the same
    pictures instead, as a large one would be compared with a small one otherwise.

    Args:
        scenario: one of `scenarios.SCENARIOS`.
        each: seconds of a query, by contestant.
        load: how much is to be measured.
    """
    slowest = max(each.values())
    least = LEAST.get(scenario, 1)
    # A queue needs time to grow if a rate is too high, so that the server has few turns.
    turn = max(load.seconds / LEAST_TURNS if scenario == SERVER else TURN, slowest * least)
    if load.count is not None:
        rounds = max(LEAST_TURNS, round(load.count * slowest / turn))
        rounds = max(1, min(rounds, load.count // least))
        sizes = [load.count * (k + 1) // rounds - load.count * k // rounds for k in range(rounds)]
        return dict.fromkeys(each, sizes)
    rounds = max(LEAST_TURNS, round(load.seconds / turn))
    return {
        name: [max(least, round(turn / (slowest if load.pictures > 1 else seconds)))] * rounds
        for name, seconds in each.items()
    }


def _probe(scenario: str, runner: Runner, load: Load) -> float:
    """Seconds of a query, roughly; the scenario's threads and buffers are there afterwards."""
    if scenario == SERVER:
        return 1 / load.rate
    samples = _run(scenario, runner, 1, _options(scenario, WORKERS, load))
    return samples.seconds / len(samples.latencies)


def _run(scenario: str, runner: Runner, settle: int, options: dict[str, Any]) -> Samples:
    return runner.run(scenario.replace(" ", "_"), settle, **options)


def _options(scenario: str, count: int, load: Load) -> dict[str, Any]:
    if scenario == MULTI:
        return {"count": count, "streams": load.streams}
    if scenario == SERVER:
        # A rate that is kept up takes no longer, but for a stall near the end.
        return {"count": count, "rate": load.rate, "most_seconds": count / load.rate + 1}
    return {"count": count}
