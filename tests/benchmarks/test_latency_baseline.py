"""A baseline fails what is slower than allowed, and nothing else."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import sample_report

from benchmarks.harness import baseline
from benchmarks.harness.report import VERSION, write
from benchmarks.harness.scenarios import SCENARIOS
from engine.errors import OptionError

OLDER = sample_report.make({"a.onnx": 0.05})


def test_the_same_passes(tmp_path: Path) -> None:
    """Nothing to say of a report beside itself, written and read."""
    write(OLDER, tmp_path / "old.json")
    older = baseline.read(tmp_path / "old.json")
    assert older == OLDER
    judged = baseline.judge(older, OLDER, 1.1)
    assert (judged.breaches, judged.warnings, judged.compared) == ([], [], 4)


def test_slower_fails() -> None:
    """A line for each scenario: which, how many times, what is allowed."""
    judged = baseline.judge(OLDER, sample_report.make({"a.onnx": 0.06}), 1.1)
    assert len(judged.breaches) == 4
    for line, scenario in zip(judged.breaches, SCENARIOS, strict=True):
        assert line.startswith(f"a.onnx, {scenario}")
        assert "times the baseline's" in line
        assert "1.1 times is allowed" in line
    assert "the time of a picture" in judged.breaches[2]
    assert baseline.judge(OLDER, sample_report.make({"a.onnx": 0.06}), 1.3).breaches == []
    assert baseline.judge(OLDER, sample_report.make({"a.onnx": 0.04}), 1.1).breaches == []


def test_noise_does_not_fail() -> None:
    """More than allowed, but within what either measurement may be off."""
    newer = sample_report.make({"a.onnx": 0.06})
    for entry in newer["results"]:
        entry["latency"]["p50"]["low"] = 0.049
        entry["throughput"]["high"] = 21.0
    judged = baseline.judge(OLDER, newer, 1.1)
    assert judged.breaches == []
    assert len(judged.warnings) == 4
    assert all("may be chance" in line for line in judged.warnings)
    for entry in newer["results"]:  # too few turns for an interval
        entry["latency"]["p50"]["low"] = entry["throughput"]["high"] = None
    judged = baseline.judge(OLDER, newer, 1.1)
    assert (len(judged.breaches), len(judged.warnings)) == (0, 4)


def test_a_rate_that_was_kept_up() -> None:
    """No longer is a failure whatever p50 is; where it never was, throughput counts."""
    slow = copy.deepcopy(OLDER)
    slow["results"][3]["sustained"] = False
    (breach,) = baseline.judge(OLDER, slow, 1.1).breaches
    assert breach == "a.onnx, server at 10.0 a second: it kept up with that in the baseline"
    waited = copy.deepcopy(OLDER)
    waited["results"][3]["latency"]["p50"] = {"value": 9.0, "low": 9.0, "high": 9.0}
    assert baseline.judge(slow, waited, 1.1).breaches == []
    longer = copy.deepcopy(slow)
    longer["results"][3]["latency"]["p50"] = {"value": 9.0, "low": 9.0, "high": 9.0}
    assert baseline.judge(slow, longer, 1.1).breaches == []


def test_what_makes_it_doubtful_is_told() -> None:
    """Another machine is compared if that is asked for; nothing in common is a failure."""
    newer = copy.deepcopy(OLDER)
    newer["environment"]["cpu"]["name"] = "Another one"
    newer["results"][3]["rate"] = 5.0
    judged = baseline.judge(OLDER, newer, 1.1, any_machine=True)
    assert judged.compared == 3
    assert judged.breaches == []
    assert judged.warnings == [
        "the baseline's CPU is A processor, and here Another one",
        "the baseline has no a.onnx, server at 5.0 a second",
        "a.onnx, server at 10.0 a second was not measured now",
    ]
    (breach,) = baseline.judge(OLDER, sample_report.make({"b.onnx": 0.05}), 1.1).breaches
    assert "none of the results" in breach


def test_what_cannot_be_compared_is_refused() -> None:
    """Another machine, and other work, whatever the figures are."""
    newer = copy.deepcopy(OLDER)
    newer["environment"]["cpu"]["name"] = "Another one"
    newer["settings"]["output"] = "bitmaps"
    judged = baseline.judge(OLDER, newer, 1.1)
    assert judged.breaches == [
        "the baseline's CPU is A processor, and here Another one; measure it here, or give "
        "--any-machine",
        "the baseline's output is rle, and here bitmaps; give the same",
    ]
    assert judged.compared == 0
    assert len(baseline.judge(OLDER, newer, 1.1, any_machine=True).breaches) == 1


def changed(**figures: object) -> str:
    """A report whose first p50 has other figures."""
    report = copy.deepcopy(OLDER)
    report["results"][0]["latency"]["p50"].update(figures)
    return json.dumps(report)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ('{"schema": ', "damaged"),
        ("[]", "not a latency report"),
        ('{"schema": "another"}', "not a latency report"),
        (json.dumps(OLDER | {"version": VERSION + 1}), "reads up to"),
        (json.dumps(OLDER | {"version": None}), "reads up to"),
        (json.dumps(OLDER | {"results": [{"scenario": "offline"}]}), "lacks parts"),
        (json.dumps(OLDER | {"environment": 3}), "lacks parts"),
        (changed(value=float("nan")), "damaged"),
        ("[" * 100_000, "damaged"),
        (changed(high="0.1"), "lacks parts"),
        (changed(value=0), "lacks parts"),
        (changed(value=True), "lacks parts"),
        (changed(low=10**400), "lacks parts"),
        (json.dumps(OLDER).replace('"high"', '"hihg"'), "lacks parts"),
    ],
)
def test_what_is_no_baseline(tmp_path: Path, content: str | None, said: str) -> None:
    """One sentence, with what to do."""
    path = tmp_path / "old.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OptionError, match=said) as told:
        baseline.read(path)
    assert "\n" not in str(told.value)
