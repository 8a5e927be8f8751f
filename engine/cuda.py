"""CUDA as the plan backend needs it: implements `engine.backends.device.Device`.

PyCUDA where it is installed, or else cuda-python (`cuda.bindings`), with the same few calls. Both
use the device's primary context, which torch, cupy and everything of the CUDA runtime share, and
only while a call lasts: never `pycuda.autoinit`, whose own context breaks them and other threads.

Stream capture is called in the driver itself: PyCUDA has no binding of it.
"""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backends.device import CaptureError, Device, HostBlock
from .errors import BackendError, first_line

NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: does not wait for the default stream, which other libraries use."""
THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads allocate does not end a capture."""


_OPENING = threading.Lock()


def open_device(ordinal: int = 0) -> Device:
    """A GPU's primary context: one object for the whole process, which never gives it back.

    Memory that one plan has allocated may then be given back by another one (an arena), and no
    thread is left with a context that is not there any more.

    Args:
        ordinal: of the GPU.

    Raises:
        BackendError: no binding is installed, there is no driver or no such GPU.
    """
    with _OPENING:
        return _opened(ordinal)


@cache
def _opened(ordinal: int) -> Device:
    reasons = []
    for kind in (PyCudaDevice, CudaPythonDevice):
        try:
            return kind(ordinal)
        except ImportError as error:
            reasons.append(str(error))
        except Exception as error:  # each binding has its own family
            raise BackendError(
                f"GPU {ordinal} cannot be used ({first_line(error)}); check the NVIDIA driver "
                "with nvidia-smi"
            ) from error
    raise BackendError(
        f"TensorRT plans need PyCUDA or cuda-python ({'; '.join(reasons)}); pip install pycuda, "
        "or, where it cannot be compiled, pip install cuda-bindings"
    )


