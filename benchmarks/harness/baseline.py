"""An older report as a limit: a run fails that is slower than allowed, and more than by chance."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.report import SCHEMA, VERSION, Report, per_picture
from benchmarks.harness.scenarios import MULTI, OFFLINE, SERVER
from engine.errors import OptionError

SAME = ("pictures", "output", "score_threshold")
"""Settings without which figures are of something else."""


@dataclass
class Judgement:
    """What comes of comparing two reports.

    Attributes:
        breaches: a line each; any of them is a failure.
        warnings: a line each: what makes the comparison doubtful.
        compared: how many results were.
    """

    breaches: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    compared: int = 0


def read(path: Path) -> Report:
    """An older report.

    Raises:
        OptionError: it is not there, is damaged, or is of a newer version.
    """
    mend = "give a file that latency.py wrote with --json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(
            f"the baseline {path} cannot be read: {error.strerror}; {mend}"
        ) from error
    except ValueError as error:
        raise OptionError(f"the baseline {path} is not JSON, or damaged; {mend}") from error
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        raise OptionError(f"the baseline {path} is not a latency report; {mend}")
    if not isinstance(told.get("version"), int) or not 1 <= told["version"] <= VERSION:
        raise OptionError(
            f"the baseline {path} has version {told.get('version')!r}, and this latency.py reads "
            f"up to {VERSION}; measure it again"
        )
    try:
        judge(told, told, 1.0)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        raise OptionError(f"the baseline {path} lacks parts of a report; {mend}") from error
    return told


def judge(older: Report, newer: Report, allowed: float) -> Judgement:
    """Compare what both reports have: contestants of one name in one scenario.

    A breach is more than `allowed` times as long, and intervals that do not overlap: without the
    latter a noisy machine fails whatever has not changed.

    Args:
        older: the baseline.
        newer: what was measured now.
        allowed: times as long, 1 or so.
    """
    found = Judgement()
    for what, then, now in _surroundings(older, newer):
        if then != now:
            found.warnings.append(f"the baseline's {what} is {_told(then)}, and here {_told(now)}")
    before = {_key(entry): entry for entry in older["results"]}
    for entry in newer["results"]:
        key = _key(entry)
        if key not in before:
            found.warnings.append(f"the baseline has no {key[0]}, {key[1]}")
            continue
        old = before.pop(key)
        found.compared += 1
        if old["sustained"] and not entry["sustained"]:
            found.breaches.append(f"{key[0]}, {key[1]}: it kept up with that in the baseline")
            continue
        if entry["sustained"] and not old["sustained"]:
            continue  # better, and the two have no figure in common
        then, now = per_picture(old), per_picture(entry)
        times = now["value"] / then["value"]
        if times > allowed and now["low"] > then["high"]:
            each = entry["scenario"] == OFFLINE or entry["sustained"] is False
            what = "the time of a picture" if each else "p50"
            found.breaches.append(
                f"{key[0]}, {key[1]}: {what} {1000 * now['value']:.4g} ms is {times:.2f} times the "
                f"baseline's {1000 * then['value']:.4g} ms, and {allowed:g} times is allowed"
            )
    found.warnings += [f"{name}, {what} was not measured now" for name, what in before]
    if not found.compared:
        found.breaches.append(
            "the baseline has none of the results that were measured; give one of the same models "
            "and scenarios"
        )
    return found


def _key(entry: dict[str, Any]) -> tuple[str, str]:
    """Contestant and scenario, with what makes two of one scenario different."""
    more = {SERVER: f" at {entry['rate']} a second", MULTI: f" of {entry['streams']}"}
    return entry["contestant"], entry["scenario"] + more.get(entry["scenario"], "")


def _surroundings(older: Report, newer: Report) -> list[tuple[str, Any, Any]]:
    """Name, then and now of everything that should be the same."""
    one, other = older["environment"], newer["environment"]
    found: list[tuple[str, Any, Any]] = [
        ("CPU", one["cpu"]["name"], other["cpu"]["name"]),
        ("number of CPU threads", one["cpu"]["threads"], other["cpu"]["threads"]),
        ("GPU", [gpu["name"] for gpu in one["gpus"]], [gpu["name"] for gpu in other["gpus"]]),
        ("power mode", one["power_mode"], other["power_mode"]),
    ]
    settings = older["settings"], newer["settings"]
    return found + [(name, settings[0][name], settings[1][name]) for name in SAME]


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value[:4])) + (" ..." if len(value) > 4 else "") or "none"
    return "none" if value is None else str(value)
