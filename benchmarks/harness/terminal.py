"""A report on the terminal; it fits 80 columns, however many contestants there are."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.harness import tables
from benchmarks.harness.contestants import told
from benchmarks.harness.report import Report
from benchmarks.harness.tables import Table


def show(report: Report, console: Console) -> None:
    """Print it."""
    for part in _parts(report):
        console.print(part)


def _parts(report: Report) -> Iterator[RenderableType]:
    yield ""
    for letter, name, about in tables.legend(report):
        yield Text.assemble((f"{letter} ", "bold"), (name, "bold"))
        yield Padding(Text(about, "dim"), (0, 0, 0, 2))
    for scenario in tables.measured_scenarios(report):
        yield from _rows(tables.latency(report, scenario))
        for table in tables.stages(report, scenario):
            yield from _rows(table, short=True)
    compared = tables.comparison(report)
    if compared is not None:
        yield from _rows(compared)
    yield Padding(Text(tables.READING, "dim"), (1, 0))
    for name, said in tables.surroundings(report):
        yield Text.assemble((f"{name} ", "bold"), said)
    for error in report["errors"]:
        yield Text.assemble(("error: ", "bold red"), told(error))


def _rows(table: Table, *, short: bool = False) -> Iterator[RenderableType]:
    """A table; an interval stands below its figure, or is left out if it is to be short."""
    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for k, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if k else "left", no_wrap=True)
    for row in table.rows:
        shown.add_row(
            *(
                Text.assemble(cell.text, ("\n" + cell.interval.replace(" to ", "-"), "dim"))
                if cell.interval and not short
                else Text(cell.text)
                for cell in row
            )
        )
    yield Text("\n" + table.title, "bold")
    yield Padding(shown, (0, 0, 0, 2))
    for note in table.notes:
        yield Padding(Text(note, "dim"), (0, 0, 0, 2))
