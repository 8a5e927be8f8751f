"""Runs a compiled plugin through IPluginV3 without TensorRT: for tests and benchmarks.

The host library is built beside the plugins' (`plugins.library.build`). Pointers are the caller's:
of a CUDA device, or of the CPU where the library was compiled for that (tests/plugins/emulation).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import OptionError

# TensorRT's numbers for the few types and formats that our operators know; they are the same in
# every version from 10.0 to 11.x.
FLOAT, HALF, INT32 = 0, 1, 3
LINEAR, HWC8 = 0, 2


@dataclass(frozen=True)
class Tensor:
    """What a plugin is told of a tensor, and where it is.

    Attributes:
        shape: in NCHW order, whatever the format.
        type: FLOAT, HALF or INT32.
        format: LINEAR, or HWC8 for [N, H, W, C] with C filled up to a multiple of 8.
        address: of its first element.
    """

    shape: tuple[int, ...]
    type: int
    format: int
    address: int


class _Described(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int32), ("format", ctypes.c_int32), ("rank", ctypes.c_int32),
        ("unused", ctypes.c_int32), ("d", ctypes.c_int64 * 8),
    )  # fmt: skip


class HostedPlugin:
    """One plugin of a library, made from a node's attributes.

    Args:
        host: the host library, libmaskrt_host.so.
        library: the plugins' library.
        op: name of the operator.
        attributes: as its ONNX node has them; floats are given as fp32, the rest as int32.

    Raises:
        OptionError: the plugin refuses an attribute (it writes which to standard error) or the
            library does not have it.
    """

    def __init__(
        self,
        host: Path,
        library: Path,
        op: str,
        attributes: Mapping[str, float | int | Sequence[int]],
    ) -> None:
        self._host = ctypes.CDLL(str(host))
        self._host.hostMake.restype = ctypes.c_void_p
        self._host.hostPrepare.restype = ctypes.c_int64
        values = [np.atleast_1d(np.asarray(value)) for value in attributes.values()]
        floats = [value.dtype.kind == "f" for value in values]
        values = [
            v.astype(np.float32 if f else np.int32) for v, f in zip(values, floats, strict=True)
        ]
        count = len(values)
        self._self = self._host.hostMake(
            str(library).encode(), op.encode(), count,
            (ctypes.c_char_p * count)(*[name.encode() for name in attributes]),
            (ctypes.c_void_p * count)(*[value.ctypes.data for value in values]),
            (ctypes.c_int32 * count)(*floats),
            (ctypes.c_int32 * count)(*[len(value) for value in values]),
        )  # fmt: skip
        if not self._self:
            raise OptionError(
                f"{library} does not make a {op} of {dict(attributes)}; see standard error"
            )

    def prepare(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Tell the plugin its shapes; returns the bytes of workspace that it needs.

        Raises:
            OptionError: it refuses a type, a format or a shape.
        """
        tensors = [
            _Described(t.type, t.format, len(t.shape), 0, (ctypes.c_int64 * 8)(*t.shape))
            for t in (*inputs, *outputs)
        ]
        needed = self._host.hostPrepare(
            ctypes.c_void_p(self._self), len(inputs), len(outputs),
            (_Described * len(tensors))(*tensors),
        )  # fmt: skip
        if needed < 0:
            shapes = [t.shape for t in inputs]
            raise OptionError(f"the plugin refuses inputs {shapes}; see standard error")
        self._inputs = (ctypes.c_void_p * len(inputs))(*[t.address for t in inputs])
        self._outputs = (ctypes.c_void_p * len(outputs))(*[t.address for t in outputs])
        return int(needed)

    def enqueue(self, workspace: int = 0, stream: int = 0) -> None:
        """Run on the tensors that were prepared.

        Args:
            workspace: address of as many bytes as `prepare` said, 256-byte aligned.
            stream: a CUDA stream's handle.

        Raises:
            RuntimeError: the plugin's return code is not 0.
        """
        code = self._host.hostEnqueue(
            ctypes.c_void_p(self._self), self._inputs, self._outputs,
            ctypes.c_void_p(workspace), ctypes.c_void_p(stream),
        )  # fmt: skip
        if code != 0:
            raise RuntimeError(f"enqueue returned {code}")

    def close(self) -> None:
        """Destroy the plugin."""
        self._host.hostFree(ctypes.c_void_p(self._self))
        self._self = None
