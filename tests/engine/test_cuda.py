"""CUDA by both bindings, on a driver that needs no GPU (driver/cuda.c), or on a GPU."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import engine.cuda
from engine import BackendError
from engine.cuda import CudaPythonDevice, PyCudaDevice, open_device
from engine.machine import this_machine

DRIVER = Path(__file__).parent / "driver"
NOTHING_KEPT = "contexts 0 blocks 0 host 0 streams 0 graphs 0\n"
BINDINGS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(package) is None, reason=f"{name} is not installed"
        ),
    )
    for name, package in (("pycuda", "pycuda"), ("cuda-python", "cuda"))
]
SOURCE = ast.parse(Path(engine.cuda.__file__).read_text())
without_gpu = pytest.mark.skipif(bool(this_machine().gpu), reason="there is a GPU")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The emulated driver, compiled."""
    if sys.platform != "linux" or shutil.which("gcc") is None:
        pytest.skip("the emulated driver is compiled with gcc, for Linux")
    library = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    command += ["-Wl,-soname,libcuda.so.1", "-o", str(library), str(DRIVER / "cuda.c"), "-ldl"]
    subprocess.run(command, check=True)
    return library


def on_driver(
    driver: Path, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """run.py with the emulated driver in the place of NVIDIA's."""
    return subprocess.run(
        [sys.executable, str(DRIVER / "run.py"), *map(str, arguments)],
        capture_output=True, text=True, check=False,
        env=os.environ | environment
        | {"LD_LIBRARY_PATH": str(driver.parent), "LD_PRELOAD": str(driver),
           "MASKRT_DRIVER_LEAKS": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("integrated", [False, True])
@pytest.mark.parametrize("binding", BINDINGS)
def test_memory_streams_and_graphs(driver: Path, binding: str, integrated: bool) -> None:
    """Each binding does with the driver what the protocol says, and gives everything back."""
    environment = {"MASKRT_DRIVER_INTEGRATED": "1"} if integrated else {}
    done = on_driver(driver, binding, **environment)
    assert done.returncode == 0, done.stderr
    copies = "zero copy" if integrated else "copies"
    assert done.stdout == f"Emulated GPU 8.7 {copies}\n{NOTHING_KEPT}"


@pytest.mark.parametrize("environment", [{}, {"MASKRT_DRIVER_INTEGRATED": "1"}])
@pytest.mark.parametrize("binding", BINDINGS)
def test_a_plan_on_the_driver(
    driver: Path, exported: Path, binding: str, environment: dict[str, str]
) -> None:
    """From Python's arrays through the binding's streams and graphs, by several threads."""
    done = on_driver(driver, binding, exported, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(NOTHING_KEPT)
    assert done.stderr == ""


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_driver_that_captures_nothing(driver: Path, exported: Path, binding: str) -> None:
    """Plans run all the same, and each logs it once."""
    done = on_driver(driver, binding, exported, MASKRT_DRIVER_NO_GRAPHS="1")
    assert done.returncode == 0, done.stderr
    first, second = done.stderr.splitlines()  # one for each plan
    assert first == second
    assert "runs without CUDA graphs: cuStreamBeginCapture says 900" in first


@pytest.mark.parametrize("binding", BINDINGS)
def test_too_little_memory_on_the_driver(driver: Path, exported: Path, binding: str) -> None:
    """One sentence of our own family, with how much was asked for."""
    done = on_driver(driver, binding, exported, MASKRT_DRIVER_ROOM="2000000")
    assert done.returncode != 0
    assert "BackendError: Emulated GPU has no" in done.stderr.splitlines()[-1]


@without_gpu
def test_without_a_gpu_it_is_one_sentence() -> None:
    """Whichever bindings are installed."""
    with pytest.raises(BackendError) as error:
        open_device()
    assert "\n" not in str(error.value)
    assert "pip install pycuda" in str(error.value) or "nvidia-smi" in str(error.value)


def test_without_any_binding_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    for name in ("pycuda", "pycuda.driver", "cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendError, match="pip install pycuda, or, where it cannot be compiled, "):
        open_device()


def test_nobody_makes_a_context_of_ones_own() -> None:
    """The primary context is retained; neither autoinit nor make_context is in the source."""
    text = ast.unparse(SOURCE)
    assert "import pycuda.autoinit" not in text
    assert "make_context" not in text
    assert "cuCtxCreate" not in text
    assert "retain_primary_context" in text


def test_both_do_the_same() -> None:
    """The two classes have the protocol's methods, and no others."""
    from engine.backends.device import Device

    wanted = {name for name in vars(Device) if not name.startswith("_")} - {
        "name", "capability", "zero_copy",
    }  # fmt: skip
    for kind in (PyCudaDevice, CudaPythonDevice):
        assert {name for name in dir(kind) if not name.startswith("_")} == wanted


@pytest.mark.gpu
@pytest.mark.skipif(not this_machine().gpu, reason="no NVIDIA GPU")
@pytest.mark.parametrize("kind", [PyCudaDevice, CudaPythonDevice])
def test_memory_streams_and_graphs_on_a_gpu(kind: type) -> None:
    """Bytes go there and back, in a stream and in a graph that is replayed."""
    try:
        device = kind(0)
    except ImportError as error:
        pytest.skip(str(error))
    with device.current():
        stream, there = device.make_stream(), device.allocate(1024)
        first, second = device.allocate_host(1024), device.allocate_host(1024)

        def work() -> None:
            device.upload(there, first.bytes, stream)
            device.download(second.bytes, there, stream)

        graph = device.capture(stream, work)
        for value in (3, 7):
            first.bytes[:] = value
            device.launch(graph, stream)
            device.wait(stream)
            assert (second.bytes == value).all()
        assert there % 256 == 0
        device.release_graph(graph)
        device.release(there)
        for block in (first, second):
            device.release_host(block)
        device.release_stream(stream)
