"""TensorRT 10.3 to 11.x and TensorRT for RTX: a plan with its card becomes a backend.

The names that differ between them are in this file alone. Everything else is in
`engine.backends.plan`.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..card import Card
from ..cuda import open_device
from ..errors import BackendError, ModelError
from ..files import sha256_of
from ..machine import NAMES, VARIABLE, find_plugins, misfits, this_machine
from . import check_interface
from .device import Slot
from .plan import Arena, PlanBackend


def read_card(plan: Path) -> Card:
    """The card beside a plan.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    beside = Path(f"{plan}.json")
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{plan} is a plan without a card: {beside} cannot be read ({error}); copy both files, "
            "or build the plan again with maskrt build"
        ) from error
    card = Card.from_json(text, beside)
    if not card.runtime or not card.plan_sha256:
        raise ModelError(
            f"the card in {beside} is not of a plan; give the .onnx file, or copy the card that "
            "was built with it"
        )
    return card


def read_plan(plan: Path, card: Card) -> bytes:
    """A plan's bytes, which are those that its card was written for.

    Raises:
        ModelError: they are others.
    """
    data = plan.read_bytes()
    if hashlib.sha256(data).hexdigest() != card.plan_sha256:
        raise ModelError(
            f"{plan} ({len(data)} bytes) is not the plan that its card {plan}.json was written "
            "for: it is damaged or another one; copy both files again, or build it again with "
            "maskrt build"
        )
    return data


def open_plan(
    plan: Path,
    *,
    ordinal: int = 0,
    arena: Arena | None = None,
    graphs: bool = True,
    card: Card | None = None,
) -> PlanBackend:
    """Open a plan on a GPU.

    Args:
        plan: the file; its card lies beside it.
        ordinal: of the GPU.
        arena: memory to share with other plans.
        graphs: capture CUDA graphs.
        card: if it is not beside the plan.

    Raises:
        ModelError: the files are damaged or do not belong together.
        BackendError: the plan does not fit this machine, one sentence for each reason, or CUDA or
            TensorRT refuse it.
    """
    card = card or read_card(plan)
    data = read_plan(plan, card)
    machine = this_machine(ordinal)
    reasons = misfits(plan, card, machine)
    if reasons:
        raise BackendError("; ".join(reasons))
    trt = load(card.runtime["flavour"], later=card.runtime.get("version_compatible") == "yes")
    device = open_device(ordinal)
    with device.current():
        opened = TensorRtNetwork(trt, plan, data, card)
    check_interface(
        card,
        [(s.name, s.dtype.name, len(s.largest)) for s in opened.slots if s.is_input],
        [s.name for s in opened.slots if not s.is_input],
        plan,
    )
    name = f"{card.runtime['flavour']} {machine.version_for(card.runtime)}, {machine.gpu}"
    return PlanBackend(opened, device, card, name, arena=arena, graphs=graphs)


def load(flavour: str, *, later: bool = False) -> ModuleType:
    """The package of a flavour; for a version-compatible plan the lean runtime is enough.

    Raises:
        BackendError: it cannot be imported.
    """
    try:
        if flavour == "tensorrt-rtx":
            import tensorrt_rtx as trt
        else:
            try:
                import tensorrt as trt
            except ImportError:
                if not later:
                    raise
                import tensorrt_lean as trt
    except (ImportError, OSError) as error:
        raise BackendError(
            f"{NAMES[flavour]} cannot be loaded ({error}); see docs/datacenter.md and "
            "docs/jetson.md"
        ) from error
    module: ModuleType = trt
    return module


class TensorRtNetwork:
    """A deserialized plan: implements `engine.backends.device.Network`."""

    def __init__(self, trt: ModuleType, plan: Path, data: bytes, card: Card) -> None:
        self._trt = trt
        self._log = _logger(trt)
        told = card.runtime
        self._rtx = told["flavour"] == "tensorrt-rtx"
        self._cache: Any = None
        inside = told.get("version_compatible") == "yes"
        if told.get("plugins") and not inside:
            load_plugins(trt, plan, told["plugins"])
        runtime = make_runtime(trt, self._log)
        # Plugins inside a plan are programs: only of a file whose bytes the card vouches for.
        runtime.engine_host_code_allowed = inside
        self._engine = runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise BackendError(
                f"{NAMES[told['flavour']]} {trt.__version__} cannot load {plan} "
                f"({self._log.said()}); build it again on this machine with maskrt build"
            )
        self._runtime = runtime
        if told.get("stripped"):
            self._fill(plan.with_name(told["stripped"]), told.get("stripped_sha256", ""))
        names = [self._engine.get_tensor_name(k) for k in range(self._engine.num_io_tensors)]
        self._slots = [_slot(trt, self._engine, name) for name in names]

    @property
    def slots(self) -> Sequence[Slot]:
        """See `Network.slots`."""
        return self._slots

    @property
    def memory(self) -> int:
        """See `Network.memory`."""
        return int(self._engine.device_memory_size_v2)

    def make_context(self) -> TensorRtContext:
        """See `Network.make_context`."""
        how: Any = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self._rtx:
            how = self._rtx_config(how)
        context = self._engine.create_execution_context(how)
        if context is None:
            raise BackendError(
                f"TensorRT makes no context ({self._log.said()}); open the plan again"
            )
        return TensorRtContext(context, self._log)

    def _rtx_config(self, strategy: Any) -> Any:
        """TensorRT for RTX compiles kernels when they are first needed: all at once, shared."""
        jit = self._engine.create_runtime_config()
        jit.set_execution_context_allocation_strategy(strategy)
        # Lazily it would run a slow kernel first, and a captured graph would keep that one.
        kinds = self._trt.DynamicShapesKernelSpecializationStrategy
        jit.dynamic_shapes_kernel_specialization_strategy = kinds.EAGER
        if self._cache is None:
            self._cache = jit.create_runtime_cache()
        jit.set_runtime_cache(self._cache)
        return jit

    def close(self) -> None:
        """See `Network.close`."""
        self._cache = None
        self._engine = None
        self._runtime = None

    def _fill(self, onnx: Path, digest: str) -> None:
        """Put the weights of an ONNX file into a plan that was built without."""
        # TensorRT calls the result of other weights undefined.
        if sha256_of(onnx) != digest:
            raise ModelError(
                f"{onnx} does not have the weights that the plan was built without; copy the file "
                "that was written beside the plan"
            )
        trt = self._trt
        refitter = trt.Refitter(self._engine, self._log)
        refit = trt.OnnxParserRefitter(refitter, self._log)
        if not (refit.refit_from_file(str(onnx)) and refitter.refit_cuda_engine()):
            raise ModelError(
                f"the weights in {onnx} do not fit the plan ({self._log.said()}); copy the file "
                "that was written beside the plan"
            )