class _Graphs:
    """Stream capture, by the driver's C interface."""

    def __init__(self) -> None:
        loader = ctypes.CDLL if os.name == "posix" else ctypes.WinDLL  # type: ignore[attr-defined,unused-ignore]
        self._driver = loader("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")

    def _call(self, name: str, *arguments: object) -> int:
        return int(getattr(self._driver, name)(*arguments))

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """See `Device.capture`."""
        handle, graph, made = ctypes.c_void_p(stream), ctypes.c_void_p(), ctypes.c_void_p()
        code = self._call("cuStreamBeginCapture_v2", handle, THREAD_LOCAL)
        if code:
            raise CaptureError(f"cuStreamBeginCapture says {code}; update the driver")
        failed: Exception | None = None
        try:
            work()
        except Exception as error:
            failed = error
        # Always: a stream that still captures executes nothing.
        code = self._call("cuStreamEndCapture", handle, ctypes.byref(graph))
        if failed or code or not graph:
            raise CaptureError(
                f"the work cannot be captured ({failed or f'cuStreamEndCapture says {code}'}); "
                "nothing needs to be done"
            ) from failed
        flags = ctypes.c_ulonglong(0)
        code = self._call("cuGraphInstantiateWithFlags", ctypes.byref(made), graph, flags)
        self._call("cuGraphDestroy", graph)
        if code:
            raise CaptureError(f"cuGraphInstantiate says {code}; nothing needs to be done")
        return made.value or 0

    def launch(self, graph: int, stream: int) -> None:
        """See `Device.launch`."""
        code = self._call("cuGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))
        if code:
            raise BackendError(f"a CUDA graph cannot be launched (cuGraphLaunch says {code})")

    def release_graph(self, graph: int) -> None:
        """See `Device.release_graph`."""
        self._call("cuGraphExecDestroy", ctypes.c_void_p(graph))


class PyCudaDevice(_Graphs):
    """The device by PyCUDA."""

    def __init__(self, ordinal: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without a driver it warns before it fails
            import pycuda.driver as driver

        super().__init__()
        driver.init()
        self._cuda = driver
        device = driver.Device(ordinal)
        attribute = driver.device_attribute
        self.name = str(device.name())
        self.capability = "{}.{}".format(*device.compute_capability())
        self.zero_copy = bool(device.get_attribute(attribute.INTEGRATED))
        self._context = device.retain_primary_context()
        self._held: dict[int, Any] = {}
        # At the interpreter's end, after the plans: finalizers run in the reverse order.
        weakref.finalize(self, _detach, self._context, self._driver)

    @contextmanager
    def current(self) -> Iterator[None]:
        """See `Device.current`."""
        self._context.push()
        try:
            yield
        finally:
            self._cuda.Context.pop()

    def allocate(self, size: int) -> int:
        """See `Device.allocate`."""
        try:
            memory = self._cuda.mem_alloc(size)
        except self._cuda.MemoryError as error:
            raise _no_memory(size, self.name) from error
        self._held[int(memory)] = memory
        return int(memory)

    def release(self, address: int) -> None:
        """See `Device.release`."""
        self._held.pop(address).free()

    def allocate_host(self, size: int) -> HostBlock:
        """See `Device.allocate_host`."""
        flags = self._cuda.host_alloc_flags.DEVICEMAP if self.zero_copy else 0
        try:
            block = self._cuda.pagelocked_empty(size, np.uint8, mem_flags=flags)
        except self._cuda.MemoryError as error:
            raise _no_memory(size, self.name) from error
        address = int(block.base.get_device_pointer()) if self.zero_copy else 0
        return HostBlock(block, address)

    def release_host(self, block: HostBlock) -> None:
        """See `Device.release_host`."""
        block.bytes.base.free()  # type: ignore[union-attr]

    def make_stream(self) -> int:
        """See `Device.make_stream`."""
        stream = self._cuda.Stream(NON_BLOCKING)
        self._held[stream.handle] = stream
        return int(stream.handle)

    def release_stream(self, stream: int) -> None:
        """See `Device.release_stream`."""
        del self._held[stream]

    def upload(self, address: int, data: NDArray[np.uint8], stream: int) -> None:
        """See `Device.upload`."""
        self._cuda.memcpy_htod_async(address, data, self._held[stream])

    def download(self, data: NDArray[np.uint8], address: int, stream: int) -> None:
        """See `Device.download`."""
        self._cuda.memcpy_dtoh_async(data, address, self._held[stream])

    def wait(self, stream: int) -> None:
        """See `Device.wait`."""
        try:
            self._held[stream].synchronize()
        except self._cuda.Error as error:
            raise _failed(error) from error


class CudaPythonDevice(_Graphs):
    """The device by cuda-python."""

    def __init__(self, ordinal: int) -> None:
        from cuda.bindings import driver

        self._cuda = driver
        self._do(driver.cuInit(0))
        super().__init__()
        self._device = self._do(driver.cuDeviceGet(ordinal))
        name = self._do(driver.cuDeviceGetName(256, self._device))
        self.name = name.split(b"\0")[0].decode()
        kinds = driver.CUdevice_attribute
        major, minor, integrated = (
            self._do(driver.cuDeviceGetAttribute(kind, self._device))
            for kind in (
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                kinds.CU_DEVICE_ATTRIBUTE_INTEGRATED,
            )
        )
        self.capability = f"{major}.{minor}"
        self.zero_copy = bool(integrated)
        self._context = self._do(driver.cuDevicePrimaryCtxRetain(self._device))
        weakref.finalize(self, driver.cuDevicePrimaryCtxRelease, self._device)

    def _do(self, result: tuple[Any, ...]) -> Any:
        """The value of a call, its error raised."""
        code, *values = result
        if int(code):
            raise BackendError(f"CUDA says {code.name}; check the GPU with nvidia-smi")
        return values[0] if values else None

    def _allocated(self, result: tuple[Any, ...], size: int) -> Any:
        if result[0] == self._cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise _no_memory(size, self.name)
        return self._do(result)

    @contextmanager
    def current(self) -> Iterator[None]:
        """See `Device.current`."""
        self._do(self._cuda.cuCtxPushCurrent(self._context))
        try:
            yield
        finally:
            self._cuda.cuCtxPopCurrent()

    def allocate(self, size: int) -> int:
        """See `Device.allocate`."""
        return int(self._allocated(self._cuda.cuMemAlloc(size), size))

    def release(self, address: int) -> None:
        """See `Device.release`."""
        self._cuda.cuMemFree(address)

    def allocate_host(self, size: int) -> HostBlock:
        """See `Device.allocate_host`."""
        flags = self._cuda.CU_MEMHOSTALLOC_DEVICEMAP if self.zero_copy else 0
        address = int(self._allocated(self._cuda.cuMemHostAlloc(size, flags), size))
        block = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        seen = self._do(self._cuda.cuMemHostGetDevicePointer(address, 0)) if self.zero_copy else 0
        return HostBlock(block, int(seen))

    def release_host(self, block: HostBlock) -> None:
        """See `Device.release_host`."""
        self._cuda.cuMemFreeHost(block.bytes.ctypes.data)

    def make_stream(self) -> int:
        """See `Device.make_stream`."""
        return int(self._do(self._cuda.cuStreamCreate(NON_BLOCKING)))

    def release_stream(self, stream: int) -> None:
        """See `Device.release_stream`."""
        self._cuda.cuStreamDestroy(stream)

    def upload(self, address: int, data: NDArray[np.uint8], stream: int) -> None:
        """See `Device.upload`."""
        self._do(self._cuda.cuMemcpyHtoDAsync(address, data.ctypes.data, data.nbytes, stream))

    def download(self, data: NDArray[np.uint8], address: int, stream: int) -> None:
        """See `Device.download`."""
        self._do(self._cuda.cuMemcpyDtoHAsync(data.ctypes.data, address, data.nbytes, stream))

    def wait(self, stream: int) -> None:
        """See `Device.wait`."""
        self._do(self._cuda.cuStreamSynchronize(stream))


def _detach(context: Any, driver: Any) -> None:
    context.detach()
    # It makes the context current to let go of it, and leaves it so.
    driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


def _no_memory(size: int, name: str) -> BackendError:
    return BackendError(
        f"{name} has no {size / 2**20:.0f} MiB of memory left; close other programs, build with a "
        "smaller --max, or share memory between models (engine.backends.plan.Arena)"
    )


def _failed(error: Exception) -> BackendError:
    return BackendError(
        f"the GPU failed ({first_line(error)}); open the model again, and if it happens again "
        "check the plan with maskrt verify"
    )
