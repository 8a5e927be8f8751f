"""What runs a model: one small protocol, and the file types that each backend opens.

A backend's library is imported when a model is opened with it, and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from ..card import KEY, Card
from ..errors import ModelError, OptionError

Tensors: TypeAlias = Mapping[str, NDArray[Any]]

BACKENDS = ("onnxruntime", "openvino")
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
    precision: str | None = None,
) -> Backend:
    """Open a model file with the backend that its suffix asks for, or with the one named.

    Args:
        model: the file.
        backend: one of BACKENDS.
        device: "cpu" or "cuda".
        threads: for the network's layers; None for all cores.
        precision: for backends that can compute in another one than the file has: openvino's
            "bf16", in which boxes, scores and their ranking stay in fp32.

    Raises:
        OptionError: an unknown backend, or an option out of its range.
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
    if threads is not None and threads < 1:
        raise OptionError(f"threads is {threads}; give 1 or more, or leave it out for all cores")
    if backend == "openvino":
        from . import ov

        return ov.open_model(path, device=device, threads=threads, precision=precision)
    if precision is not None:
        raise OptionError(
            f"precision is {precision!r}, and onnxruntime computes in the file's own; leave it out"
        )
    from . import ort

    return ort.open_model(path, device=device, threads=threads)


def card_of(metadata: Mapping[str, str], path: Path) -> Card:
    """The card in an ONNX file's metadata.

    Raises:
        ModelError: it has none, or a damaged one.
    """
    if KEY not in metadata:
        raise ModelError(
            f"{path} has no MaskRT card, so it does not say how to use it; export the model "
            "with python export/to_onnx.py"
        )
    return Card.from_json(metadata[KEY], path)


def check_interface(
    card: Card, inputs: Iterable[tuple[str, str, int]], outputs: Iterable[str], path: Path
) -> None:
    """Refuse a graph whose inputs are not those that the runtime gives.

    Args:
        card: what the graph should be.
        inputs: name, numpy dtype and rank of each that it has.
        outputs: the names that it has.
        path: the file, for the message.

    Raises:
        ModelError: they are not a MaskRT graph's.
    """
    have = set(inputs)
    missing = card.OUTPUTS - set(outputs)
    if have != set(card.INPUTS) or missing:
        listed = ", ".join(f"{name} {dtype}" for name, dtype, _ in sorted(have))
        raise ModelError(
            f"{path} has a card, but its graph is not a MaskRT one (inputs: {listed}; missing "
            f"outputs: {', '.join(sorted(missing)) or 'none'}); export it again"
        )
