"""Percentiles and ratios with the intervals that they may lie in: never a mean alone.

Calls that follow each other are alike: the machine is slow for a while, then fast. So what is
resampled is turns, not calls (the bootstrap of clusters: Davison and Hinkley 1997, section 3.8);
calls taken one by one would make intervals too narrow to compare two runs by.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, quantile_test

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
CONFIDENCE = 0.95
MOST_RESAMPLES, LEAST_RESAMPLES = 2000, 200
WORK = 50_000_000
"""Values that are resampled at most, so that a long run's report takes seconds."""
BATCH = 1 << 22
"""Values that are resampled at a time."""

Values = NDArray[np.float64]


class Estimate(TypedDict):
    """A statistic of a sample, and the interval that holds it with 95 % confidence."""

    value: float
    low: float
    high: float


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
    low, high = _interval(np.arange(len(turns)), statistic, len(values))
    return [
        _estimate(*three) for three in zip(middle, _of(low, middle), _of(high, middle), strict=True)
    ]


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

    value = float(statistic(np.arange(len(done))))
    low, high = _interval(np.arange(len(done)), statistic, len(done))
    return _estimate(value, _of(low, value), _of(high, value))


def ratio(other: Sequence[float], base: Sequence[float]) -> Estimate:
    """How many times as long as the base the other takes: the median of the pairs' ratios.

    Its interval is the sign test's, which is exact however few pairs there are (Conover 1999,
    section 3.2); a bootstrap's is too narrow for a handful. Fewer than six pairs cannot tell 95 %
    and give all that was seen.

    Args:
        other: seconds, of a turn each.
        base: of the turns beside these, as many.
    """
    ratios = np.asarray(other, float) / np.asarray(base, float)
    found = quantile_test(ratios, q=1.0, p=0.5).confidence_interval(CONFIDENCE)
    low = ratios.min() if np.isnan(found.low) else found.low
    high = ratios.max() if np.isnan(found.high) else found.high
    return _estimate(np.median(ratios), low, high)


def _interval(sample: NDArray[Any], statistic: Callable[..., Any], size: int) -> tuple[Any, Any]:
    """The percentile bootstrap's interval (Efron and Tibshirani 1993, chapter 13).

    The same sample gives the same interval. None, None: it tells nothing of how it varies.
    """
    if len(sample) < 2:
        return None, None
    resamples = int(np.clip(WORK // size, LEAST_RESAMPLES, MOST_RESAMPLES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a statistic that is the same for every resample
        interval = bootstrap(
            (sample,), statistic, confidence_level=CONFIDENCE, n_resamples=resamples,
            batch=max(1, BATCH // size), vectorized=True, method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
    return interval.low, interval.high


def _of(bound: Any, value: Any) -> Any:
    return value if bound is None else bound


def _estimate(value: Any, low: Any, high: Any) -> Estimate:
    return {"value": float(value), "low": float(low), "high": float(high)}
