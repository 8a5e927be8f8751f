"""What a report's tables say, whoever shows them: the terminal, Markdown or the page.

Contestants are letters in tables and plots, as their names may be long; `legend` has the names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.report import ORDER, Report
from benchmarks.harness.scenarios import MULTI, SCENARIOS, SERVER

NONE = "-"
MASKS = {"rle": "as RLE", "bitmaps": "as bitmaps", "none": "not pasted"}
ABREAST = 3
"""Contestants in a table of stages, so that it fits a terminal."""
READING = (
    "Below a figure stands the interval that holds it with 95 % confidence, as far as the run "
    "tells: a + in the place of its upper end says that it may be higher, and fewer than six turns "
    "tell none. A percentile is told where at least one call is expected beyond it. Stages are "
    "medians; their shares are of the time of all pictures, and the sum's is that of the "
    "latencies. A ratio is how many times as long the first takes, pair by pair; below 1 it is "
    "faster."
)


@dataclass(frozen=True)
class Cell:
    """A figure and the interval that it may lie in."""

    text: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.interval})" if self.interval else self.text


@dataclass
class Table:
    """A title, columns and rows; the first column is text, the others are figures."""

    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def letters(report: Report) -> dict[str, str]:
    """A, B, C for contestants' names; numbers after Z."""
    names = [one["name"] for one in report["contestants"]]
    return {n: chr(65 + k) if k < 26 else str(k + 1) for k, n in enumerate(names)}


def legend(report: Report) -> Iterator[tuple[str, str, str]]:
    """Letter, name, and what there is to say about each contestant."""
    of = letters(report)
    for one in report["contestants"]:
        memory = one["memory"] or {}
        told = [
            one["backend"],
            f"{one['card']['architecture']} {one['card']['precision']}",
            f"opened in {one['open_seconds']:.2g} s",
            f"memory {_bytes(memory['peak'])}" if memory.get("peak") else "",
            f"on the device {_bytes(memory['device'])}" if memory.get("device") else "",
            f"{_count(sum(one['objects']), 'object')} in {_count(len(one['objects']), 'picture')}",
            _same(one["agreement"]),
            "times were not steady after warming up" if one["steady"] is False else "",
            f"model {one['model_sha256'][:12]}" if one["model_sha256"] else "",
        ]
        yield of[one["name"]], one["name"], ", ".join(filter(None, told))


def _same(agreement: dict[str, Any] | None) -> str:
    if agreement is None or not agreement["objects"]:  # none for the first contestant
        return ""
    said = f"finds {agreement['found_again']} of A's {agreement['objects']} again"
    if agreement["found_again"]:
        said += f" (boxes within {agreement['box']:.2g} px, scores {agreement['score']:.1g})"
    return said


def latency(report: Report, scenario: str) -> Table:
    """Percentiles and throughput of each contestant in a scenario."""
    of = letters(report)
    results = in_scenario(report, scenario)
    told = max((list(entry["latency"]) for entry in results), key=len)
    table = Table(
        _title(report, scenario), ["", *(f"{p}, ms" for p in told), "pictures/s", "calls"]
    )
    for entry in results:
        found = entry["latency"]
        cells = [_figure(found.get(p), 1000) for p in told]
        done = _figure(entry["throughput"])
        table.rows.append(
            [Cell(of[entry["contestant"]]), *cells, done, Cell(str(entry["queries"]))]
        )
        pictures = len(report["settings"]["pictures"])
        table.notes += _notes(entry, of[entry["contestant"]], pictures)
    return table


def stages(report: Report, scenario: str) -> Iterator[Table]:
    """Where a picture's time goes, for each contestant: the median, and the share of all time."""
    results = in_scenario(report, scenario)
    for k in range(0, len(results), ABREAST):
        yield _stages(results[k : k + ABREAST], letters(report), scenario)


def _stages(results: list[dict[str, Any]], of: dict[str, str], scenario: str) -> Table:
    table = Table(f"{scenario}: stages of a picture", [""])
    for entry in results:
        table.columns += [f"{of[entry['contestant']]}, ms", "share"]
    for name in [n for n in ORDER if any(n in entry["stages"] for entry in results)]:
        row = [Cell(name)]
        for entry in results:
            one = entry["stages"].get(name)
            row += [_figure(one, 1000), Cell(f"{one['share']:.1%}" if one else NONE)]
        table.rows.append(row)
    last = [Cell("sum")]
    for entry in results:
        middle = 1000 * sum(one["value"] for one in entry["stages"].values())
        last += [Cell(_short(middle)), Cell(f"{entry['stage_sum_share']:.1%}")]
    table.rows.append(last)
    return table


