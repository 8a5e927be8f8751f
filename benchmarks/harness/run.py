"""The whole measurement: processes opened, warmed up, measured by turns, and a report made."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.harness import report as reports
from benchmarks.harness.answers import Answer, compared
from benchmarks.harness.contestants import Contestant
from benchmarks.harness.environment import environment
from benchmarks.harness.process import Worker, checkout, hash_of
from benchmarks.harness.report import Report
from benchmarks.harness.sensors import Sensors, memory
from benchmarks.harness.turns import Load, Turns, measure
from engine.errors import MaskRTError
from engine.files import sha256_of
from engine.large import open_picture
from maskrt.inputs import files


@dataclass(frozen=True)
class Settings:
    """What is measured, and for how long.

    Attributes:
        scenarios: of `scenarios.SCENARIOS`.
        images: a picture, a folder or a pattern.
        seconds, count, streams, rate: as in `turns.Load`.
        output: "rle", "bitmaps" or "none": what is made of the masks.
        score_threshold: of results, 0 to 1; None for the model's own.
        warm_up: seconds at most.
    """

    scenarios: list[str]
    images: str
    seconds: float = 10.0
    count: int | None = None
    streams: int = 4
    rate: float = 30.0
    output: str = "rle"
    score_threshold: float | None = None
    warm_up: float = 30.0


class _Measurement:
    """A report that grows, so that whatever ends it early leaves what there is."""

    def __init__(self, settings: Settings, command: Sequence[str]) -> None:
        self.settings = settings
        self.sensors = Sensors()
        self.workers: list[Worker] = []
        self.expected: list[Answer] | None = None
        told = asdict(settings)
        del told["images"]
        told["seconds" if settings.count else "count"] = None  # not heeded
        machine = environment() | {"energy": self.sensors.names, "throttled": None}
        self.report = reports.begun("latency.py", command, machine, told | {"pictures": []})

    def fail(self, error: object, contestant: str | None = None) -> None:
        """Tell what could not be measured."""
        reports.fail(self.report, error, contestant)

    def pictures(self) -> list[str]:
        """Those that can be read; the others are told."""
        try:
            paths = files(self.settings.images).values()
        except MaskRTError as error:
            self.fail(error)
            return []
        readable = []
        for path in paths:
            try:
                open_picture(path)
            except MaskRTError as error:
                self.fail(error)
            else:
                readable.append(path)
        self.report["settings"]["pictures"] = [path.name for path in readable]
        return [str(path.resolve()) for path in readable]

    def open(self, worker: Worker, pictures: list[str]) -> None:
        """Open a contestant's model in its process and warm it up."""
        one = worker.contestant
        model = one.model.resolve()
        opened = worker.ask("open", model=str(model), opening=one.opening)
        options = {"score_threshold": self.settings.score_threshold}
        seen = worker.ask(
            "pictures", paths=pictures, output=self.settings.output,
            options={k: v for k, v in options.items() if v is not None},
        )  # fmt: skip
        answers = seen["answers"]
        same = None if self.expected is None else compared(self.expected, answers)
        warm = worker.ask("warm_up", most_seconds=self.settings.warm_up)
        if self.expected is None:
            self.expected = answers
        self.report["contestants"].append(
            {
                **one.to_json(),
                "model_sha256": sha256_of(model) if model.is_file() else None,
                "backend": opened["backend"],
                "card": opened["card"],
                "open_seconds": opened["seconds"],
                "warm_up_calls": warm["calls"],
                "steady": warm["steady"],
                "objects": [len(answer["scores"]) for answer in answers],
                "agreement": same,
                "memory": None,
            }
        )
        self.workers.append(worker)

    def scenario(self, name: str, load: Load, tick: Any) -> None:
        """Measure one; what there is when it ends early is reported."""
        turns: Turns = {}
        try:
            failed = measure(name, self.workers, load, turns, sensors=self.sensors, tick=tick)
            for contestant, why in failed.items():
                self.fail(why, contestant)
            self.workers = [w for w in self.workers if w.name not in failed]
        finally:
            turns = {
                w["name"]: turns[w["name"]]
                for w in self.report["contestants"]
                if w["name"] in turns
            }
            self.report["results"] += [reports.result(n, name, t, load) for n, t in turns.items()]
            self.report["comparisons"] += reports.comparisons(name, turns, load)
            self._remember_memory()
            self.report["environment"]["throttled"] = self.sensors.reasons

    def _remember_memory(self) -> None:
        by_name = {one["name"]: one for one in self.report["contestants"]}
        for worker in self.workers:
            told = memory(worker.pid) | {"device": self.sensors.device_memory(worker.pid)}
            by_name[worker.name]["memory"] = told


def run_all(
    contestants: list[Contestant], settings: Settings, command: Sequence[str], console: Console
) -> Report:
    """Measure everything that can be measured.

    What cannot is in the report's errors. Ctrl-C ends the measurement and not the report.

    Args:
        contestants: what is compared; the first is what the others are compared with.
        settings: how.
        command: the command line's arguments, for the report.
        console: for the progress bar.
    """
    found = _Measurement(settings, command)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    try:
        with (
            ExitStack() as stack,
            Progress(
                *columns, console=console, transient=True, disable=not console.is_terminal
            ) as progress,
        ):
            _measure(found, contestants, stack, progress)
    except KeyboardInterrupt:
        found.report["interrupted"] = True
        found.fail("stopped before the end: this is what had been measured until then")
    return found.report


def _measure(
    found: _Measurement, contestants: list[Contestant], stack: ExitStack, progress: Progress
) -> None:
    settings = found.settings
    pictures = found.pictures()
    if not pictures:
        return
    task = progress.add_task("opening", total=len(contestants))
    for one in contestants:
        try:
            with ExitStack() as own:
                fixed = replace(one, commit=hash_of(one.commit))
                root = own.enter_context(checkout(fixed.commit))
                found.open(own.enter_context(Worker(fixed, root)), pictures)
                stack.push(own.pop_all())
        except MaskRTError as error:
            found.fail(error, one.name)
        progress.advance(task)
    load = Load(
        settings.seconds, settings.count, settings.streams, settings.rate, len(pictures)
    )  # fmt: skip
    for name in settings.scenarios:
        if not found.workers:
            return
        progress.update(task, description=name, completed=0, total=1)
        found.scenario(name, load, lambda share: progress.update(task, completed=share))
