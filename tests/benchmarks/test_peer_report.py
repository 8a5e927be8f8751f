"""`benchmarks/peers.py` without its networks: turns, ratios and the report, in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from virtual_time import Clock

from benchmarks.harness import scenarios, tables
from benchmarks.harness.process import WorkerError
from benchmarks.harness.scenarios import SINGLE
from benchmarks.peer_report import OURS, Contest, Form, Here, Opened, table
from engine.stages import stage

ANSWER = {"boxes": [[0.0, 0.0, 9.0, 9.0], [20.0, 0.0, 29.0, 9.0]], "labels": [1, 2],
          "scores": [0.9, 0.8]}  # fmt: skip


@pytest.fixture(autouse=True)
def time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Passes where a form sleeps, and nowhere else."""
    monkeypatch.setattr(scenarios, "time", clock)
    return clock


def form(
    time: Clock,
    name: str,
    seconds: float,
    answer: dict[str, Any] = ANSWER,
    dies_at: int | None = None,
) -> Form:
    """A form that sleeps, and fails at a call."""
    calls: list[int] = []

    def call(k: int) -> int:
        calls.append(k)
        if len(calls) == dies_at:
            raise RuntimeError("no C++ compiler\nand a trace")
        with stage("network"):
            time.sleep(seconds)
        return k

    return Form(name, "sleep", lambda: Opened(call, lambda _: answer))


def contest(*forms: Form, rounds: int = 8, pictures: tuple[str, ...] = ("a.png",)) -> Contest:
    """Opened and run."""
    found = Contest("mask", pictures, rounds, ["--images", "/home/someone/pictures"])
    for one in forms:
        found.open(one)
    found.run()
    return found


def test_ratios_are_to_each_of_ours(time: Clock) -> None:
    """Pair by pair, what was planted, with an interval; each form's calls are kept."""
    ours, other = f"{OURS}, x", f"{OURS}, y"
    found = contest(
        form(time, "peer", 0.04), form(time, ours, 0.02), form(time, other, 0.01)
    ).report
    assert [(one["other"], one["base"]) for one in found["comparisons"]] == [
        ("peer", ours), (other, ours), ("peer", other), (ours, other),
    ]  # fmt: skip
    for one, planted in zip(found["comparisons"], (2, 0.5, 4, 2), strict=True):
        assert one["ratio"]["value"] == pytest.approx(planted)
        assert one["ratio"]["low"] == pytest.approx(one["ratio"]["high"])
    for entry in found["results"]:
        assert entry["scenario"] == SINGLE
        assert entry["queries"] == len(entry["samples"]["latencies"]) == 8
        assert entry["stages"]["network"]["share"] == pytest.approx(1)


def test_without_ours_the_first_is_what_others_are_compared_with(time: Clock) -> None:
    """And one alone with nothing."""
    found = contest(form(time, "a", 0.002), form(time, "b", 0.004)).report
    assert [(one["other"], one["base"]) for one in found["comparisons"]] == [("b", "a")]
    assert contest(form(time, "a", 0.002)).report["comparisons"] == []


def test_answers_are_compared_before_anything_is_timed(time: Clock) -> None:
    """A form that finds something else is told beside its time."""
    half = {name: rows[:1] for name, rows in ANSWER.items()}
    report = contest(
        form(time, "a", 0.001), form(time, "b", 0.001, half), form(time, "c", 0.001)
    ).report
    first, *others = (one["agreement"] for one in report["contestants"])
    assert first is None
    assert [one["found_again"] for one in others] == [1, 2]
    console = Console(width=80, record=True)
    console.print(table(report, "title"))
    text = console.export_text()
    assert "1 of 2" in text
    assert "2 of 2" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(("dies_at", "measured"), [(1, False), (6, True)])
def test_who_fails_is_told_and_the_others_go_on(time: Clock, dies_at: int, measured: bool) -> None:
    """When it is opened, or in the midst; in one sentence."""
    report = contest(
        form(time, "a", 0.002), form(time, "b", 0.002, dies_at=dies_at), form(time, "c", 0.002)
    ).report
    assert report["errors"] == [{"contestant": "b", "message": "no C++ compiler"}]
    assert [one["name"] for one in report["contestants"]] == (
        ["a", "b", "c"] if measured else ["a", "c"]
    )
    results = {entry["contestant"]: entry["queries"] for entry in report["results"]}
    assert results["a"] == results["c"] == 8


def test_a_form_that_cannot_be_opened_is_told(time: Clock) -> None:
    """A runtime's own exception, whichever."""

    def fails() -> Opened:
        raise KeyError("weights")

    report = contest(Form("a", "x", fails), form(time, "b", 0.001)).report
    assert [one["contestant"] for one in report["errors"]] == ["a"]
    assert [one["contestant"] for one in report["results"]] == ["b"]


def test_all_forms_have_the_same_pictures(time: Clock) -> None:
    """One after another, each as often as there are rounds."""
    seen: list[int] = []

    def noted(k: int) -> None:
        seen.append(k)
        time.sleep(0.002)

    here = Here("a", noted, 3)
    here.run("single_stream", 1, count=5, first=4)
    assert seen == [1, 1, 2, 0, 1, 2]
    found = contest(form(time, "a", 0.001), rounds=4, pictures=("a.png", "b.png", "c.png")).report
    assert found["results"][0]["pictures"] == 12
    assert found["settings"]["pictures"] == ["a.png", "b.png", "c.png"]


def test_a_runner_that_fails_says_so_as_the_harness_expects() -> None:
    """One line; the report has its name."""
    fails: Callable[[int], Any] = lambda k: [][k]  # noqa: E731
    with pytest.raises(WorkerError, match=r"^list index out of range$"):
        Here("a", fails, 1).run("single_stream", count=1)


def test_the_report_is_one_that_the_harness_shows(time: Clock) -> None:
    """Its legend, tables and surroundings; and no folder of this machine."""
    report = contest(form(time, "a", 0.001), form(time, f"{OURS}, b", 0.001)).report
    assert [name for _, name, _ in tables.legend(report)] == ["a", f"{OURS}, b"]
    assert len(tables.latency(report, SINGLE).rows) == 2
    assert list(tables.stages(report, SINGLE))
    assert tables.comparison(report) is not None
    assert tables.surroundings(report)
    assert "someone" not in report["command"]
