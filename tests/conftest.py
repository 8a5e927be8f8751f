"""What several folders of tests share: the exported model, the demo, and the compiled plugins."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from virtual_time import Clock

from plugins import library

ROOT = Path(__file__).resolve().parent.parent


def maskrt(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "maskrt", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that stages are measured with, in the hands of the test."""
    clock = Clock()
    monkeypatch.setattr("engine.stages.perf_counter", clock.perf_counter)
    return clock


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped checkpoint as an ONNX file."""
    pytest.importorskip("torch", reason="exporting needs torch")
    from export import to_onnx

    path = tmp_path_factory.mktemp("exported") / "deepmask_small.onnx"
    to_onnx.main(path, "deepmask_small")
    return path


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `maskrt demo` filled."""
    folder = tmp_path_factory.mktemp("demo") / "out" / "demo"
    done = maskrt("demo", "--output", folder)
    assert done.returncode == 0, done.stderr
    (folder / "terminal.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="session")
def nvcc() -> str:
    """The CUDA compiler."""
    found = shutil.which("nvcc")
    if found is None:
        pytest.skip("no nvcc on PATH (CUDA toolkit)")
    return found


@pytest.fixture(scope="session")
def headers() -> Path:
    """The folder of TensorRT's headers."""
    root = Path(os.environ.get("TENSORRT_ROOT", "/usr"))
    for folder in (root, root / "include", *root.glob("include/*-linux-gnu")):
        if (folder / "NvInferRuntime.h").is_file():
            return folder
    pytest.skip("no TensorRT headers: set TENSORRT_ROOT to compile the plugins' glue")


@pytest.fixture(scope="session")
def built(nvcc: str, headers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugins' library as `plugins.load` builds it, for one architecture."""
    folder = tmp_path_factory.mktemp("built")
    return library.build(folder, tensorrt_root=headers, architectures="90")
