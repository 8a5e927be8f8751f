"""Running a plan: lanes of buffers and a stream, a context and a CUDA graph for each shape.

Nothing here knows CUDA or TensorRT: see `engine.backends.device`.

- A call takes a free lane, or makes one: as many as there have ever been calls at the same time.
- A lane's buffers are allocated once, for the largest shapes; their addresses never change.
- For each set of input shapes a lane has a context. NVIDIA's guide wants one a captured graph; all
  contexts of a lane share its memory, for only one runs at a time.
- The first call with a shape runs as it is, the second is captured, later ones replay the graph,
  copies included.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..card import Card
from ..errors import BackendError, OptionError
from ..stages import stage
from . import Tensors
from .device import CaptureError, Context, Device, HostBlock, Network, Slot

log = logging.getLogger(__name__)

MOST_SHAPES = 16
"""Contexts that a lane keeps, those used last: a pyramid of DeepMask has eight levels."""


class Arena:
    """Device memory between the layers that several plans take turns with.

    On a device with little memory, give one arena to several `open_plan` calls: it grows to the
    largest need of any, and only one of them runs at a time. It lives as long as the process.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.address = 0
        self.size = 0

    def reserve(self, device: Device, size: int) -> None:
        """Grow to at least `size` bytes; the address may change. Call it with the lock held."""
        if size > self.size:
            if self.address:
                device.release(self.address)
                self.address = self.size = 0
            self.address = device.allocate(size)
            self.size = size


@dataclass
class _Prepared:
    """A context whose shapes are set.

    Attributes:
        context: bound to the lane's buffers.
        memory: address that it was given.
        runs: calls so far.
        graph: what was captured of it; 0 if nothing.
    """

    context: Context
    memory: int = 0
    runs: int = 0
    graph: int = 0


class _Lane:
    """What one call needs: a stream, a buffer for each tensor, contexts."""

    def __init__(self, device: Device, network: Network, arena: Arena | None) -> None:
        self.device, self.network = device, network
        self.host: dict[str, HostBlock] = {}
        self.on_device: dict[str, int] = {}
        self.prepared: OrderedDict[tuple[object, ...], _Prepared] = OrderedDict()
        self.arena = arena or Arena()
        self.shared = arena is not None
        self.stream = 0
        try:
            self.stream = device.make_stream()
            for slot in network.slots:
                self.host[slot.name] = device.allocate_host(max(slot.size, 1))
                if not slot.on_host and not device.zero_copy:
                    self.on_device[slot.name] = device.allocate(max(slot.size, 1))
        except BaseException:
            self.close()
            raise

    def run(self, inputs: Tensors, *, graphs: bool) -> dict[str, NDArray[np.generic]]:
        """The outputs, as arrays of their own. Call it with the arena's lock held."""
        key: list[object] = []
        with stage("upload"):
            for slot in self.network.slots:
                if slot.is_input:
                    value = np.asarray(inputs[slot.name], slot.dtype)
                    _view(self.host[slot.name], slot, value.shape)[...] = value
                    key.append(value.shape)
                    if slot.on_host:  # a context's shapes follow from its value
                        key.append(value.tobytes())
        self.arena.reserve(self.device, max(self.network.memory, 1))
        prepared = self._prepare(tuple(key), inputs)
        prepared.runs += 1

        def work() -> None:
            for slot in self.network.slots:
                if slot.is_input and slot.name in self.on_device:
                    data = _bytes(self.host[slot.name], slot, np.shape(inputs[slot.name]))
                    self.device.upload(self.on_device[slot.name], data, self.stream)
            prepared.context.enqueue(self.stream)
            for slot in self.network.slots:
                if not slot.is_input and slot.name in self.on_device:
                    data = _bytes(self.host[slot.name], slot, slot.largest)
                    self.device.download(data, self.on_device[slot.name], self.stream)

        try:
            if graphs and prepared.runs == 2:
                prepared.graph = self.device.capture(self.stream, work)
            if prepared.graph:
                self.device.launch(prepared.graph, self.stream)
            else:
                work()
        finally:
            # Whatever was put into the stream uses the buffers: they are not free before.
            self.device.wait(self.stream)
        with stage("download"):
            return {
                slot.name: _view(self.host[slot.name], slot, slot.largest).copy()
                for slot in self.network.slots
                if not slot.is_input
            }

    def _prepare(self, key: tuple[object, ...], inputs: Tensors) -> _Prepared:
        prepared = self.prepared.get(key)
        if prepared is None:
            if len(self.prepared) >= MOST_SHAPES:
                self._forget(self.prepared.popitem(last=False)[1])
            prepared = _Prepared(self.network.make_context())
            for slot in self.network.slots:
                if slot.on_host:
                    address = self.host[slot.name].bytes.ctypes.data
                else:
                    address = self.on_device.get(slot.name) or self.host[slot.name].address
                prepared.context.bind(slot.name, address)
                if slot.is_input:
                    prepared.context.set_shape(slot.name, np.shape(inputs[slot.name]))
            self.prepared[key] = prepared
        self.prepared.move_to_end(key)
        address = self.arena.address
        if prepared.memory != address:  # also after another plan has made the arena larger
            prepared.context.set_memory(address, self.arena.size)
            prepared.memory, prepared.runs = address, 0
            self._drop_graph(prepared)
        return prepared

    def _forget(self, prepared: _Prepared) -> None:
        self._drop_graph(prepared)
        # An error's traceback may hold `prepared`; the context has to go all the same.
        del prepared.context

    def _drop_graph(self, prepared: _Prepared) -> None:
        if prepared.graph:
            self.device.release_graph(prepared.graph)
            prepared.graph = 0

    def close(self) -> None:
        """Graphs, contexts, memory, stream: what uses a thing goes before it."""
        while self.prepared:
            self._forget(self.prepared.popitem()[1])
        for address in self.on_device.values():
            self.device.release(address)
        for block in self.host.values():
            self.device.release_host(block)
        self.on_device, self.host = {}, {}
        if not self.shared and self.arena.address:
            self.device.release(self.arena.address)
            self.arena = Arena()
        if self.stream:
            self.device.release_stream(self.stream)
            self.stream = 0


