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

BACKENDS = ("onnxruntime", "openvino", "tensorrt")
DEVICES = ("cpu", "cuda")
PLAN_SUFFIXES = (".engine", ".plan", ".trt")
MOST_THREADS = 1024
"""More than machines have; far more, and onnxruntime ends with an error of its own."""


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
    device: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
) -> Backend:
    """Open a model file with the backend that its suffix asks for, or with the one named.

    Args:
        model: an ONNX file, a TensorRT plan with its card beside it, or a folder with several
            plans and the ONNX file of one model: the one that fits this machine best.
        backend: one of BACKENDS.
        device: "cpu", "cuda" or "cuda:1"; None for the one that the file is for.
        threads: for the network's layers; None for all cores.
        precision: for backends that can compute in another one than the file has: openvino's
            "bf16", in which boxes, scores and their ranking stay in fp32.

    Raises:
        OptionError: an unknown backend or device, or an option out of its range.
        ModelError: no such file, or one that no backend here opens.
        BackendError: the backend is not installed or lacks the device.
    """
    if backend is not None and backend not in BACKENDS:
        raise OptionError(f"there is no backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    kind, ordinal = _device(device)
    path = Path(model)
    if path.is_dir():
        from ..machine import this_machine
        from .bundle import choose

        for_onnx = kind == "cpu" or threads is not None or backend not in (None, "tensorrt")
        path = choose(path, this_machine(ordinal), plans_too=not for_onnx)
    if not path.is_file():
        raise ModelError(f"the model {path} does not exist; give the path of an .onnx file")
    is_plan = path.suffix in PLAN_SUFFIXES
    wanted = backend or ("tensorrt" if is_plan else "onnxruntime")
    if is_plan != (wanted == "tensorrt"):
        right = "tensorrt" if is_plan else "onnxruntime or openvino"
        raise OptionError(f"backend is {wanted!r}, and {path} is for {right}; leave it out")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise OptionError(
            f"threads is {threads}; give 1 to {MOST_THREADS}, or leave it out for all cores"
        )
    if precision is not None and wanted != "openvino":
        raise OptionError(
            f"precision is {precision!r}, and {wanted} computes in the file's own; leave it out"
        )
    if is_plan:
        if kind == "cpu" or threads is not None:
            raise OptionError(f"{path} is a plan and runs on a GPU; leave device and threads out")
        from .trt import open_plan

        return open_plan(path, ordinal=ordinal)
    if wanted == "openvino":
        from . import ov

        return ov.open_model(path, device=kind or "cpu", threads=threads, precision=precision)
    from . import ort

    return ort.open_model(path, device=kind or "cpu", ordinal=ordinal, threads=threads)


def _device(device: str | None) -> tuple[str | None, int]:
    """A device's kind and its number."""
    if device is None:
        return None, 0
    kind, _, ordinal = device.partition(":")
    if kind not in DEVICES or (ordinal and (kind == "cpu" or not ordinal.isdecimal())):
        raise OptionError(
            f"there is no device {device!r}; choose cpu, cuda, or one of several GPUs like cuda:1"
        )
    return kind, int(ordinal or 0)


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
    if have != set(card.inputs) or missing:
        listed = ", ".join(f"{name} {dtype}" for name, dtype, _ in sorted(have))
        raise ModelError(
            f"{path} has a card, but its graph is not a MaskRT one (inputs: {listed}; missing "
            f"outputs: {', '.join(sorted(missing)) or 'none'}); export it again"
        )
