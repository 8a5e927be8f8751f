"""The page of a report, opened in a browser; and that names are text wherever they are shown."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample_report
from rich.console import Console

from benchmarks.harness import markdown, page, terminal
from benchmarks.harness.scenarios import SINGLE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
QUIETLY = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip
NASTY = '_<script>alert("x")</script>$x^2$|&amp;[bold]`{{ 7*7 }}`.onnx'
NAMES = {"deepmask_small.onnx": 0.05, f"{NASTY}@backend=openvino,precision=bf16": 0.03}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    sync = pytest.importorskip("playwright.sync_api", reason="pages are opened with playwright")
    if not CHROMIUM:
        pytest.skip("no chromium on PATH to open pages with (apt-get install chromium)")
    with sync.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIETLY)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a report of two contestants in all scenarios."""
    path = tmp_path_factory.mktemp("page") / "latency.html"
    report = sample_report.make(NAMES)
    report["errors"].append({"contestant": None, "message": "no.onnx does not exist <b>"})
    page.write(report, path)
    return path


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_the_page_in_a_browser(browser: Any, written: Path, width: int, scheme: str) -> None:
    """No complaint, no request but for the page, all plots drawn, and as wide as a phone."""
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    opened = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("requestfailed", lambda request: complaints.append(request.url))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(written.as_uri(), wait_until="networkidle")
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [written.as_uri()]
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    plots = opened.query_selector_all("figure svg")
    assert len(plots) == 4 * 3 + 1  # three a scenario, and the comparison
    for plot in plots:
        box = plot.bounding_box()
        assert box["width"] > 250
        assert box["height"] > 60
        shapes = plot.query_selector_all("path")
        assert sum(s.bounding_box()["width"] + s.bounding_box()["height"] > 20 for s in shapes) >= 4
        assert plot.query_selector_all("text")
    assert NASTY in opened.inner_text("body")
    assert opened.query_selector("script") is None
    ink = opened.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    body = opened.evaluate("getComputedStyle(document.body).color")
    assert ink == body
    context.close()


def test_the_page_needs_nothing_else(written: Path) -> None:
    """No script, and nothing that a browser would fetch."""
    text = written.read_text()
    assert "<script" not in text
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|\#)""", text)
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    assert len(text) < 1_500_000


def test_names_are_text_in_markdown() -> None:
    """Neither HTML, nor a table's bar, nor emphasis."""
    text = "\n".join(markdown.lines(sample_report.make(NAMES)))
    code, rest = text.split("```console\n")[1].split("\n```", 1)
    assert NASTY in code
    assert "<" not in rest
    tables = [line for line in rest.splitlines() if line.startswith("|")]
    assert len(tables) > 40
    for bars in (re.findall(r"(?<!\\)\|", line) for line in tables):
        assert len(bars) >= 4


def test_the_terminal_fits_80_columns() -> None:
    """Whole figures, whatever the names are: five contestants, all percentiles, long times."""
    console = Console(width=80, record=True, highlight=False, file=io.StringIO())
    names = NAMES | {"c.onnx": 1.7, "d.onnx": 0.04, "e.onnx": 0.05}
    terminal.show(sample_report.make(names, (SINGLE,), number=60), console)
    text = console.export_text()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert NASTY[:40] in text
    for word in ("p50, ms", "p90, ms", "p99.9, ms", "network", "sum", "E / A", "single"):
        assert word in text


def test_nothing_was_measured() -> None:
    """A report without any result is one too: its errors are shown."""
    report = sample_report.make({})
    report["errors"].append({"contestant": None, "message": "there is no picture"})
    assert "there is no picture" in page.render(report)
    assert "there is no picture" in "\n".join(markdown.lines(report))