class PlanBackend:
    """A TensorRT plan: implements `engine.backends.Backend`.

    Args:
        network: the deserialized plan; closed with the backend.
        device: what it runs on.
        card: of the plan.
        name: e.g. "tensorrt-rtx 1.7.1, NVIDIA A10".
        arena: memory to share with other plans; by default each lane has its own.
        graphs: capture CUDA graphs.
    """

    def __init__(
        self,
        network: Network,
        device: Device,
        card: Card,
        name: str,
        *,
        arena: Arena | None = None,
        graphs: bool = True,
    ) -> None:
        self.card = card
        self.name = name
        self._network, self._device, self._arena = network, device, arena
        self._graphs = graphs
        self._free: list[_Lane] = []
        self._busy = 0
        self._closed = False
        self._changed = threading.Condition()
        # Also when nobody calls close: at the interpreter's exit, before CUDA is torn down.
        self._finalize = weakref.finalize(self, _release, self._free, network, device)

    def run(self, inputs: Tensors) -> Tensors:
        """Run the plan once.

        Raises:
            OptionError: a shape that the plan was not built for.
            BackendError: CUDA or TensorRT failed, or the backend is closed.
        """
        self._check(inputs)
        with self._lane() as lane, lane.arena.lock, self._device.current():
            try:
                return lane.run(inputs, graphs=self._graphs)
            except CaptureError as error:
                self._graphs = False
                log.warning("%s runs without CUDA graphs: %s", self.name, error)
                return lane.run(inputs, graphs=False)

    def close(self) -> None:
        """Wait for the calls that are running, then give everything back, in order."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._busy == 0)
        self._finalize()

    @contextmanager
    def _lane(self) -> Iterator[_Lane]:
        """A lane of one's own; one in which something failed is not used again."""
        with self._changed:
            if self._closed:
                raise BackendError("this model is closed; open it again")
            self._busy += 1
            lane = self._free.pop() if self._free else None
        fine = False
        try:
            if lane is None:
                with self._device.current():
                    lane = _Lane(self._device, self._network, self._arena)
            yield lane
            fine = True
        finally:
            if lane is not None and not fine:
                with self._device.current():
                    lane.close()
            with self._changed:
                if lane is not None and fine:
                    self._free.append(lane)
                self._busy -= 1
                self._changed.notify_all()

    def _check(self, inputs: Tensors) -> None:
        for slot in self._network.slots:
            if not slot.is_input or slot.on_host:
                continue
            shape = np.shape(inputs[slot.name])
            if len(shape) != len(slot.largest) or not all(
                low <= side <= high
                for low, side, high in zip(slot.smallest, shape, slot.largest, strict=True)
            ):
                raise OptionError(
                    f"{slot.name} is {_times(shape)}, and the plan was built for "
                    f"{_times(slot.smallest)} to {_times(slot.largest)}; build it again with other "
                    "--min and --max, or use other scales"
                )


def _release(lanes: list[_Lane], network: Network, device: Device) -> None:
    with device.current():
        while lanes:
            lanes.pop().close()
        network.close()


def _bytes(block: HostBlock, slot: Slot, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    size: int = int(np.prod(shape, dtype=np.int64)) * slot.dtype.itemsize
    return block.bytes[:size]


def _view(block: HostBlock, slot: Slot, shape: tuple[int, ...]) -> NDArray[np.generic]:
    return _bytes(block, slot, shape).view(slot.dtype).reshape(shape)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
