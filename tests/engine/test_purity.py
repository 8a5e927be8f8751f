"""What the runtime is made of: numpy, OpenCV, one backend, and nothing else, quickly."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine import MaskRTError

FOLDER = Path(engine.__file__).parent
FORBIDDEN = ("torch", "onnx", "onnxscript", "typer", "rich", "matplotlib", "scipy", "pycocotools")


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=FOLDER.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_imports_where_nothing_else_is_installed() -> None:
    """With every other package blocked, backends included, `import engine` works."""
    blocked = (*FORBIDDEN, "onnxruntime", "supervision", "tensorrt", "pycuda")
    _python(
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name.split('.')[0] in {blocked!r}: raise ImportError('blocked: ' + name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import engine, engine.backends.ort, engine.backends.fake\n"
        "assert engine.Segmenter"
    )


def test_no_line_of_it_could_import_another_package() -> None:
    """Every import is of the standard library, numpy, cv2 or the engine's own.

    A backend's package is imported in its file alone, drawing's inside the function that needs it;
    no import is hidden in a call.
    """
    allowed = {"numpy", "cv2", *sys.stdlib_module_names}
    extra = {
        "backends/ort.py": {"onnxruntime"},
        "backends/ov.py": {"openvino", "onnx"},
        "backends/trt.py": {"tensorrt", "tensorrt_lean", "tensorrt_rtx"},
        "cuda.py": {"pycuda", "cuda"},
        "results.py": {"supervision"},
    }
    for path in FOLDER.rglob("*.py"):
        tree = ast.parse(path.read_text())
        here = allowed | extra.get(path.relative_to(FOLDER).as_posix(), set())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert {a.name.split(".")[0] for a in node.names} <= here, path
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] in here, path
            elif isinstance(node, ast.Name):
                assert node.id not in {"__import__", "importlib", "import_module"}, path
        top = {a.name for n in tree.body if isinstance(n, ast.Import) for a in n.names}
        assert not top & {"onnxruntime", "supervision"}, path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read on Linux")
def test_it_is_imported_in_a_quarter_of_a_second_and_80_mb() -> None:
    """Import time (the median of five processes) and peak memory of the whole process."""
    code = (
        "import time; start = time.perf_counter()\n"
        "import engine\n"
        "seconds = time.perf_counter() - start\n"
        "import sys\n"
        "assert not {'torch', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
        # getrusage would count what the process was forked from.
        "status = open('/proc/self/status').read()\n"
        "print(seconds, int(status.split('VmHWM:')[1].split()[0]) * 1024 / 1e6)"
    )
    runs = [tuple(map(float, _python(code).split())) for _ in range(5)]
    assert statistics.median(seconds for seconds, _ in runs) < 0.25, runs
    assert max(peak for _, peak in runs) < 80, runs


def test_the_public_names_are_a_dozen_at_most() -> None:
    """Each name in __all__ is there."""
    assert len(engine.__all__) <= 12
    assert all(hasattr(engine, name) for name in engine.__all__)


def test_one_family_of_errors() -> None:
    """Every error derives from MaskRTError and from the builtin that a stranger would catch."""
    family = [getattr(engine, name) for name in engine.__all__ if name.endswith("Error")]
    assert len(family) == 6
    for kind in family:
        assert issubclass(kind, MaskRTError)
        if kind is not MaskRTError:
            assert issubclass(kind, (ValueError, OSError, RuntimeError))
