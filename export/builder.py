"""A typed ONNX graph to a plan: one path for TensorRT 10.3 to 11.x and TensorRT for RTX.

TensorRT for RTX builds on a machine without a GPU, for the compute capabilities that are named;
TensorRT builds on the GPU that the plan is for. Nothing is executed here.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from rich.progress import Progress

from engine.errors import BackendError, ModelError
from engine.machine import this_machine
from export.audit import Audit, audit_network, audit_plan, heavy_types
from export.build_options import (
    BuildOptions,
    Profile,
    apply_options,
    load_builder,
    save_timing_cache,
)
from export.builder_messages import logger, monitor

NAMES = {"tensorrt": "TensorRT", "rtx": "TensorRT-RTX"}


@dataclass(frozen=True)
class Plan:
    """A serialized plan.

    Attributes:
        data: its bytes.
        version: of the TensorRT that built it.
        audit: which precision its layers have.
        warnings: of the builder, each once.
    """

    data: bytes
    version: str
    audit: Audit
    warnings: list[str]


def build(
    graph: onnx.ModelProto,
    profile: Profile,
    progress: Progress,
    options: BuildOptions | None = None,
    *,
    flavour: str = "rtx",
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
        flavour: "tensorrt" or "rtx".
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
    log = logger(trt, verbose=verbose)
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # what a null pointer becomes in Python
        said = "; ".join(log.errors) or str(error)
        raise BackendError(
            f"{name} {trt.__version__} needs an NVIDIA GPU and its driver to build ({said}); use a "
            "machine with one, or --backend rtx"
        ) from error
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    _parse(trt, network, log, graph, name)
    audit = audit_network(trt, network, precision, islands)
    config = builder.create_builder_config()
    config.progress_monitor = monitor(trt, progress)
    apply_options(trt, config, options, library)
    _add_profile(builder, config, profile, name)
    data = builder.build_serialized_network(network, config)
    if data is None:
        raise ModelError(_refusal(name, log.errors, options))
    if options.timing_cache is not None:
        save_timing_cache(config, options.timing_cache)
    if flavour == "tensorrt" or this_machine().gpu:
        heavy = heavy_types(graph).keys() - islands
        _audit_finished(trt, log, bytes(data), precision, heavy, trusted=options.version_compatible)
    return Plan(bytes(data), trt.__version__, audit, log.warnings)


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
    trt: Any, log: Any, data: bytes, precision: str, heavy: Set[str], *, trusted: bool
) -> None:
    """Ask the plan itself what its layers became; this needs a GPU."""
    runtime = trt.Runtime(log)
    runtime.engine_host_code_allowed = trusted  # plugins inside it: we have just built it
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise ModelError(f"TensorRT cannot load what it has built ({'; '.join(log.errors)})")
    inspector = engine.create_engine_inspector()
    layers = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    audit_plan(layers, precision, heavy)


def _add_profile(builder: Any, config: Any, profile: Profile, name: str) -> None:
    shapes = builder.create_optimization_profile()
    sizes = [(*size, 3) for size in (profile.smallest, profile.usual, profile.largest)]
    shapes.set_shape("picture", *sizes)
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
