"""A report: what was measured, as JSON. docs/latency-report.md says what each field is."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.scenarios import MULTI, OFFLINE, SERVER, WAIT, Samples
from benchmarks.harness.statistics import (
    Estimate,
    per_second,
    percentiles,
    quantiles,
    ratio,
)
from benchmarks.harness.turns import Load, Turn, Turns
from engine.files import write_aside
from engine.stages import OTHER, STAGES

SCHEMA, VERSION = "maskrt-latency", 1
ORDER = (WAIT, *STAGES, OTHER)
Report = dict[str, Any]
QUOTED = re.compile(r"(['\"])(?:file:/*|~|\.\.)?/[^'\"\n]*/")
"""Of a path in quotes, which may have spaces, what is before its last name."""
FOLDERS = re.compile(
    r"(?<![\w./~])(?:(?:file:///?|~/|(?:\.\./)+)(?:[^/\s'\"]+/)*|/(?!/)(?:[^/\s'\"]+/)+)"
)


def begun(
    script: str, command: Sequence[str], machine: Mapping[str, Any], settings: Mapping[str, Any]
) -> Report:
    """A report in which nothing has been measured yet.

    Args:
        script: the file's name, of those in benchmarks/.
        command: the command line's arguments.
        machine: `environment`, with `energy` and `throttled`.
        settings: what was asked for.
    """
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "command": without_folders(shlex.join(["python", f"benchmarks/{script}", *command])),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "interrupted": False,
        "environment": machine,
        "settings": settings,
        "contestants": [],
        "results": [],
        "comparisons": [],
        "errors": [],
    }


def fail(report: Report, error: object, contestant: str | None = None) -> None:
    """Tell what could not be measured, and of whom."""
    said = without_folders(str(error))
    report["errors"].append({"contestant": contestant, "message": said})


def result(contestant: str, scenario: str, turns: Sequence[Turn], load: Load) -> dict[str, Any]:
    """What one contestant did in one scenario."""
    samples = [turn.samples for turn in turns]
    pictures = sum(s.pictures for s in samples)
    return {
        "contestant": contestant,
        "scenario": scenario,
        "queries": sum(len(s.latencies) for s in samples),
        "pictures": pictures,
        "distinct_pictures": min(pictures, load.pictures),
        "turns": len(turns),
        "seconds": sum(s.seconds for s in samples),
        "throughput": per_second([s.pictures for s in samples], [s.seconds for s in samples]),
        "latency": percentiles([s.latencies for s in samples]),
        "stages": stages(samples),
        "stage_sum_share": stage_sum_share(samples),
        "energy_joules_per_picture": _energy(turns) or None,
        "rate": load.rate if scenario == SERVER else None,
        "streams": load.streams if scenario == MULTI else None,
        "unanswered": sum(s.unanswered for s in samples),
        "sustained": _sustained(samples, load.rate) if scenario == SERVER else None,
        "samples": {
            "latencies": [round(v, 7) for s in samples for v in s.latencies],
            "starts": [round(turn.begin + v, 4) for turn in turns for v in turn.samples.starts],
            "turns": [
                {
                    "queries": len(s.latencies),
                    "pictures": s.pictures,
                    "unanswered": s.unanswered,
                    "seconds": s.seconds,
                }
                for s in samples
            ],
        },
    }


def stages(samples: Sequence[Samples]) -> dict[str, dict[str, Any]]:
    """Each stage's seconds in a picture (the median), and its share of the time of all pictures."""
    seen = {name for s in samples for stages in s.stages for name in stages}
    totals = {n: sum(one.get(n, 0.0) for s in samples for one in s.stages) for n in seen}
    whole = sum(totals.values()) or 1.0
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(seen, key=lambda n: ORDER.index(n) if n in ORDER else len(ORDER)):
        (middle,) = quantiles([[one.get(name, 0.0) for one in s.stages] for s in samples], [50])
        found[name] = {"share": totals[name] / whole, **middle}
    return found


def stage_sum_share(samples: Sequence[Samples]) -> float:
    """The stages' seconds over the latencies; of several pictures in a query, the slowest's."""
    told = counted = 0.0
    for s in samples:
        answered = len(s.latencies) - s.unanswered
        if answered:
            sums = np.array([sum(one.values()) for one in s.stages]).reshape(answered, -1)
            told += float(sums.max(axis=1).sum())
            counted += sum(s.latencies[:answered])
    return told / counted if counted else 0.0


def comparisons(scenario: str, turns: Turns, load: Load) -> list[dict[str, Any]]:
    """Each contestant against the first.

    By the seconds of a query. Where one of the two does not keep up with a rate, its latencies say
    how long that lasted and nothing of the contestant: then by the seconds spent on a picture.
    """
    names = list(turns)
    found = []
    for name in names[1:]:
        pairs = [
            (here, there)
            for here, there in zip(turns[names[0]], turns[name], strict=False)
            if here.samples.pictures and there.samples.pictures
        ]
        if not pairs:
            continue
        both = [[turn.samples for turn in side] for side in zip(*pairs, strict=True)]
        queued = scenario == SERVER and not all(_sustained(samples, load.rate) for samples in both)
        seconds = [
            [turn.busy() if queued else turn.seconds(scenario) for turn in side]
            for side in zip(*pairs, strict=True)
        ]
        found.append(
            {
                "scenario": scenario, "base": names[0], "other": name,
                "of": "picture" if queued or scenario == OFFLINE else "query",
                "ratio": ratio(seconds[1], seconds[0]), "pairs": len(pairs),
            }
        )  # fmt: skip
    return found


def of_pictures(entry: Mapping[str, Any]) -> bool:
    """Whether a result is compared by the time of a picture: offline, and where a queue grew.

    Latencies of a rate that is not kept up grow for as long as that lasts.
    """
    return entry["scenario"] == OFFLINE or entry["sustained"] is False


def per_picture(entry: Mapping[str, Any]) -> Estimate:
    """What runs are compared by: seconds of a query, the median, or those of a picture."""
    if not of_pictures(entry):
        found: Estimate = entry["latency"]["p50"]
        return found
    value, low, high = (
        None if end is None else 1 / end
        for end in (entry["throughput"][part] for part in ("value", "high", "low"))
    )
    assert value is not None
    return {"value": value, "low": low, "high": high}


def without_folders(text: str) -> str:
    """A text without the folders of this machine.

    Of paths that are absolute or lead upwards only the last name is left; of one with spaces that
    stands in no quotes, what is behind its spaces stays.
    """
    return FOLDERS.sub("", QUOTED.sub(r"\1", text))


def write(report: Report, path: Path) -> None:
    """Write a report as JSON, aside first.

    Raises:
        OutputError: it cannot be written.
    """
    with write_aside(path) as aside:
        aside.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _sustained(samples: Sequence[Samples], rate: float) -> bool:
    """Whether pictures took less time than there was between them, and none was left over."""
    busy = sum(v for s in samples for one in s.stages for n, v in one.items() if n != WAIT)
    pictures = sum(s.pictures for s in samples)
    return not any(s.unanswered for s in samples) and busy * rate < pictures


def _energy(turns: Sequence[Turn]) -> dict[str, float]:
    """Joules of a picture by counter, the idle machine's among them; {} where none is told."""
    found = {}
    for name in sorted({name for turn in turns for name in turn.joules}):
        # A counter that ran over in a turn has told nothing of that turn.
        told = [turn for turn in turns if name in turn.joules]
        pictures = sum(turn.samples.pictures + turn.samples.uncounted for turn in told)
        found[name] = sum(turn.joules[name] for turn in told) / max(1, pictures)
    return found
