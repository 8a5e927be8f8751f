"""A report's plots, as SVG to stand in a page: letters for contestants, colours from the page.

Text stays text, so that it is drawn in the page's font; what matplotlib draws in the two colours
below is drawn in the page's, light or dark.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.harness import tables
from benchmarks.harness.report import ORDER, Report
from benchmarks.harness.scenarios import MULTI

INK, LINES = "#010203", "#040506"
COLORS = ("#3a86c8", "#e0762f", "#3f9f5f", "#c4508f", "#8a6fd1", "#a5882a", "#3aa6a0", "#d15454")
"""Of contestants: to be told apart on white and on black."""
STAGE_COLORS = dict(
    zip(
        ORDER,
        ("#9a9a9a", "#d9c45a", "#c98d4b", "#a3b86c", "#6573c3", "#7c9a5a", "#4f9d8f", "#b0679b",
         "#77818a"),
        strict=True,
    )
)  # fmt: skip
WIDTH = 4.6
"""Inches: at a phone's width the text is then as large as the page's small print."""
MOST_POINTS = 800
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "maskrt", "font.size": 8.5, "font.family": "sans-serif",
    "text.parse_math": False, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": LINES,
    "xtick.color": INK, "ytick.color": INK, "axes.facecolor": "none", "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": LINES, "grid.linewidth": 0.4,
    "axes.axisbelow": True, "axes.unicode_minus": False,
}  # fmt: skip


def color(number: int) -> str:
    """Of the contestant with this number, from 0."""
    return COLORS[number % len(COLORS)]


def distribution(report: Report, scenario: str) -> str:
    """The share of calls that are done after so many milliseconds, for each contestant."""

    def draw(axes: Axes) -> None:
        for number, entry in _numbered(report, scenario):
            seconds = np.sort(entry["samples"]["latencies"])
            # A step at each call; of many, those that show.
            shares = np.unique(
                np.concatenate([np.linspace(0, 1, 400), 1 - np.logspace(-4, -1, 100)])
            )
            at = np.ceil(shares * len(seconds)).astype(int).clip(1) - 1
            axes.step(1000 * seconds[at], 100 * shares, where="pre", color=color(number), lw=1.4)
        axes.set(xlabel="latency, ms", ylabel="calls done, %", ylim=(0, 101))
        _from_zero_if_near(axes)

    return _svg(draw, 2.6)


def timeline(report: Report, scenario: str) -> str:
    """Each call's latency at the time that it began; of many calls the slowest and some others."""

    def draw(axes: Axes) -> None:
        for number, entry in _numbered(report, scenario):
            seconds = np.array(entry["samples"]["latencies"])
            shown = np.arange(len(seconds))
            if len(seconds) > MOST_POINTS:
                slowest = np.argsort(seconds)[-MOST_POINTS // 4 :]
                every = np.linspace(0, len(seconds) - 1, MOST_POINTS * 3 // 4).astype(int)
                shown = np.union1d(slowest, every)
            starts = np.array(entry["samples"]["starts"])[shown]
            axes.plot(
                starts, 1000 * seconds[shown], "o", ms=3, mew=0, alpha=0.75, color=color(number)
            )
        axes.set(xlabel="seconds since the scenario began", ylabel="latency, ms")
        axes.set_ylim(0, 1.05 * axes.dataLim.y1)  # the slowest is shown whole

    return _svg(draw, 2.6)


def waterfall(report: Report, scenario: str) -> str:
    """A picture's stages one after another, a bar for each contestant."""
    results = list(_numbered(report, scenario))

    def draw(axes: Axes) -> None:
        for row, (_, entry) in enumerate(results):
            left = 0.0
            for name, one in entry["stages"].items():
                width = 1000 * one["value"]
                axes.barh(
                    row, width, 0.62, left, color=STAGE_COLORS.get(name, STAGE_COLORS[ORDER[-1]])
                )
                left += width
            if scenario != MULTI:  # there the median is of a query, which has several pictures
                middle = 1000 * entry["latency"]["p50"]["value"]
                axes.plot([middle, middle], [row - 0.42, row + 0.42], color=INK, lw=1.2)
        axes.set_yticks(range(len(results)), [_letter(report, entry) for _, entry in results])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="ms, medians of the stages; the line: the latency's median")
        if scenario == MULTI:
            axes.set(xlabel="ms of a picture, medians of the stages")

    return _svg(draw, 0.75 + 0.36 * len(results))


def comparison(report: Report) -> str:
    """Ratios with their intervals, beside the line at 1 where nothing is gained or lost."""
    of = tables.letters(report)
    names = list(of)

    def draw(axes: Axes) -> None:
        told = []
        for row, one in enumerate(report["comparisons"]):
            ratio = one["ratio"]
            shade = color(names.index(one["other"]))
            if ratio["low"] is not None and ratio["high"] is not None:
                axes.plot([ratio["low"], ratio["high"]], [row, row], color=shade, lw=3, alpha=0.55)
            axes.plot(ratio["value"], row, "o", ms=5, color=shade)
            told.append(f"{of[one['other']]} / {of[one['base']]}, {one['scenario']}")
        axes.axvline(1, color=INK, lw=0.8)
        axes.set_yticks(range(len(told)), told)
        axes.set_ylim(len(told) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="times as long; left of 1 is faster")

    return _svg(draw, 0.75 + 0.28 * len(report["comparisons"]))


def _numbered(report: Report, scenario: str) -> Iterator[tuple[int, dict[str, Any]]]:
    names = list(tables.letters(report))
    for entry in tables.in_scenario(report, scenario):
        yield names.index(entry["contestant"]), entry


def _letter(report: Report, entry: dict[str, Any]) -> str:
    return tables.letters(report)[entry["contestant"]]


def _from_zero_if_near(axes: Axes) -> None:
    """An axis that could begin at zero without losing much does."""
    low, high = axes.get_xlim()
    if low < 0.4 * high:
        axes.set_xlim(left=0)


def _svg(draw: Callable[[Axes], None], height: float) -> str:
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(file, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # The page says how large it is.
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"font: [^;\"]*?([\d.]+px)[^;\"]*", r"font-size: \1", text)
    text = text.replace(INK, "currentColor").replace(LINES, "var(--line)")
    return _own_ids(text)


def _own_ids(text: str) -> str:
    """An SVG whose ids no other plot of the page has; those that nothing refers to are left out."""
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', text))
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{mark}-{m[1]}"' if m[1] in used else "", text)
    return re.sub(r'(url\(|href=")#', rf"\1#{mark}-", text)
