"""A device and a network for `engine.backends.plan` on the CPU.

The device's memory is the process's own, its streams are queues that run when somebody waits, so
that a missing wait or a buffer used too early gives wrong numbers, and everything that is taken is
counted. The network runs an ONNX graph on onnxruntime, on those addresses.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnxruntime as ort

from engine.backends.device import CaptureError, HostBlock, Slot
from engine.errors import BackendError

TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int64)": "int64"}
TYPES |= {"tensor(int32)": "int32"}


def memory(address: int, size: int) -> np.ndarray:
    """The bytes at an address."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


class HostDevice:
    """See `engine.backends.device.Device`.

    Args:
        zero_copy: as on a Jetson.
        capturable: whether graphs can be captured.
        room: bytes of device memory that there are.
    """

    name, capability = "CPU", "0.0"

    def __init__(
        self, *, zero_copy: bool = False, capturable: bool = True, room: int = 1 << 40
    ) -> None:
        self.zero_copy = zero_copy
        self.capturable = capturable
        self.room = room
        self.blocks: dict[int, np.ndarray] = {}
        self.host: dict[int, np.ndarray] = {}
        self.queues: dict[int, list[Callable[[], None]]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.recording: dict[int, list[Callable[[], None]]] = {}
        self.depth = threading.local()
        self.log: list[str] = []
        self._count = 0
        self._lock = threading.Lock()

    def _next(self) -> int:
        with self._lock:
            self._count += 1
            return self._count

    def _is_current(self) -> None:
        assert getattr(self.depth, "value", 0) > 0, "CUDA was called without a context"

    @contextmanager
    def current(self) -> Iterator[None]:
        self.depth.value = getattr(self.depth, "value", 0) + 1
        try:
            yield
        finally:
            self.depth.value -= 1

    def allocate(self, size: int) -> int:
        self._is_current()
        if size + sum(len(block) for block in self.blocks.values()) > self.room:
            raise BackendError("no memory")
        block = np.full(size + 256, 0xA5, np.uint8)
        address = -(-block.ctypes.data // 256) * 256
        self.blocks[address] = block
        self.log.append("allocate")
        return address

    def release(self, address: int) -> None:
        self._is_current()
        del self.blocks[address]
        self.log.append("release")

    def allocate_host(self, size: int) -> HostBlock:
        self._is_current()
        block = np.full(size, 0x5A, np.uint8)
        self.host[block.ctypes.data] = block
        return HostBlock(block, block.ctypes.data if self.zero_copy else 0)

    def release_host(self, block: HostBlock) -> None:
        del self.host[block.bytes.ctypes.data]

    def make_stream(self) -> int:
        self._is_current()
        stream = self._next()
        self.queues[stream] = []
        return stream

    def release_stream(self, stream: int) -> None:
        assert not self.queues.pop(stream), "a stream is released before its work is done"

    def put(self, stream: int, work: Callable[[], None]) -> None:
        """Into a stream, or into what is being captured of it."""
        self.recording.get(stream, self.queues[stream]).append(work)

    def upload(self, address: int, data: np.ndarray, stream: int) -> None:
        self.put(stream, lambda: ctypes.memmove(address, data.ctypes.data, data.nbytes) and None)

    def download(self, data: np.ndarray, address: int, stream: int) -> None:
        self.put(stream, lambda: ctypes.memmove(data.ctypes.data, address, data.nbytes) and None)

    def wait(self, stream: int) -> None:
        self._is_current()
        queue = self.queues[stream]
        while queue:
            queue.pop(0)()

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        if not self.capturable:
            raise CaptureError("this device captures nothing")
        self.recording[stream] = []
        try:
            work()
        finally:
            recorded = self.recording.pop(stream)
        graph = self._next()
        self.graphs[graph] = recorded
        self.log.append("capture")
        return graph

    def launch(self, graph: int, stream: int) -> None:
        self.queues[stream].extend(self.graphs[graph])
        self.log.append("launch")

    def release_graph(self, graph: int) -> None:
        del self.graphs[graph]

    @property
    def held(self) -> int:
        """Everything that was taken and not given back."""
        return len(self.blocks) + len(self.host) + len(self.queues) + len(self.graphs)


class OrtNetwork:
    """See `engine.backends.device.Network`.

    Args:
        device: whose streams it runs in.
        model: an ONNX file.
        largest: of each input: its smallest and largest shape.
        outputs: of each output: its shape.
        on_host: inputs that are read on the CPU.
        memory: bytes that each context wants between its layers.
    """

    def __init__(
        self,
        device: HostDevice,
        model: str,
        largest: dict[str, tuple[tuple[int, ...], tuple[int, ...]]],
        outputs: dict[str, tuple[int, ...]],
        *,
        on_host: Sequence[str] = (),
        memory: int = 4096,
    ) -> None:
        self.device = device
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self.session = ort.InferenceSession(model, options)
        self.memory = memory
        self.contexts = 0
        self.fail = False
        self.slots = [
            Slot(v.name, np.dtype(TYPES[v.type]), True, v.name in on_host, *largest[v.name])
            for v in self.session.get_inputs()
        ]
        self.slots += [
            Slot(v.name, np.dtype(TYPES[v.type]), False, False, outputs[v.name], outputs[v.name])
            for v in self.session.get_outputs()
        ]

    def make_context(self) -> OrtContext:
        self.contexts += 1
        return OrtContext(self)

    def close(self) -> None:
        assert self.contexts == 0, "a plan is closed before its contexts"
        self.device.log.append("close network")


class OrtContext:
    """See `engine.backends.device.Context`."""

    def __init__(self, network: OrtNetwork) -> None:
        self.network = network
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.scratch = (0, 0)

    def __del__(self) -> None:
        self.network.contexts -= 1

    def set_shape(self, name: str, shape: Sequence[int]) -> None:
        self.shapes[name] = tuple(shape)

    def bind(self, name: str, address: int) -> None:
        assert address
        self.addresses[name] = address

    def set_memory(self, address: int, size: int) -> None:
        assert size >= self.network.memory
        self.scratch = (address, size)

    def enqueue(self, stream: int) -> None:
        if self.network.fail:
            raise BackendError("the network fails")
        device = self.network.device
        scratch, shapes, addresses = self.scratch, dict(self.shapes), dict(self.addresses)
        slots, session, size = self.network.slots, self.network.session, self.network.memory

        def tensor(slot: Slot, shape: tuple[int, ...]) -> np.ndarray:
            length = int(np.prod(shape)) * slot.dtype.itemsize
            return memory(addresses[slot.name], length).view(slot.dtype).reshape(shape)

        def work() -> None:
            # Whoever shares this memory at the same time is found out by it.
            mark = np.random.default_rng().integers(0, 255, dtype=np.uint8)
            memory(scratch[0], size)[:] = mark
            feeds = {s.name: tensor(s, shapes[s.name]) for s in slots if s.is_input}
            found = session.run(None, feeds)
            assert (memory(scratch[0], size) == mark).all(), "shared memory"
            for slot, value in zip([s for s in slots if not s.is_input], found, strict=True):
                tensor(slot, slot.largest)[...] = value

        device.put(stream, work)
