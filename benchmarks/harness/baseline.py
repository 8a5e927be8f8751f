"""An older report as a limit: a run fails that is slower than allowed, and more than by chance."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.report import SCHEMA, VERSION, Report, of_pictures, per_picture
from benchmarks.harness.scenarios import MULTI, SERVER
from engine.errors import OptionError

LARGEST = 1 << 28
"""Bytes of a report that is read."""
MOST_SECONDS = 1e9
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
        if path.stat().st_size > LARGEST:
            raise OptionError(f"the baseline {path} has more than {LARGEST} bytes; {mend}")
        told = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise OptionError(
            f"the baseline {path} cannot be read: {error.strerror}; {mend}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"the baseline {path} is not JSON, or damaged; {mend}") from error
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        raise OptionError(f"the baseline {path} is not a latency report; {mend}")
    if not isinstance(told.get("version"), int) or not 1 <= told["version"] <= VERSION:
        raise OptionError(
            f"the baseline {path} has version {told.get('version')!r}, and this latency.py reads "
            f"up to {VERSION}; measure it again"
        )
    try:
        for entry in told["results"]:
            for figure in (entry["latency"]["p50"], entry["throughput"]):
                _check(figure)
        judge(told, told, 1.0)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OptionError(f"the baseline {path} lacks parts of a report; {mend}") from error
    return told


def judge(older: Report, newer: Report, allowed: float, *, any_machine: bool = False) -> Judgement:
    """Compare what both reports have: contestants of one name in one scenario.

    A breach is more than `allowed` times as long, and intervals that do not overlap: without the
    latter a noisy machine fails whatever has not changed. What may be chance is a warning.

    Args:
        older: the baseline.
        newer: what was measured now.
        allowed: times as long, 1 or so.
        any_machine: compare with another machine too; otherwise that is a breach.
    """
    found = Judgement()
    for what, then, now, of_machine in _surroundings(older, newer):
        if then != now:
            said = f"the baseline's {what} is {_told(then)}, and here {_told(now)}"
            if of_machine and any_machine:
                found.warnings.append(said)
            else:
                mend = "measure it here, or give --any-machine" if of_machine else "give the same"
                found.breaches.append(f"{said}; {mend}")
    if found.breaches:
        return found
    before = {_key(entry): entry for entry in older["results"]}
    for entry in newer["results"]:
        key = _key(entry)
        if key not in before:
            found.warnings.append(f"the baseline has no {key[0]}, {key[1]}")
            continue
        found.compared += 1
        _compare(f"{key[0]}, {key[1]}", before.pop(key), entry, allowed, found)
    found.warnings += [f"{name}, {what} was not measured now" for name, what in before]
    if not found.compared:
        found.breaches.append(
            "the baseline has none of the results that were measured; give one of the same models "
            "and scenarios"
        )
    return found


def _compare(
    name: str, old: dict[str, Any], new: dict[str, Any], allowed: float, found: Judgement
) -> None:
    if old["sustained"] and not new["sustained"]:
        found.breaches.append(f"{name}: it kept up with that in the baseline")
        return
    if new["sustained"] and old["sustained"] is False:
        return  # better, and the two have no figure in common
    then, now = per_picture(old), per_picture(new)
    times = now["value"] / then["value"]
    if times <= allowed:
        return
    what = "the time of a picture" if of_pictures(new) else "p50"
    said = (
        f"{name}: {what} {1000 * now['value']:.4g} ms is {times:.2f} times the baseline's "
        f"{1000 * then['value']:.4g} ms, and {allowed:g} times is allowed"
    )
    if now["low"] is not None and then["high"] is not None and now["low"] > then["high"]:
        found.breaches.append(said)
    else:
        found.warnings.append(f"{said}; that may be chance: measure longer, now or the baseline")


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no figure")


def _check(figure: dict[str, Any]) -> None:
    """Refuse what cannot be compared.

    Raises:
        ValueError: it is no figure above 0, or an end of its interval is none.
    """
    for name in ("value", "low", "high"):
        part = figure[name]
        if part is None and name != "value":
            continue
        if type(part) not in (int, float) or not 0 < part < MOST_SECONDS:
            raise ValueError(f"{name} is {part}")


def _key(entry: dict[str, Any]) -> tuple[str, str]:
    """Contestant and scenario, with what makes two of one scenario different."""
    more = {SERVER: f" at {entry['rate']} a second", MULTI: f" of {entry['streams']}"}
    return entry["contestant"], entry["scenario"] + more.get(entry["scenario"], "")


def _surroundings(older: Report, newer: Report) -> list[tuple[str, Any, Any, bool]]:
    """Name, then and now of everything that should be the same, and whether it is the machine's."""
    one, other = older["environment"], newer["environment"]
    machine = [
        ("CPU", one["cpu"]["name"], other["cpu"]["name"]),
        ("number of CPU threads", one["cpu"]["threads"], other["cpu"]["threads"]),
        ("GPU", [gpu["name"] for gpu in one["gpus"]], [gpu["name"] for gpu in other["gpus"]]),
        ("power mode", one["power_mode"], other["power_mode"]),
    ]
    then, now = older["settings"], newer["settings"]
    return [(*each, True) for each in machine] + [
        (name, then[name], now[name], False) for name in SAME
    ]


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value[:4])) + (" ..." if len(value) > 4 else "") or "none"
    return "none" if value is None else str(value)
