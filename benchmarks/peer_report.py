"""Forms of one network, all in this process, measured by the harness's turns; their report.

The report is `benchmarks/latency.py`'s (docs/latency-report.md says where it differs). What a form
is made of does not matter here: it is opened, called with a picture's number, and says what it
found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.harness import report as reports
from benchmarks.harness import scenarios
from benchmarks.harness.answers import Answer, compared
from benchmarks.harness.environment import environment
from benchmarks.harness.process import WorkerError
from benchmarks.harness.report import Report
from benchmarks.harness.scenarios import SINGLE, Once, Samples
from benchmarks.harness.sensors import Sensors
from benchmarks.harness.tables import letters
from benchmarks.harness.turns import Load, Turns, measure
from engine.errors import first_line
from engine.files import sha256_of
from engine.stages import measured

OURS = "MaskRT"
"""How the names of forms begin that the others are compared with."""
LIBRARIES = "torch", "torchvision"
"""Besides those that the harness tells."""


@dataclass(frozen=True)
class Opened:
    """A form that is ready.

    Attributes:
        call: segments picture k; full-resolution masks are in what it returns.
        found: the boxes, scores and labels in that; labels from 0, without a background.
        model: its file, if there is one.
    """

    call: Callable[[int], Any]
    found: Callable[[Any], Answer]
    model: Path | None = None


@dataclass(frozen=True)
class Form:
    """A way to run the network.

    Attributes:
        name: unique.
        backend: what runs it.
        open: makes it ready.
        precision: of its layers.
        opening: what `Segmenter` is opened with, of forms that are ours.
    """

    name: str
    backend: str
    open: Callable[[], Opened]
    precision: str = "fp32"
    opening: dict[str, str] = field(default_factory=dict)


class Here:
    """Who runs scenarios in this process, for `harness.turns.measure`.

    Args:
        name: the form's.
        call: segments picture k.
        pictures: how many there are; after the last comes the first.
    """

    def __init__(self, name: str, call: Callable[[int], Any], pictures: int) -> None:
        self.name = name
        self._call, self._pictures = call, pictures

    def run(self, scenario: str, settle: int = 0, **options: Any) -> Samples:
        """A scenario's function, after `settle` calls that are not counted.

        Raises:
            WorkerError: the form failed; the others go on.
        """
        once: Once = self._once
        try:
            for k in range(settle):
                once(options.get("first", 0) + k)
            samples: Samples = getattr(scenarios, scenario)(once, **options)
        except Exception as error:  # whatever it is, the report says so and goes on
            raise WorkerError(first_line(error)) from error
        return samples

    def _once(self, k: int) -> dict[str, float]:
        with measured() as seconds:
            self._call(k % self._pictures)
        return dict(seconds)


class Contest:
    """A report that grows, so that whatever ends it early leaves what there is.

    Args:
        architecture: of the network that all forms run.
        pictures: their names.
        rounds: timed calls of each form on each of them.
        command: the command line's arguments.
    """

    def __init__(
        self, architecture: str, pictures: Sequence[str], rounds: int, command: Sequence[str]
    ) -> None:
        self.architecture = architecture
        self.load = Load(count=rounds * len(pictures), pictures=len(pictures))
        self.runners: list[Here] = []
        self._sensors = Sensors()
        self._expected: list[Answer] | None = None
        machine = environment(LIBRARIES) | {"energy": self._sensors.names, "throttled": None}
        settings = {
            "scenarios": [SINGLE], "seconds": None, "count": self.load.count,
            "streams": self.load.streams, "rate": self.load.rate, "output": "bitmaps",
            "score_threshold": None, "warm_up": None, "pictures": list(pictures),
        }  # fmt: skip
        self.report = reports.begun("peers.py", command, machine, settings)

    def fail(self, error: object, contestant: str | None = None) -> None:
        """Tell what could not be measured."""
        reports.fail(self.report, error, contestant)

    def open(self, form: Form) -> None:
        """Make a form ready and compare its answers, which warms it up; or tell why it is not."""
        try:
            start = time.perf_counter()
            opened = form.open()
            seconds = time.perf_counter() - start
            count = self.load.pictures
            answers = [opened.found(opened.call(k)) for k in range(count)]
        except Exception as error:  # a compiler that is not there, a runtime's own exception
            self.fail(first_line(error), form.name)
            return
        same = None if self._expected is None else compared(self._expected, answers)
        self._expected = answers if self._expected is None else self._expected
        self.report["contestants"].append(
            {
                "name": form.name,
                "model": opened.model and opened.model.name,
                "model_sha256": opened.model and sha256_of(opened.model),
                "commit": None,
                "opening": form.opening,
                "backend": form.backend,
                "card": {
                    "task": "instances", "architecture": self.architecture,
                    "precision": form.precision,
                },
                "open_seconds": seconds,
                "warm_up_calls": count,
                "steady": None,
                "objects": [len(answer["scores"]) for answer in answers],
                "agreement": same,
                "memory": None,
            }
        )  # fmt: skip
        self.runners.append(Here(form.name, opened.call, count))

    def run(self, tick: Callable[[float], None] = lambda share: None) -> None:
        """Measure all that are open, by turns.

        Args:
            tick: told the share of the work that has been done.
        """
        turns: Turns = {}
        try:
            failed = measure(
                SINGLE, self.runners, self.load, turns, sensors=self._sensors, tick=tick
            )
            for name, why in failed.items():
                self.fail(why, name)
        finally:
            turns = {
                runner.name: turns[runner.name] for runner in self.runners if runner.name in turns
            }
            self.report["results"] = [
                reports.result(name, SINGLE, these, self.load) for name, these in turns.items()
            ]
            for base in [n for n in turns if n.startswith(OURS)] or list(turns)[:1]:
                first = {base: turns[base]}  # who stands first is who others are compared with
                self.report["comparisons"] += reports.comparisons(SINGLE, first | turns, self.load)
            self.report["environment"]["throttled"] = self._sensors.reasons


def table(report: Report, title: str) -> Table:
    """Each form's median, what it finds again of the first one's, and its ratios to ours.

    Forms are letters, as their names are long: `harness.tables.legend` has them.

    Args:
        report: of a contest.
        title: above it.
    """
    shown = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    of = letters(report)
    ratios = {(one["other"], one["base"]): one["ratio"] for one in report["comparisons"]}
    bases = list(dict.fromkeys(one["base"] for one in report["comparisons"]))
    shown.add_column("")
    for column in ("p50, ms", "finds again", *(f"to {of[base]}" for base in bases)):
        shown.add_column(column, justify="right", no_wrap=True)
    agreements = {one["name"]: one["agreement"] for one in report["contestants"]}
    for entry in report["results"]:
        name = entry["contestant"]
        same = agreements[name]
        cells = [_cell(ratios.get((name, base)), 1, ".2f") for base in bases]
        shown.add_row(
            of[name], _cell(entry["latency"]["p50"], 1000, ".0f"),
            f"{same['found_again']} of {same['objects']}" if same else "", *cells,
        )  # fmt: skip
    return shown


def _cell(found: dict[str, Any] | None, times: float, form: str) -> Text:
    """A figure, and its interval below it; of who is compared with itself, nothing."""
    if found is None:
        return Text("")
    value, low, high = (
        None if found[part] is None else format(found[part] * times, form)
        for part in ("value", "low", "high")
    )
    if low is None or low == high:
        return Text(str(value))
    return Text.assemble(str(value), (f"\n{low}+" if high is None else f"\n{low}-{high}", "dim"))