def comparison(report: Report) -> Table | None:
    """Ratios of seconds, pair by pair; None where there is nothing to compare."""
    if not report["comparisons"]:
        return None
    of = letters(report)
    table = Table(
        "ratios of seconds, pair by pair", ["", "scenario", "ratio", "from", "to", "pairs"]
    )
    for one in report["comparisons"]:
        ratio = one["ratio"]
        table.rows.append(
            [
                Cell(f"{of[one['other']]} / {of[one['base']]}"), Cell(one["scenario"]),
                *(
                    Cell(NONE if ratio[part] is None else f"{ratio[part]:.3f}")
                    for part in ("value", "low", "high")
                ),
                Cell(str(one["pairs"])),
            ]
        )  # fmt: skip
        if one["scenario"] == SERVER and one["of"] == "picture":
            table.notes.append(
                f"{of[one['other']]} / {of[one['base']]}, {SERVER}: of the time spent on a "
                "picture, as latencies of a rate that is not kept up tell how long that lasted."
            )
    return table


def surroundings(report: Report) -> list[tuple[str, str]]:
    """The machine and the settings, a few lines."""
    there, settings = report["environment"], report["settings"]
    cpu = there["cpu"]
    lines = [
        (
            "machine",
            _listed(
                there["device"], cpu["name"], _count(cpu["threads"], "thread"), cpu["architecture"],
                cpu["mhz"] and f"{cpu['mhz']} MHz",
                cpu["governor"] and f"governor {cpu['governor']}",
                f"load {cpu['load'][0]:g} at the start", _bytes(there["memory_bytes"]),
                there["power_mode"],
            ),
        )
    ]  # fmt: skip
    for gpu in there["gpus"]:
        limit = gpu["power_limit_watts"]
        clock = gpu["sm_mhz"] and f"{gpu['sm_mhz']} MHz"
        about = (gpu["name"], f"driver {gpu['driver']}", clock, limit and f"{limit:.0f} W")
        lines.append(("GPU", _listed(*about)))
    versions = [f"{name} {version}" for name, version in there["libraries"].items()]
    lines += [
        ("software", _listed(there["system"], f"Python {there['python']}", *versions)),
        ("commit", there["commit"] or "unknown"),
        (
            "pictures",
            f"{len(settings['pictures'])}: {_listed(*settings['pictures'][:3])}"
            + (" ..." if len(settings["pictures"]) > 3 else ""),
        ),
        ("masks", MASKS[settings["output"]]),
        ("measured", report["started"]),
    ]  # fmt: skip
    if there["throttled"]:
        lines.append(("throttled", _listed(*there["throttled"])))
    return lines


def in_scenario(report: Report, scenario: str) -> list[dict[str, Any]]:
    """The results of a scenario."""
    return [entry for entry in report["results"] if entry["scenario"] == scenario]


def measured_scenarios(report: Report) -> list[str]:
    """Those that have a result, in their order."""
    return [s for s in SCENARIOS if in_scenario(report, s)]


def _title(report: Report, scenario: str) -> str:
    more = {
        MULTI: f" ({report['settings']['streams']})",
        SERVER: f" ({report['settings']['rate']:g} a second)",
    }
    return f"{scenario}: {SCENARIOS[scenario]}{more.get(scenario, '')}"


def _notes(entry: dict[str, Any], letter: str, pictures: int) -> Iterator[str]:
    if entry["sustained"] is False:
        yield (
            f"{letter} does not keep up with {entry['rate']:g} pictures a second: the queue grows "
            f"as long as it lasts, and so do latencies ({entry['unanswered']} were left waiting)."
        )
    if entry["energy_joules_per_picture"]:
        told = [f"{n} {_short(j)} J" for n, j in entry["energy_joules_per_picture"].items()]
        yield f"{letter}, energy of a picture, the idle machine's included: {', '.join(told)}."
    if entry["distinct_pictures"] < pictures:
        yield f"{letter} has seen {entry['distinct_pictures']} of {pictures} pictures."


def _figure(found: Mapping[str, Any] | None, times: float = 1.0) -> Cell:
    if found is None:
        return Cell(NONE)
    value, low, high = (
        None if found[part] is None else _short(found[part] * times)
        for part in ("value", "low", "high")
    )
    if low is None or low == high:
        return Cell(str(value))
    return Cell(str(value), f"{low}+" if high is None else f"{low} to {high}")


def _short(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:#.3g}" if value >= 0.01 else f"{value:.2g}"


def _count(number: int, of: str) -> str:
    return f"{number} {of}" if number == 1 else f"{number} {of}s"


def _bytes(count: float) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _listed(*parts: Any) -> str:
    return ", ".join(str(part) for part in parts if part)
