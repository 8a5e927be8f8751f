"""What the plugins are compiled with, and their library."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from plugins import library


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
