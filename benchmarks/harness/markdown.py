"""A report as Markdown: for a README, an issue or a pull request."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import tables
from benchmarks.harness.contestants import told
from benchmarks.harness.report import Report
from benchmarks.harness.tables import Table
from engine.files import write_aside

MARKS = re.compile(r"([\\`*_\[\]|#~$])")


def write(report: Report, path: Path) -> None:
    """Write a report as Markdown, aside first.

    Raises:
        OutputError: it cannot be written.
    """
    with write_aside(path) as aside:
        aside.write_text(
            "\n".join(lines(report)) + "\n", encoding="utf-8", errors="backslashreplace"
        )


def lines(report: Report) -> Iterator[str]:
    """The report, line by line."""
    fence = "`" * (1 + max(map(len, re.findall("`+", report["command"])), default=2))
    fence = max(fence, "```")
    yield from ("# Latency", "", f"{fence}console", report["command"].replace("\n", " "), fence, "")
    for letter, name, about in tables.legend(report):
        yield f"- **{letter}** {_plain(name)}: {_plain(about)}"
    for scenario in tables.measured_scenarios(report):
        yield from _table(tables.latency(report, scenario))
        for table in tables.stages(report, scenario):
            yield from _table(table)
    compared = tables.comparison(report)
    if compared is not None:
        yield from _table(compared)
    yield from ("", _plain(tables.READING.replace("Below a figure", "Behind a figure")), "")
    for name, said in tables.surroundings(report):
        yield f"- {name}: {_plain(said)}"
    for error in report["errors"]:
        yield f"- error: {_plain(told(error))}"


def _table(table: Table) -> Iterator[str]:
    yield from ("", f"**{_plain(table.title)}**", "")
    yield f"| {' | '.join(map(_plain, table.columns))} |"
    yield f"|{'---|' + '---:|' * (len(table.columns) - 1)}"
    for row in table.rows:
        yield f"| {' | '.join(_plain(str(cell)) for cell in row)} |"
    if table.notes:
        yield ""
    for note in table.notes:
        yield f"{_plain(note)}  "


def _plain(text: str) -> str:
    """A text that is no Markdown and no HTML, on one line."""
    return MARKS.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))
