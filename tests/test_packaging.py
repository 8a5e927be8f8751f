"""An installed MaskRT has what a checkout has."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_files_that_are_no_modules_are_packaged() -> None:
    """The demo's photo, the shipped weights, the page's template, the kernels' sources."""
    tomllib = pytest.importorskip("tomllib", reason="reading pyproject.toml needs Python 3.11")
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for pattern in told["packages"]["find"]["include"]:
        package = ROOT / pattern.rstrip("*")
        packaged = set()
        for glob in told["package-data"].get(package.name, []):
            found = set(package.glob(glob))
            assert found, glob
            packaged |= found
        for path in package.rglob("*"):
            if path.is_file() and path.suffix not in {".py", ".pyc"}:
                assert path in packaged, path
