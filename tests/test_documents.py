"""What the documents say is true: their code runs, their files and commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from maskrt.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/*.md")])
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_readmes_python_runs(demo: Path, number: int) -> None:
    """Each block runs as it stands, in a folder where the demo was run."""
    folder = demo.parent.parent
    photo = folder / "maskrt" / "data" / "coins.png"
    photo.parent.mkdir(parents=True, exist_ok=True)
    photo.write_bytes((ROOT / "maskrt" / "data" / "coins.png").read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS[number]],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_paths_lead_somewhere(document: Path) -> None:
    """Each relative link, and each path in backquotes that looks like a file of ours, is there."""
    text = document.read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    paths = re.findall(r"`((?:engine|export|maskrt|tests|docs|benchmarks|plugins)/[\w./]*)`", text)
    for target in links:
        assert (document.parent / target).exists(), target
    for target in paths:
        assert (ROOT / target).exists(), target


def test_every_command_is_documented() -> None:
    """Each subcommand is in the README; the demo is there as `make demo`."""
    for name in COMMANDS:
        assert f"maskrt {name}" in README or f"make {name}" in README, name


def test_the_readme_opens_with_the_two_commands() -> None:
    """They stand in the first ten lines."""
    head = README.splitlines()[:10]
    assert any("make demo" in line for line in head)
    assert any("make test" in line for line in head)
