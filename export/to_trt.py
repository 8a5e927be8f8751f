"""An exported ONNX file to a strongly typed TensorRT plan, its card beside it.

    python export/to_trt.py MODEL.onnx --output FILE

Also `maskrt build`. TensorRT builds on the GPU that the plan is for; the builder of TensorRT for
RTX needs no GPU.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from dataclasses import replace
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":
    # As a script, sys.path[0] is this folder, where nothing of the project can be imported.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from maskrt.cli import main as command

    command(["build", *sys.argv[1:]])

import onnx
import typer
from rich.progress import Progress

import plugins
from engine import Segmenter
from engine.backends.trt import open_plan
from engine.card import Card
from engine.files import check_writable, sha256_of, write_aside, write_together
from engine.machine import NAMES, misfits, this_machine, this_platform
from engine.picture import Picture, read_picture
from export import builder
from export.build_options import RTX_TARGETS, BuildOptions, load_builder
from export.builder import Plan
from export.model_file import read_onnx, save_onnx
from export.profiles import make_profile
from export.tensorrt_graph import for_tensorrt
from export.typed_model import require_same, typed_model
from export.verify import noise
from maskrt.console import console
from plugins import library


class Target(str, Enum):
    """What builds the plan."""

    auto = "auto"
    tensorrt = "tensorrt"
    rtx = "rtx"


class Operators(str, Enum):
    """How PyramidRoiAlign and BatchedNms are computed."""

    auto = "auto"
    plugins = "plugins"
    bodies = "bodies"


class Precision(str, Enum):
    """What the layers that carry the work compute in."""

    fp16 = "fp16"
    bf16 = "bf16"
    fp32 = "fp32"
    int8 = "int8"


class Hardware(str, Enum):
    """Which GPUs a plan of TensorRT runs on."""

    none = "none"
    same = "same"
    ampere = "ampere+"


def main(
    model: Annotated[Path, typer.Argument(help="An ONNX file from to_onnx.py.")],
    output: Annotated[Path, typer.Option(help="The plan to write; the card goes to FILE.json.")],
    backend: Annotated[
        Target, typer.Option(help="auto: tensorrt where it is installed, or else rtx.")
    ] = Target.auto,
    precision: Annotated[
        Precision, typer.Option(help="int8: of a file that was quantized.")
    ] = Precision.fp16,
    operators: Annotated[
        Operators,
        typer.Option(help="Our operators as plugins (auto: where they are compiled) or bodies."),
    ] = Operators.auto,
    smallest: Annotated[str | None, typer.Option("--min", help="Smallest input, HxW.")] = None,
    usual: Annotated[str | None, typer.Option("--opt", help="Input to be fastest at.")] = None,
    largest: Annotated[str | None, typer.Option("--max", help="Largest input.")] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="To calibrate and compare on, one that shows your objects; or noise."),
    ] = None,
    workspace: Annotated[
        int | None, typer.Option(help="MiB that a layer may use beside its tensors.")
    ] = None,
    optimization_level: Annotated[
        int | None, typer.Option(help="0 (quick to build) to 5 (quick to run).")
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="Kernel times of earlier builds; made if missing.")
    ] = None,
    hardware_compatibility: Annotated[
        Hardware, typer.Option(help="Other GPUs to run on: same compute capability, Ampere on.")
    ] = Hardware.none,
    version_compatible: Annotated[
        bool, typer.Option(help="Later versions of TensorRT run it too; plugins travel inside.")
    ] = False,
    strip_weights: Annotated[
        bool, typer.Option(help="No weights in the plan; they come from an ONNX file beside it.")
    ] = False,
    target: Annotated[
        list[str] | None, typer.Option(help="Compute capability, for rtx; may be repeated.")
    ] = None,
    tf32: Annotated[bool, typer.Option(help="fp32 layers may round to TF32.")] = False,
    verbose: Annotated[bool, typer.Option(help="Everything that the builder says.")] = False,
) -> None:
    """Compile an exported model; its numbers are checked on the CPU before."""
    graph, card = read_onnx(model)
    profile = make_profile(card, smallest, usual, largest)
    flavour = _flavour(backend)
    options = BuildOptions(
        workspace, optimization_level, timing_cache, hardware_compatibility.value,
        version_compatible, strip_weights, tuple(target or ()), tf32,
    )  # fmt: skip
    options.check(flavour)
    if timing_cache is not None:
        check_writable(timing_cache)
    sample = noise() if picture is None else read_picture(picture)
    trt = load_builder(flavour)  # before the work, not after it
    compiled = _plugins(graph, operators, flavour)
    if compiled is not None:
        plugins.load(trt, compiled)
    # The folder first: a build must not take minutes to find that it cannot write.
    with write_together(output) as folder:
        typed, card = typed_model(graph, card, precision.value, sample)
        start = time.perf_counter()
        ready = for_tensorrt(typed, with_plugins=compiled is not None)
        with Progress(console=console) as progress:
            plan = builder.build(
                ready, profile, progress, options, flavour=flavour, precision=precision.value,
                islands=frozenset(card.islands), library=compiled, verbose=verbose,
            )  # fmt: skip
        seconds = time.perf_counter() - start
        for warning in plan.warnings:
            console.print(f"{NAMES[flavour]} warns: {warning}", markup=False)
        sizes = (profile.smallest, profile.usual, profile.largest)
        told = {key: f"{h}x{w}" for key, (h, w) in zip(("min", "opt", "max"), sizes, strict=True)}
        told |= _runtime(flavour, plan, options, compiled, ready)
        told |= {"source": model.name, "source_sha256": sha256_of(model)}
        if strip_weights:
            weights = folder / f"{output.name}.weights.onnx"
            save_onnx(ready, weights)
            told |= {"stripped": weights.name, "stripped_sha256": sha256_of(weights)}
        card = replace(card, runtime=told, plan_sha256=hashlib.sha256(plan.data).hexdigest())
        (folder / output.name).write_bytes(plan.data)
        (folder / f"{output.name}.json").write_text(card.to_json(indent=2) + "\n")
        if compiled is not None and not version_compatible:
            shutil.copy(compiled, folder / library.NAME)
        seen = _tried(folder / output.name, card, model, sample)
    if timing_cache is not None:
        with write_aside(timing_cache) as aside:
            aside.write_bytes(plan.timing_cache)
    console.print(
        f"wrote {output} ({len(plan.data) / 1e6:.1f} MB, {NAMES[flavour]} {plan.version}, "
        f"{seconds:.1f} s; layers that carry the work: {plan.audit}) and {output}.json; {seen}"
    )


def _flavour(backend: Target) -> str:
    """The builder to use, by name: one that is installed and does not work is not passed over."""
    if backend is not Target.auto:
        return "tensorrt-rtx" if backend is Target.rtx else "tensorrt"
    there = [name for name in ("tensorrt", "tensorrt_rtx") if find_spec(name)]
    flavour = "tensorrt-rtx" if there == ["tensorrt_rtx"] else "tensorrt"
    console.print(f"building with {NAMES[flavour]}")
    return flavour


def _plugins(graph: onnx.ModelProto, operators: Operators, flavour: str) -> Path | None:
    """The library of our operators' plugins, None if they are to be bodies or are not there."""
    if not any(node.op_type in library.OPERATORS for node in graph.graph.node):
        return None
    if operators is Operators.bodies:
        return None
    found = library.find()
    if found is None and (operators is Operators.plugins or flavour == "tensorrt"):
        found = library.build()
    return found


