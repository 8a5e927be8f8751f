"""The compiled plugins: found or built, and registered with a TensorRT.

One library serves TensorRT 10.3 to 11.x and TensorRT-RTX 1.7: see CMakeLists.txt.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import ModuleType

from engine.errors import BackendError
from engine.machine import PLUGINS as NAME
from engine.machine import VARIABLE
from plugins import DOMAIN

HOST = "libmaskrt_host.so"
OPERATORS = ("BatchedNms", "PyramidRoiAlign")
VERSION = "1"
SOURCES = Path(__file__).parent


def load(trt: ModuleType | None = None, library: str | Path | None = None) -> None:
    """Register both operators with a TensorRT; calling it again is harmless.

    Args:
        trt: the module whose registry is meant; `tensorrt` if none is given. `tensorrt_rtx` and
            the lean and dispatch runtimes are right too.
        library: the compiled library; `find()`'s by default, or else `build()`'s.

    Raises:
        BackendError: there is no TensorRT, no library and none can be built, or TensorRT does not
            take it.
    """
    trt = trt or _tensorrt()
    registry = trt.get_plugin_registry()
    if _registered(registry):
        return
    path = Path(library) if library else find() or build()
    if not path.is_file():
        raise BackendError(f"{path} is not there; give the file {NAME}, or let it be built")
    if trt.__name__.startswith("tensorrt_rtx"):
        _complete_rtx(path)
    registry.load_library(str(path))  # tells a failure to the logger alone
    if not _registered(registry):
        raise BackendError(
            f"TensorRT {trt.__version__} refuses the plugins in {path} (its logger says why); "
            f"delete the file, so that it is built again, or set {VARIABLE} to another one"
        )


def find() -> Path | None:
    """The library that MASKRT_PLUGINS names, or the one built before from these sources.

    Raises:
        BackendError: MASKRT_PLUGINS names no file.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise BackendError(f"{VARIABLE} is {named}, where no file is; give the path of {NAME}")
        return Path(named)
    cached = _cache() / NAME
    return cached if cached.is_file() else None


def build(
    folder: str | Path | None = None,
    *,
    tensorrt_root: str | Path | None = None,
    architectures: str | None = None,
) -> Path:
    """Compile the library with CMake; takes a minute or two.

    Args:
        folder: where the library and its companions go; a cache in the user's home by default,
            where `find` looks.
        tensorrt_root: a folder with TensorRT's headers, or with `include/` that has them;
            TENSORRT_ROOT or the system's by default.
        architectures: of GPUs, as CMake takes them ("87" for Orin, "native"); every one from
            Turing on that the CUDA toolkit knows by default.

    Returns:
        The library's path.

    Raises:
        BackendError: a tool or the headers are missing, or the compiler refuses.
    """
    target = Path(folder) if folder else _cache()
    missing = [tool for tool in ("cmake", "nvcc") if shutil.which(tool) is None]
    if missing:
        raise BackendError(
            f"the plugins are not built yet, and {' and '.join(missing)} to build them with cannot "
            f"be found; install CMake and the CUDA toolkit, or set {VARIABLE} to a built {NAME}"
        )
    options = [f"-DTENSORRT_ROOT={tensorrt_root}"] if tensorrt_root else []
    options += [f"-DCMAKE_CUDA_ARCHITECTURES={architectures}"] if architectures else []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as beside:
            _run("cmake", "-S", str(SOURCES), "-B", beside, *options)
            _run("cmake", "--build", beside, "--parallel", str(os.cpu_count() or 1))
            # Each file is whole when its name appears, the library's last: `find` looks for it.
            for name in (HOST, "rtx/libtensorrt_rtx.so", NAME):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(beside) / name, target / name)
    except OSError as error:
        raise BackendError(f"the plugins cannot be written to {target} ({error})") from error
    return target / NAME


def _cache() -> Path:
    """A folder of its own for each state of the sources."""
    digest = hashlib.sha256()
    for pattern in ("CMakeLists.txt", "*/*.cu", "*/*.cpp", "*/*.c", "*/*.h", "*/*.map"):
        for path in sorted(SOURCES.glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "maskrt" / f"plugins-{digest.hexdigest()[:16]}"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        if any("NvInferRuntime.h" in line for line in said):
            raise BackendError(
                "TensorRT's headers (NvInferRuntime.h) cannot be found; set TENSORRT_ROOT to the "
                "folder of a TensorRT, or of a clone of github.com/NVIDIA/TensorRT"
            )
        raise BackendError(f"{' '.join(command[:2])} failed:\n" + "\n".join(said[-20:]))


def _registered(registry: object) -> bool:
    return all(registry.get_creator(op, VERSION, DOMAIN) is not None for op in OPERATORS)  # type: ignore[attr-defined]


def _complete_rtx(library: Path) -> None:
    """Let TensorRT-RTX's parser find the name that its wheel lacks: without it, it aborts."""
    try:
        ctypes.CDLL("libtensorrt_rtx.so")
    except OSError:
        name = library.parent / "rtx" / "libtensorrt_rtx.so"
        try:
            ctypes.CDLL(str(name))
        except OSError as error:
            raise BackendError(
                f"TensorRT-RTX needs {name} to read models with plugins, and it cannot be loaded "
                f"({error}); keep the folder that the plugins were built in together"
            ) from error


def _tensorrt() -> ModuleType:
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        raise BackendError(
            f"TensorRT cannot be used here ({error}); pip install 'maskrt[tensorrt]'"
        ) from error
    return tensorrt  # type: ignore[no-any-return]
