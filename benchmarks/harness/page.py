"""A report as one page that needs nothing else: no script, no request, no font."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.harness import plots, tables
from benchmarks.harness.contestants import told
from benchmarks.harness.report import Report
from engine.files import write_aside


def write(report: Report, path: Path) -> None:
    """Write a report as a page, aside first.

    Raises:
        OutputError: it cannot be written.
    """
    with write_aside(path) as aside:
        aside.write_text(render(report), encoding="utf-8", errors="backslashreplace")


def render(report: Report) -> str:
    """The page. Whatever a model, a picture or a machine is called, it is text there."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    legend = [(plots.color(number), *one) for number, one in enumerate(tables.legend(report))]
    scenarios = [
        {
            "latency": tables.latency(report, name),
            "stages": list(tables.stages(report, name)),
            "distribution": Markup(plots.distribution(report, name)),
            "waterfall": Markup(plots.waterfall(report, name)),
            "timeline": Markup(plots.timeline(report, name)),
            "colors": _stage_colors(report, name),
        }
        for name in tables.measured_scenarios(report)
    ]
    compared = tables.comparison(report)
    return environment.get_template("page.html").render(
        report=report, legend=legend, scenarios=scenarios, comparison=compared,
        ratios=Markup(plots.comparison(report)) if compared else None,
        surroundings=tables.surroundings(report), reading=tables.READING,
        errors=[told(error) for error in report["errors"]],
    )  # fmt: skip


def _stage_colors(report: Report, scenario: str) -> list[tuple[str, str]]:
    """Name and colour of each stage that somebody has."""
    seen = {name for entry in tables.in_scenario(report, scenario) for name in entry["stages"]}
    return [(name, shade) for name, shade in plots.STAGE_COLORS.items() if name in seen]