class TensorRtContext:
    """An execution context: implements `engine.backends.device.Context`."""

    def __init__(self, context: Any, log: Any) -> None:
        self._context = context
        self._log = log

    def set_shape(self, name: str, shape: Sequence[int]) -> None:
        """See `Context.set_shape`."""
        if not self._context.set_input_shape(name, tuple(shape)):
            raise BackendError(
                f"TensorRT refuses {name} of shape {tuple(shape)} ({self._log.said()}); build the "
                "plan with other --min and --max"
            )

    def bind(self, name: str, address: int) -> None:
        """See `Context.bind`."""
        if not self._context.set_tensor_address(name, address):
            raise BackendError(f"TensorRT refuses the memory for {name} ({self._log.said()})")

    def set_memory(self, address: int, size: int) -> None:
        """See `Context.set_memory`."""
        self._context.set_device_memory(address, size)

    def enqueue(self, stream: int) -> None:
        """See `Context.enqueue`."""
        if not self._context.execute_async_v3(stream):
            raise BackendError(
                f"TensorRT failed ({self._log.said()}); try a smaller picture, and check the plan "
                "with maskrt verify"
            )


def make_runtime(trt: ModuleType, log: Any) -> Any:
    """A Runtime that can be used.

    Raises:
        BackendError: the driver is too old for this TensorRT, or does not answer.
    """
    try:
        runtime = trt.Runtime(log)
    except TypeError:  # what a null pointer becomes in some versions
        runtime = None
    if runtime is None or log.errors:
        # It looks like a Runtime, but using it crashes, and so does its end: it is kept for good.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime))
        raise BackendError(
            f"TensorRT {trt.__version__} does not start ({'; '.join(log.errors)}); check with "
            "nvidia-smi that the driver is one for the CUDA that this TensorRT is built for"
        )
    return runtime


def load_plugins(trt: ModuleType, plan: Path, wanted: str) -> None:
    """Register the operators that a plan needs.

    Args:
        trt: whose registry is meant.
        plan: the file, beside which the library may lie.
        wanted: names, each with its version: "BatchedNms 1, PyramidRoiAlign 1".

    Raises:
        BackendError: TensorRT does not take the library: it says so to its logger alone.
    """
    registry = trt.get_plugin_registry()
    operators = [entry.split() for entry in wanted.split(", ")]

    def missing() -> list[str]:
        return [
            name
            for name, version in operators
            if registry.get_creator(name, version, "maskrt") is None
        ]

    if not missing():
        return
    library = find_plugins(plan)
    if library is not None:
        registry.load_library(str(library.resolve()))
    if missing():
        raise BackendError(
            f"TensorRT {trt.__version__} does not find {', '.join(missing())} in {library}; copy "
            f"the library from where {plan} was built, or set {VARIABLE} to it"
        )


def _slot(trt: ModuleType, engine: Any, name: str) -> Slot:
    is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
    on_host = engine.get_tensor_location(name) == trt.TensorLocation.HOST
    shape = tuple(engine.get_tensor_shape(name))
    smallest = largest = shape
    if is_input and -1 in shape:
        smallest, _, largest = (tuple(s) for s in engine.get_tensor_profile_shape(name, 0))
    if -1 in largest:
        raise ModelError(
            f"the output {name} has a shape that depends on the picture, and MaskRT's have not; "
            "build the plan with maskrt build"
        )
    dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
    return Slot(name, dtype, is_input, on_host, smallest, largest)


def _logger(trt: ModuleType) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc,name-defined]
        """Keeps the errors since they were last asked for."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR and message not in self.errors:
                self.errors.append(" ".join(message.split())[:300])

        def said(self) -> str:
            text = "; ".join(self.errors) or "it does not say why"
            self.errors.clear()
            return text

    return Logger()