def _runtime(
    flavour: str, plan: Plan, options: BuildOptions, compiled: Path | None, ready: onnx.ModelProto
) -> dict[str, str]:
    """What has to be there to run the plan, as `engine.machine` reads it."""
    targets = (plan.capability,) if plan.capability else options.targets or RTX_TARGETS
    used = sorted({n.op_type for n in ready.graph.node} & set(library.OPERATORS))
    return {
        "flavour": flavour,
        "version": plan.version,
        "platform": this_platform(),
        "compute_capability": " ".join(targets),
        "hardware_compatibility": options.hardware,
        "version_compatible": "yes" if options.version_compatible else "no",
        "operators": "bodies" if compiled is None else "plugins",
        "plugins": ", ".join(f"{name} {library.VERSION}" for name in used if compiled),
        "plugins_sha256": "" if compiled is None else sha256_of(compiled),
    }


def _tried(plan: Path, card: Card, model: Path, sample: Picture) -> str:
    """Run the plan if this machine can, and refuse it if it answers otherwise than its model."""
    reasons = misfits(plan, card, this_machine())
    if reasons:
        return "built, not executed: it needs another machine than this one (maskrt inspect)"
    with Segmenter(model) as reference, Segmenter(open_plan(plan)) as other:
        require_same(reference, other, sample, "ONNX file", other.backend.name)
        return f"executed on {other.backend.name}"
