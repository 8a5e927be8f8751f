"""What several folders of tests share: the shipped model, exported once, and the demo, run once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def maskrt(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "maskrt", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped checkpoint as an ONNX file."""
    pytest.importorskip("torch", reason="exporting needs torch")
    from export import to_onnx

    path = tmp_path_factory.mktemp("exported") / "deepmask_small.onnx"
    to_onnx.main("deepmask_small", output=path)
    return path


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `maskrt demo` filled."""
    folder = tmp_path_factory.mktemp("demo") / "out" / "demo"
    done = maskrt("demo", "--output", folder)
    assert done.returncode == 0, done.stderr
    (folder / "terminal.txt").write_text(done.stdout)
    return folder
