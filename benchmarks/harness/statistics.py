"""Percentiles and ratios with the intervals that they may lie in: never a mean alone.

Calls that follow each other are alike: the machine is slow for a while, then fast. So what is
resampled is turns, not calls (the bootstrap of clusters: Davison and Hinkley 1997, section 3.8);
calls taken one by one would make intervals too narrow to compare two runs by.

A bootstrap knows nothing beyond the slowest call that was seen, and of few turns it is too narrow.
So an interval is at least as wide as the exact one of calls that are independent, and, of few
turns, as the sign test's over the turns; an end that a sample cannot tell is left open (Conover
1999, section 3.2).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, quantile_test

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
CONFIDENCE = 0.95
FEWEST = 6
"""Turns or pairs that can tell 95 %: all on one side of what is true happens once in 32 times."""
FEW = 20
"""Turns from which on a bootstrap of them is wide enough."""
MOST_RESAMPLES, LEAST_RESAMPLES = 2000, 200
WORK = 50_000_000
"""Values that are resampled at most, so that a long run's report takes seconds."""
BATCH = 1 << 22
"""Values that are resampled at a time."""

Values: TypeAlias = "NDArray[np.float64]"
Interval: TypeAlias = "tuple[float | None, float | None]"
"""From and to; None where the sample cannot tell."""


class Estimate(TypedDict):
    """A statistic of a sample, and the interval that holds it with 95 % confidence.

    An end is None if the sample is too small to tell it.
    """

    value: float
    low: float | None
    high: float | None


def percentiles(turns: Sequence[Sequence[float]]) -> dict[str, Estimate]:
    """The percentiles that a sample of this size can tell, each with its interval.

    The median is always told, another percentile where at least one call is expected beyond it.

    Args:
        turns: values, turn by turn; at least one in all.

    Returns:
        Estimates by name: "p50", "p90", "p99", "p99.9".
    """
    count = sum(len(turn) for turn in turns)
    told = [p for p in PERCENTILES if p == PERCENTILES[0] or count * (100 - p) >= 100 - 1e-9]
    return dict(zip([f"p{p:g}" for p in told], quantiles(turns, told), strict=True))


def quantiles(turns: Sequence[Sequence[float]], told: Sequence[float]) -> list[Estimate]:
    """Percentiles of all turns' values, each the smallest value that so many do not exceed.

    Args:
        turns: values, turn by turn; at least one in all.
        told: percentiles, 0 to 100.
    """
    turns = [turn for turn in turns if len(turn)]
    values = np.concatenate([np.asarray(turn, float) for turn in turns])
    order = np.argsort(values, kind="stable")
    values = values[order]
    of_turn = np.repeat(np.arange(len(turns)), [len(turn) for turn in turns])[order]
    shares = np.array(told) / 100

    def statistic(chosen: NDArray[np.intp], axis: int = -1) -> Values:
        """[percentile, ...] of the turns with these numbers, some of them more than once."""
        rows = np.moveaxis(np.atleast_2d(chosen), axis, -1).reshape(-1, len(turns))
        found = np.empty((len(shares), len(rows)))
        for k, row in enumerate(rows):
            reached = np.cumsum(np.bincount(row, minlength=len(turns))[of_turn])
            # Without the margin a share of n that is whole may come out a value too high.
            found[:, k] = values[np.searchsorted(reached, shares * reached[-1] - 1e-6)]
        return found if np.ndim(chosen) > 1 else found[:, 0]

    middle = statistic(np.arange(len(turns)))
    own = np.stack([np.percentile(turn, told, method="inverted_cdf") for turn in turns], axis=1)
    exact = [quantile_interval(values, share) for share in shares.tolist()]
    intervals = [
        _wider(one, other)
        for one, other in zip(_intervals(statistic, own, len(values)), exact, strict=True)
    ]
    return [_estimate(*both) for both in zip(middle, intervals, strict=True)]


def per_second(done: Sequence[float], seconds: Sequence[float]) -> Estimate:
    """How many were done in a second, of all turns together.

    Args:
        done: of each turn.
        seconds: that it took.
    """
    pairs = np.stack([np.asarray(done, float), np.asarray(seconds, float)])

    def statistic(chosen: NDArray[np.intp], axis: int = -1) -> Values:
        counts, times = pairs[:, chosen].sum(axis=axis if axis < 0 else axis + 1)
        return np.asarray(counts / times)

    value = statistic(np.arange(len(done)))
    (interval,) = _intervals(statistic, (pairs[0] / pairs[1])[None], len(done))
    return _estimate(value, interval)


def ratio(other: Sequence[float], base: Sequence[float]) -> Estimate:
    """How many times as long as the base the other takes: the median of the pairs' ratios.

    Its interval is the sign test's, which is exact however few pairs there are (Conover 1999,
    section 3.2); fewer than six cannot tell 95 % and have none.

    Args:
        other: seconds, of a turn each.
        base: of the turns beside these, as many.
    """
    ratios = np.asarray(other, float) / np.asarray(base, float)
    return _estimate(np.median(ratios), quantile_interval(ratios, 0.5))


def _intervals(statistic: Callable[..., Values], own: Values, size: int) -> list[Interval]:
    """Of statistics of turns: the bootstrap's; of few turns the sign test's if that is wider.

    Args:
        statistic: gives [S, ...] of the turns with these numbers, or [...].
        own: [S, turns], each turn's own figure, for the sign test.
        size: values that one resample takes.
    """
    turns = own.shape[1]
    if turns < FEWEST:
        return [(None, None)] * len(own)
    low, high = (np.atleast_1d(end) for end in _bootstrap(np.arange(turns), statistic, size))
    found: list[Interval] = list(zip(low.tolist(), high.tolist(), strict=True))
    if turns >= FEW:
        return found
    return [_wider(one, quantile_interval(row, 0.5)) for one, row in zip(found, own, strict=True)]


def quantile_interval(values: Values, share: float) -> Interval:
    """The exact interval of a quantile of independent values; at one half, the sign test's.

    Args:
        values: [N].
        share: of the values that lie below the quantile.
    """
    found = quantile_test(values, q=0.0, p=share).confidence_interval(CONFIDENCE)
    low, high = (None if np.isnan(end) else float(end) for end in (found.low, found.high))
    return low, high


def _wider(one: Interval, other: Interval) -> Interval:
    """From the lower to the higher end of both; an end that one leaves open is open."""
    low = None if one[0] is None or other[0] is None else min(one[0], other[0])
    high = None if one[1] is None or other[1] is None else max(one[1], other[1])
    return low, high


def _bootstrap(
    sample: NDArray[Any], statistic: Callable[..., Any], size: int
) -> tuple[Values, Values]:
    """The percentile bootstrap's interval (Efron and Tibshirani 1993, chapter 13).

    The same sample gives the same interval.
    """
    resamples = int(np.clip(WORK // size, LEAST_RESAMPLES, MOST_RESAMPLES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a statistic that is the same for every resample
        interval = bootstrap(
            (sample,), statistic, confidence_level=CONFIDENCE, n_resamples=resamples,
            batch=max(1, BATCH // size), vectorized=True, method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
    return interval.low, interval.high


def _estimate(value: float, interval: Interval) -> Estimate:
    low, high = interval
    # Ends are values that were seen, or sums of some: not always around the middle of all.
    return {
        "value": float(value),
        "low": None if low is None else float(min(low, value)),
        "high": None if high is None else float(max(high, value)),
    }
