"""The compiled library in real registries: TensorRT's lean runtimes and TensorRT-RTX."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from registry import NODES

from engine import BackendError
from plugins import library
from plugins.paste.launch import PasteKernel

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LEAN = {"10.16": ROOT / ".venv-lean" / "10", "11.4": ROOT / ".venv-lean" / "11"}


def _python(*arguments: object, path: Path | None = None) -> str:
    """What a fresh Python prints: a process in which TensorRT failed may end badly."""
    folders = [str(path)] if path else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*folders, str(ROOT)])}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _both_are_made(said: str) -> None:
    for op, node in NODES.items():
        assert f"fields {op} {' '.join(sorted(node))}\n" in said
        assert f"right {op} maskrt\n" in said
        assert f"wrong {op} None\n" in said
    assert "maskrt: BatchedNms: node BatchedNms: detections is 0; give" in said
    assert "maskrt: PyramidRoiAlign: node PyramidRoiAlign: output_size is 0; give" in said


def test_it_exports_three_names_and_needs_no_tensorrt(built: Path) -> None:
    """So that one file serves every version; the paste kernel's function is one of them."""
    names = subprocess.run(
        ["nm", "-D", "--defined-only", str(built)], capture_output=True, text=True, check=True
    ).stdout
    assert sorted(line.split()[-1] for line in names.splitlines()) == [
        "getCreators", "maskrt_paste", "setLoggerFinder",
    ]  # fmt: skip
    needed = subprocess.run(
        ["readelf", "-d", str(built)], capture_output=True, text=True, check=True
    ).stdout
    assert "nvinfer" not in needed
    assert "libcuda" not in needed
    PasteKernel(built)


@pytest.mark.parametrize("version", LEAN)
def test_tensorrt_lean_takes_both(built: Path, version: str) -> None:
    """Both creators are listed with their fields, and make plugins of right ones alone."""
    if not LEAN[version].is_dir():
        pytest.skip(f"no lean runtime of TensorRT {version}: `make registries` installs it")
    said = _python(HERE / "registry.py", "tensorrt_lean_bindings", built, path=LEAN[version])
    assert f"version {version}" in said
    _both_are_made(said)


def test_tensorrt_rtx_takes_both(built: Path) -> None:
    """The same, in TensorRT for RTX."""
    pytest.importorskip("tensorrt_rtx")
    _both_are_made(_python(HERE / "registry.py", "tensorrt_rtx", built))


def test_tensorrt_rtx_builds_a_plan_with_both(built: Path) -> None:
    """fp16 features, fp32 boxes, open sizes: on a machine without a GPU, and both are in it."""
    pytest.importorskip("tensorrt_rtx")
    said = _python(HERE / "rtx_plan.py", built).split()
    assert said[-3:-2] != ["0"]
    assert said[-2:] == ["BatchedNms", "PyramidRoiAlign"]


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    """TensorRT itself raises nothing: the error names the file."""
    trt = pytest.importorskip("tensorrt_rtx")
    with pytest.raises(BackendError, match=r"nothing\.so is not there; give the file"):
        library.load(trt, tmp_path / "nothing.so")
    wrong = tmp_path / "wrong.so"
    wrong.write_bytes(b"no library")
    (tmp_path / "rtx").mkdir()
    (tmp_path / "rtx" / "libtensorrt_rtx.so").write_bytes(b"no library")
    with pytest.raises(BackendError, match=r"rtx/libtensorrt_rtx\.so to read models with plugins"):
        library.load(trt, wrong)


def test_the_variable_names_a_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It comes before what was built; a wrong path is said, not passed over."""
    file = tmp_path / "mine.so"
    monkeypatch.setenv(library.VARIABLE, str(file))
    with pytest.raises(BackendError, match=r"MASKRT_PLUGINS is .*mine\.so, where no file is"):
        library.find()
    file.touch()
    assert library.find() == file


def test_nothing_to_build_with_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message names the missing tools."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(library.VARIABLE, raising=False)
    assert library.find() is None
    with pytest.raises(BackendError, match="cmake and nvcc to build them with cannot be found"):
        library.build()
    assert not list(tmp_path.iterdir())


def test_missing_headers_are_said(
    nvcc: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message says what to set, and nothing is left behind."""
    if list(Path("/usr").glob("include/**/NvInferRuntime.h")):
        pytest.skip("TensorRT's headers are installed where CMake finds them")
    monkeypatch.delenv("TENSORRT_ROOT", raising=False)
    with pytest.raises(BackendError, match="cannot be found; set TENSORRT_ROOT"):
        library.build(tmp_path / "built")
    assert not list(tmp_path.glob("**/*"))
