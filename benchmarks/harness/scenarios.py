"""How pictures arrive, as MLPerf Inference names it (Reddi et al. 2020, section III).

Each function runs one contestant for a number of queries and gives what happened, call by call.
A latency runs from the moment that a picture is there to be segmented to its masks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

Once: TypeAlias = "Callable[[int], dict[str, float]]"
"""Segments picture k and gives the seconds of each stage; they sum to the call's time."""

SINGLE, MULTI, OFFLINE, SERVER = "single stream", "multi stream", "offline", "server"
SCENARIOS = {
    SINGLE: "one picture after another",
    MULTI: "several pictures at once; a query is done when all of them are",
    OFFLINE: "all pictures are there at the start",
    SERVER: "pictures come at a fixed rate; a latency begins when one is due",
}
WAIT = "wait"
"""A stage of the scenarios in which a picture may have to wait for its turn."""
WORKERS = 2
"""Threads of the offline scenario: while one is in the network the other prepares or finishes."""


@dataclass
class Samples:
    """What happened.

    Attributes:
        latencies: seconds of each query.
        stages: seconds of each picture's stages, those of a query's pictures one after another;
            none for pictures that were not answered.
        starts: seconds from the scenario's start to each query's.
        seconds: from the first query's start to the last one's end.
        pictures: how many were segmented.
        unanswered: queries at the end that were due and not begun when time was up; they have
            waited at least as long as their latency says.
        uncounted: pictures that were segmented before and after these, and are in no other figure.
    """

    latencies: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    seconds: float = 0.0
    pictures: int = 0
    unanswered: int = 0
    uncounted: int = 0


def single_stream(once: Once, count: int, first: int = 0) -> Samples:
    """One picture after another, each when the last one is done."""
    samples = Samples(pictures=count)
    begin = time.perf_counter()
    for k in range(first, first + count):
        start = time.perf_counter()
        samples.stages.append(once(k))
        samples.starts.append(start - begin)
        samples.latencies.append(time.perf_counter() - start)
    samples.seconds = time.perf_counter() - begin
    return samples


def multi_stream(once: Once, count: int, streams: int, first: int = 0) -> Samples:
    """As many pictures at once as there are streams; a query is done when all of them are."""
    samples = Samples(pictures=count * streams)
    begin = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        for k in range(first, first + count):
            start = time.perf_counter()
            waiting = partial(_until, once, start)
            answers = list(pool.map(waiting, range(k * streams, (k + 1) * streams)))
            samples.stages += [stages for stages, _ in answers]
            samples.starts.append(start - begin)
            samples.latencies.append(max(seconds for _, seconds in answers))
    samples.seconds = time.perf_counter() - begin
    return samples


def offline(once: Once, count: int, first: int = 0) -> Samples:
    """All pictures are there at the start: what counts is how many are done in a second.

    Time runs while all threads are busy, from the end of one picture to the end of another: those
    before and after are not counted. A latency is what one picture took from when a thread was
    free for it.
    """
    samples = Samples(pictures=count, uncounted=2 * WORKERS)
    begin = time.perf_counter()

    def work(k: int) -> tuple[float, float, dict[str, float]]:
        start = time.perf_counter()
        stages = once(k)
        return time.perf_counter() - begin, start - begin, stages

    with ThreadPoolExecutor(WORKERS) as pool:
        done = list(pool.map(work, range(first - WORKERS, first + count + WORKERS)))
    done.sort(key=lambda one: one[0])
    counted = done[WORKERS : WORKERS + count]
    for end, start, stages in counted:
        samples.starts.append(start)
        samples.latencies.append(end - start)
        samples.stages.append(stages)
    samples.seconds = counted[-1][0] - done[WORKERS - 1][0]
    return samples


def server(
    once: Once, count: int, rate: float, most_seconds: float = math.inf, first: int = 0
) -> Samples:
    """Pictures come at a fixed rate, as a camera's do, whether or not the last one is done.

    A latency begins when the picture was due, not when somebody had time for it: a picture that
    waits behind a stall has waited (what is left out otherwise is "coordinated omission"). When
    time is up, those that still wait are counted with what they have waited so far.

    Args:
        once: segments a picture.
        count: of pictures.
        rate: pictures in a second.
        most_seconds: no picture is begun after so long.
        first: number of the first picture.
    """
    samples = Samples()
    begin = time.perf_counter()
    for k in range(count):
        due = begin + k / rate
        now = time.perf_counter()
        if now - begin > most_seconds:
            left = [j / rate for j in range(k, count) if begin + j / rate <= now]
            samples.starts += left
            samples.latencies += [now - begin - start for start in left]
            samples.unanswered = len(left)
            break
        if due > now:
            time.sleep(due - now)
        samples.stages.append(_since(once, due, first + k))
        samples.starts.append(due - begin)
        samples.latencies.append(time.perf_counter() - due)
        samples.pictures += 1
    # The time until the next one would have been due is the last one's.
    samples.seconds = max(time.perf_counter() - begin, samples.pictures / rate)
    return samples


def _since(once: Once, due: float, k: int) -> dict[str, float]:
    """A picture's stages, the time before somebody began with it among them."""
    wait = time.perf_counter() - due
    return {WAIT: wait, **once(k)}


def _until(once: Once, due: float, k: int) -> tuple[dict[str, float], float]:
    """A picture's stages, and the seconds until it is done."""
    return _since(once, due, k), time.perf_counter() - due


def warm_up(
    once: Once, most_seconds: float = 30.0, window: int = 5, near: float = 0.03
) -> tuple[int, bool]:
    """Segment one picture until two windows in a row take the same time, or time is up.

    Args:
        once: segments a picture.
        most_seconds: at most so long, but for the first call.
        window: calls whose median is compared.
        near: how far two medians may be apart, as a share.

    Returns:
        How many calls that took, and whether times were steady at the end.
    """
    end = time.perf_counter() + most_seconds
    before = 0.0
    calls = 0
    while True:
        times = []
        for _ in range(window):
            start = time.perf_counter()
            once(0)
            calls += 1
            times.append(time.perf_counter() - start)
            if time.perf_counter() > end:
                return calls, False
        middle = sorted(times)[window // 2]
        if abs(middle - before) <= near * middle:
            return calls, True
        before = middle
