"""The plugins' own sources compiled for the CPU, and tensors as they want them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from plugins.library import SOURCES

EMULATION = Path(__file__).parent / "emulation"
EXPORTED = SOURCES / "paste" / "exported.cpp"


def compile_for_cpu(nvcc: str, output: Path, sources: list[Path], *options: str) -> Path:
    """The kernels' own sources compiled for the CPU (emulation/emulate.h)."""
    # nvcc hands .cpp files to the host's compiler, and knows where its headers are.
    command = [nvcc, "-std=c++20", "-O1", "-shared", "-Xcompiler"]
    command += ["-fPIC,-ffp-contract=off,-Wno-attributes,-pthread", *options]
    done = subprocess.run(
        [*command, *map(str, sources), "-o", str(output)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return output


def compile_plugins_for_cpu(nvcc: str, headers: Path, folder: Path) -> tuple[Path, Path]:
    """The host, and the plugins' library with kernels for the CPU."""
    include = f"-isystem={headers}"
    sources = [*SOURCES.glob("common/*.cpp"), *SOURCES.glob("*/plugin.cpp"), EXPORTED]
    sources += EMULATION.glob("*.cpp")
    host = compile_for_cpu(nvcc, folder / "host.so", [SOURCES / "host" / "host.cpp"], include)
    return host, compile_for_cpu(nvcc, folder / "plugins.so", sources, include)


def channels_last(features: np.ndarray) -> np.ndarray:
    """[B, H, W, C] with C filled up to a multiple of 8."""
    channels = features.shape[1]
    moved = features.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(np.pad(moved, ((0, 0),) * 3 + ((0, -channels % 8),)))
