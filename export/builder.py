"""A typed ONNX graph to a plan: one path for TensorRT 10.3 to 11.x and TensorRT for RTX.

TensorRT for RTX builds on a machine without a GPU, for the compute capabilities that are named;
TensorRT builds on the GPU that the plan is for. Nothing is executed here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from rich.progress import Progress

from engine.backends.trt import make_runtime
from engine.cuda import open_device
from engine.errors import BackendError, ModelError
from engine.machine import NAMES, this_machine
from export.audit import Audit, audit_network, audit_plan, heavy_types
from export.build_options import (
    RTX_TARGETS,
    BuildOptions,
    Profile,
    apply_options,
    load_builder,
)
from export.builder_messages import logger, monitor


@dataclass(frozen=True)
class Plan:
    """A serialized plan.

    Attributes:
        data: its bytes.
        version: of the TensorRT that built it.
        capability: of the GPU that it was built on; "" for TensorRT-RTX, which needs none.
        audit: which precision its layers have.
        warnings: of the builder, each once.
        timing_cache: what the build has learned, if it was asked to.
    """

    data: bytes
    version: str
    capability: str
    audit: Audit
    warnings: list[str]
    timing_cache: bytes = b""


def build(
    graph: onnx.ModelProto,
    profile: Profile,
    progress: Progress,
    options: BuildOptions | None = None,
    *,
    flavour: str = "tensorrt-rtx",
    precision: str = "fp32",
    islands: frozenset[str] = frozenset(),
    library: Path | None = None,
    verbose: bool = False,
) -> Plan:
    """Build a plan from a typed graph whose input `picture` has the profile's sizes.

    Args:
        graph: float types are taken as they stand (strongly typed).
        profile: sizes of the picture.
        progress: a task is added for each of the builder's phases.
        options: see there.
        flavour: "tensorrt" or "tensorrt-rtx".
        precision: what the graph's layers should be; anything else is refused before it is built.
        islands: names of nodes that may be in fp32 all the same.
        library: of the plugins that the graph uses.
        verbose: print everything that the builder says.

    Raises:
        BackendError: the builder is not installed, or it finds no GPU and needs one.
        OptionError: an option that this TensorRT does not know.
        ModelError: the builder refuses the graph; the message has its own words.
    """
    options = options or BuildOptions()
    options.check(flavour)
    name = NAMES[flavour]
    trt = load_builder(flavour)
    # Without a GPU, or something to speak to it by, TensorRT would build what nobody can run.
    capability = open_device().capability if flavour == "tensorrt" else ""
    log = logger(trt, verbose=verbose)
    builder = _builder(trt, log, flavour)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    _parse(trt, network, log, graph, name)
    audit = audit_network(trt, network, precision, islands)
    config = builder.create_builder_config()
    config.progress_monitor = monitor(trt, progress)
    apply_options(trt, config, options, library, flavour)
    _add_profile(builder, config, profile, name)
    data = builder.build_serialized_network(network, config)
    if data is None:
        raise ModelError(_refusal(name, log.errors, options))
    plan = bytes(data)
    here = this_machine().capability
    if flavour == "tensorrt" or here in (options.targets or RTX_TARGETS):
        heavy = heavy_types(graph).keys() - islands
        audit = _audit_finished(trt, log, plan, profile, options, precision, heavy) or audit
    cache = b"" if options.timing_cache is None else bytes(config.get_timing_cache().serialize())
    return Plan(plan, trt.__version__, capability, audit, log.warnings, cache)


def _builder(trt: Any, log: Any, flavour: str) -> Any:
    try:
        builder = trt.Builder(log)
    except TypeError:  # what a null pointer becomes in some versions
        builder = None
    # TensorRT for RTX says that it finds no GPU, and builds.
    if builder is None or (flavour == "tensorrt" and log.errors):
        # It looks like a Builder, but using it crashes, and so does its end: it is kept for good.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(builder))
        raise BackendError(
            f"{NAMES[flavour]} {trt.__version__} needs an NVIDIA GPU and a driver for its CUDA to "
            f"build ({'; '.join(log.errors)}); see nvidia-smi, or build with --backend rtx"
        )
    return builder


def _parse(trt: Any, network: Any, log: Any, graph: onnx.ModelProto, name: str) -> None:
    parser = trt.OnnxParser(network, log)
    if parser.parse(graph.SerializeToString()):
        return
    said = []
    for k in range(parser.num_errors):
        refusal = parser.get_error(k)
        where = f"{refusal.node_operator()} {refusal.node_name()}".strip()
        said.append(f"{where}: {_first_line(refusal.desc())}")
    raise ModelError(
        f"{name} {trt.__version__} cannot read the graph ({'; '.join(dict.fromkeys(said))}); "
        "export the model again, or use a TensorRT that has these operators"
    )


def _audit_finished(
    trt: Any, log: Any, data: bytes, profile: Profile, options: BuildOptions, precision: str,
    heavy: Set[str],
) -> Audit | None:  # fmt: skip
    """Ask the plan itself what its layers became; this needs a GPU.

    Written from the documentation of TensorRT 10 and 11: no GPU has run it yet.
    """
    if options.strip_weights:
        return None  # it cannot be run before it has its weights again
    with open_device().current():
        runtime = make_runtime(trt, logger(trt))
        # Plugins inside it are ours: we have just built it.
        runtime.engine_host_code_allowed = options.version_compatible
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise ModelError(f"TensorRT cannot load what it has built ({'; '.join(log.errors)})")
        context = engine.create_execution_context()
        # Without shapes an inspector tells no types of a plan for several sizes.
        for name, (_, usual, _) in profile.pictures.items():
            context.set_input_shape(name, (*usual, 3))
        size = np.array(profile.fitted[1] if profile.fitted else profile.usual, np.int64)
        if "size" in [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]:
            context.set_tensor_address("size", size.ctypes.data)
        inspector = engine.create_engine_inspector()
        inspector.execution_context = context
        layers = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        found = audit_plan(layers, precision, heavy)
    if found.unseen:
        log.warnings.append(
            f"the plan does not tell the types of {found.unseen} of its {len(heavy)} layers; what "
            "TensorRT read of the graph was right"
        )
    return found if found.types else None


def _add_profile(builder: Any, config: Any, profile: Profile, name: str) -> None:
    shapes = builder.create_optimization_profile()
    for picture, sizes in profile.pictures.items():
        shapes.set_shape(picture, *((*size, 3) for size in sizes))
    if profile.fitted is not None:
        shapes.set_shape_input("size", *profile.fitted)
    if config.add_optimization_profile(shapes) < 0:
        raise ModelError(f"{name} refuses the sizes {profile}; give min <= opt <= max")


def _refusal(name: str, errors: list[str], options: BuildOptions) -> str:
    said = "; ".join(errors) or "it does not say why"
    advice = "try other --max sizes"
    if options.workspace is not None:
        advice = f"give a larger --workspace than {options.workspace} MiB, or leave it out"
    return f"{name} cannot build the graph ({said}); {advice}"


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines()]
    return lines[0] if lines else "no reason given"
