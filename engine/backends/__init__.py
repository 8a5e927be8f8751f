"""What runs a model: one small protocol, and the file types that each backend opens.

A backend's library is imported when a model is opened with it, and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from ..card import Card
from ..errors import ModelError, OptionError

Tensors: TypeAlias = Mapping[str, NDArray[Any]]

BACKENDS = ("onnxruntime",)
PLAN_SUFFIXES = (".engine", ".plan", ".trt")


class Backend(Protocol):
    """A model that is open and can be run, from several threads at once."""

    @property
    def name(self) -> str:
        """What runs it, e.g. "onnxruntime cpu"."""
        ...

    @property
    def card(self) -> Card:
        """What the model says of itself."""
        ...

    def run(self, inputs: Tensors) -> Tensors:
        """Run the graph once; the arrays that come back are the caller's own."""
        ...

    def close(self) -> None:
        """Give everything back; the backend cannot run afterwards."""
        ...


def open_backend(
    model: str | os.PathLike[str],
    backend: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> Backend:
    """Open a model file with the backend that its suffix asks for, or with the one named.

    Raises:
        OptionError: an unknown backend.
        ModelError: no such file, or one that no backend here opens.
        BackendError: the backend is not installed or lacks the device.
    """
    if backend is not None and backend not in BACKENDS:
        raise OptionError(f"there is no backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    path = Path(model)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError(f"the model {path} {problem}; give the path of an .onnx file")
    if path.suffix in PLAN_SUFFIXES:
        raise ModelError(
            f"{path} is a TensorRT plan, and this version runs ONNX files; give the .onnx file "
            "that the plan was built from"
        )
    from .ort import open_model

    return open_model(path, device=device, threads=threads)
