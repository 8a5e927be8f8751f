"""Run by test_cuda.py in a process of its own, on the emulated driver.

    python run.py BINDING [MODEL]

Prints what the device is; with a model, runs it by `PlanBackend` on onnxruntime, which the driver
calls from its streams, and compares the answers.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parent)]
# PyCUDA links every function of a driver, and only those that are called are in the emulated one.
sys.setdlopenflags(os.RTLD_LAZY)

import engine.cuda  # noqa: E402
from engine.cuda import CudaPythonDevice, PyCudaDevice, open_device  # noqa: E402

KINDS = {"pycuda": PyCudaDevice, "cuda-python": CudaPythonDevice}
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Putting:
    """A device's streams for OrtNetwork: cuLaunchHostFunc puts Python functions into them."""

    def __init__(self) -> None:
        self.driver = ctypes.CDLL("libcuda.so.1")
        self.log: list[str] = []
        self.kept: list[object] = []

    def put(self, stream: int, work: Callable[[], None]) -> None:
        callback = CALLBACK(lambda _: work())
        self.kept.append(callback)  # a graph may call it again
        assert self.driver.cuLaunchHostFunc(ctypes.c_void_p(stream), callback, None) == 0


def copies(device: PyCudaDevice | CudaPythonDevice) -> None:
    """Bytes there and back, once the stream is waited for, directly and by a graph."""
    with device.current():
        stream, there = device.make_stream(), device.allocate(1000)
        assert there % 256 == 0
        first, second = device.allocate_host(1000), device.allocate_host(1000)
        assert bool(first.address) == device.zero_copy

        def work() -> None:
            device.upload(there, first.bytes, stream)
            device.download(second.bytes, there, stream)

        for value, go in enumerate((work, work, None, None)):
            graph = device.capture(stream, work) if go is None else 0
            first.bytes[:] = value
            go() if go else device.launch(graph, stream)
            assert not (second.bytes == value).all()
            device.wait(stream)
            assert (second.bytes == value).all()
            if graph:
                device.release_graph(graph)
        device.release(there)
        for block in (first, second):
            device.release_host(block)
        device.release_stream(stream)


def plan(device: PyCudaDevice | CudaPythonDevice, model: str) -> None:
    """A network from several threads, against onnxruntime alone."""
    import numpy as np
    from host_device import OrtNetwork

    from engine.backends import open_backend
    from engine.backends.plan import Arena, PlanBackend
    from engine.tiling import EVERY_WINDOW

    right = open_backend(model)
    n, s = right.card.proposals, right.card.mask_size
    # Two plans that share memory, as two models of one application do.
    arena = Arena()
    backends = [
        PlanBackend(
            OrtNetwork(
                Putting(), model,
                {"picture": ((1, 1, 3), (200, 200, 3)), "min_score": ((1,), (1,)),
                 "owned": ((4,), (4,))},
                {"scores": (n,), "windows": (n, 2), "masks": (n, s, s), "count": (1,),
                 "piece": (n,)},
                memory=memory,
            ),
            open_device(0), right.card, device.name, arena=arena,
        )
        for memory in (1000, 5000)
    ]  # fmt: skip

    def compare(k: int) -> None:
        backend = backends[k % 2]
        size = (60 + 10 * (k % 3), 70, 3)
        picture = np.random.default_rng(k).integers(0, 255, size, dtype=np.uint8)
        given = {"picture": picture, "min_score": np.zeros(1, np.float32), "owned": EVERY_WINDOW}
        expected, found = right.run(given), backend.run(given)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(compare, range(24)))
    for backend in backends:
        backend.close()
    with device.current():  # an arena lives as long as its process
        device.release(arena.address)


if __name__ == "__main__":
    if sys.argv[1] == "cuda-python":
        engine.cuda.PyCudaDevice = CudaPythonDevice  # as if PyCUDA were not installed
    opened = open_device(0)
    assert type(opened) is KINDS[sys.argv[1]]
    assert open_device(0) is opened
    print(opened.name, opened.capability, "zero copy" if opened.zero_copy else "copies")
    if len(sys.argv) > 2:
        plan(opened, sys.argv[2])
    else:
        copies(opened)
    nothing = ctypes.c_void_p(1)
    ctypes.CDLL("libcuda.so.1").cuCtxGetCurrent(ctypes.byref(nothing))
    assert nothing.value is None, "a context was left on the thread"
