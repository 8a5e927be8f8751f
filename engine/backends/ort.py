"""onnxruntime: implements `engine.backends.Backend` for ONNX files with a card inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..card import Card
from ..errors import BackendError, ModelError, first_line
from . import Tensors, card_of, check_interface

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
TYPES |= {"tensor(int32)": "int32", "tensor(int64)": "int64"}


class OrtBackend:
    """An ONNX model in an onnxruntime session."""

    def __init__(self, session: Any, card: Card, device: str) -> None:
        self._session = session
        self._card = card
        self._device = device
        self._outputs = [value.name for value in session.get_outputs()]

    @property
    def name(self) -> str:
        """E.g. "onnxruntime cpu"."""
        return f"onnxruntime {self._device}"

    @property
    def card(self) -> Card:
        """What the model says of itself."""
        return self._card

    def run(self, inputs: Tensors) -> Tensors:
        """Run the graph once.

        Raises:
            BackendError: onnxruntime failed, or the backend is closed.
        """
        if self._session is None:
            raise BackendError("this model is closed; open it again")
        try:
            values = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # its exceptions share no base class of their own
            shapes = ", ".join(f"{k} {v.dtype} {list(v.shape)}" for k, v in inputs.items())
            raise BackendError(
                f"{self.name} failed on {shapes} ({first_line(error)}); try a smaller picture or "
                "fewer scales"
            ) from error
        return {name: np.asarray(v) for name, v in zip(self._outputs, values, strict=True)}

    def close(self) -> None:
        """Let go of the session."""
        self._session = None


def open_model(
    path: Path, *, device: str = "cpu", ordinal: int = 0, threads: int | None = None
) -> OrtBackend:
    """Open an ONNX file; see `engine.backends.open_backend`."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise BackendError(
            "the package onnxruntime is not installed; pip install onnxruntime"
        ) from error
    provider = PROVIDERS[device]
    if provider not in ort.get_available_providers():
        raise BackendError(
            f"this onnxruntime has no {device} provider (it has "
            f"{', '.join(ort.get_available_providers())}); pip install 'maskrt[gpu]', or leave "
            "device out"
        )
    options = ort.SessionOptions()
    options.log_severity_level = 3  # warnings of its optimizer are not for users
    # Threads that spin while they wait take the core that finishing, another model or the next
    # frame's preparation needs; our layers are long enough to wake them for.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    given = {"device_id": ordinal} if device == "cuda" else {}
    try:
        session = ort.InferenceSession(str(path), options, providers=[(provider, given)])
    except Exception as error:
        raise ModelError(
            f"{path} is not an ONNX model that onnxruntime can load ({first_line(error)}); "
            "export it with python export/to_onnx.py"
        ) from error
    if session.get_providers()[0] != provider:  # it falls back to the CPU without an error
        raise BackendError(
            f"onnxruntime could not start its {device} provider; check the GPU driver and that "
            "CUDA and cuDNN fit this onnxruntime-gpu, or leave device out"
        )
    card = card_of(session.get_modelmeta().custom_metadata_map, path)
    inputs = [(v.name, TYPES.get(v.type, v.type), len(v.shape)) for v in session.get_inputs()]
    check_interface(card, inputs, [v.name for v in session.get_outputs()], path)
    return OrtBackend(session, card, device)
