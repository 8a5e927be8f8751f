"""What the plan backend asks of a GPU and of TensorRT: two small protocols.

`engine.cuda` and `engine.backends.trt` implement them. The tests' own implementations run a typed
ONNX graph on a CPU, so that everything in `engine.backends.plan` is tested without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError


class CaptureError(BackendError):
    """The work of a stream cannot be captured into a graph."""


@dataclass(frozen=True)
class HostBlock:
    """Page-locked memory.

    Attributes:
        bytes: uint8 [size].
        address: as the device sees it, where it does; 0 otherwise.
    """

    bytes: NDArray[np.uint8]
    address: int


@dataclass(frozen=True)
class Slot:
    """An input or output of a network.

    Attributes:
        name: of the tensor.
        dtype: numpy's.
        is_input: or else it is an output.
        on_host: TensorRT reads it on the CPU: what shapes are computed from.
        smallest, largest: shapes of an input that the plan was built for; of an output its shape.
    """

    name: str
    dtype: np.dtype[Any]
    is_input: bool
    on_host: bool
    smallest: tuple[int, ...]
    largest: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the largest shape."""
        return int(np.prod(self.largest, dtype=np.int64)) * self.dtype.itemsize


class Device(Protocol):
    """A GPU. Addresses and handles are plain integers; all memory is 256-byte aligned."""

    @property
    def name(self) -> str:
        """E.g. "NVIDIA A10"."""
        ...

    @property
    def capability(self) -> str:
        """Compute capability, e.g. "8.6"."""
        ...

    @property
    def zero_copy(self) -> bool:
        """The GPU shares its memory with the CPU (Jetson): copies would be wasted."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """Make the device the calling thread's for a while; everything below needs it."""
        ...

    def allocate(self, size: int) -> int:
        """The address of new device memory.

        Raises:
            BackendError: there is not enough.
        """
        ...

    def release(self, address: int) -> None:
        """Give memory back."""
        ...

    def allocate_host(self, size: int) -> HostBlock:
        """Page-locked memory, mapped into the device's address space where `zero_copy` is true."""
        ...

    def release_host(self, block: HostBlock) -> None:
        """Give it back."""
        ...

    def make_stream(self) -> int:
        """The handle of a new stream; never the default one."""
        ...

    def release_stream(self, stream: int) -> None:
        """Give it back."""
        ...

    def upload(self, address: int, data: NDArray[np.uint8], stream: int) -> None:
        """Copy page-locked memory to the device when the stream comes to it."""
        ...

    def download(self, data: NDArray[np.uint8], address: int, stream: int) -> None:
        """Copy device memory to page-locked memory when the stream comes to it."""
        ...

    def wait(self, stream: int) -> None:
        """Return when the stream has done everything.

        Raises:
            BackendError: something of it failed.
        """
        ...

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """The handle of a graph of what `work` puts into the stream, which is not executed.

        Raises:
            CaptureError: it does something that cannot be captured.
        """
        ...

    def launch(self, graph: int, stream: int) -> None:
        """Put a graph into the stream."""
        ...

    def release_graph(self, graph: int) -> None:
        """Give it back."""
        ...


class Context(Protocol):
    """One run of a network at a time, for one set of input shapes."""

    def set_shape(self, name: str, shape: Sequence[int]) -> None:
        """Of an input.

        Raises:
            BackendError: the network does not take it.
        """
        ...

    def bind(self, name: str, address: int) -> None:
        """Where a tensor lies; of one that is `on_host`, on the CPU."""
        ...

    def set_memory(self, address: int, size: int) -> None:
        """Device memory for what lies between the layers."""
        ...

    def enqueue(self, stream: int) -> None:
        """Put the network into a stream.

        Raises:
            BackendError: it fails.
        """
        ...


class Network(Protocol):
    """A deserialized plan."""

    @property
    def slots(self) -> Sequence[Slot]:
        """Inputs and outputs."""
        ...

    @property
    def memory(self) -> int:
        """Bytes that a context needs between the layers, at the largest shapes."""
        ...

    def make_context(self) -> Context:
        """A context without memory of its own."""
        ...

    def close(self) -> None:
        """Let go of the plan; its contexts are gone already."""
        ...
