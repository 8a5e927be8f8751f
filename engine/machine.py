"""What this machine has that a plan may need, and whether a plan fits: no GPU is needed to ask."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from .card import Card
from .cuda import open_device
from .errors import BackendError

PACKAGES = {
    "tensorrt": ("tensorrt", "tensorrt_cu13", "tensorrt_cu12"),
    "tensorrt-lean": ("tensorrt_lean", "tensorrt_lean_cu13", "tensorrt_lean_cu12"),
    "tensorrt-rtx": ("tensorrt_rtx",),
}
"""Distributions that run plans, by flavour; the lean one runs version-compatible ones alone."""
NAMES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
PLUGINS = "libmaskrt_plugins.so"
VARIABLE = "MASKRT_PLUGINS"


@dataclass(frozen=True)
class Machine:
    """What there is.

    Attributes:
        platform: e.g. "linux x86_64".
        tensorrt: the version of each flavour (of PACKAGES) that is installed.
        gpu: its name, "" without one.
        capability: its compute capability, e.g. "8.7", "" without a GPU.
        why_no_gpu: in the words of what tried to open it.
    """

    platform: str
    tensorrt: Mapping[str, str] = field(default_factory=dict)
    gpu: str = ""
    capability: str = ""
    why_no_gpu: str = "there is none"

    def version_for(self, told: Mapping[str, str]) -> str | None:
        """The version of what would run a plan of that `Card.runtime`."""
        flavour = told.get("flavour", "")
        full = self.tensorrt.get(flavour)
        lean = flavour == "tensorrt" and told.get("version_compatible") == "yes"
        # The lean runtime has nothing that reads weights from an ONNX file.
        return full or (
            self.tensorrt.get("tensorrt-lean") if lean and not told.get("stripped") else None
        )


def this_machine(ordinal: int = 0) -> Machine:
    """The machine that this runs on.

    Args:
        ordinal: of the GPU that is meant.
    """
    versions = {flavour: _installed(names) for flavour, names in PACKAGES.items()}
    tensorrt = {flavour: version for flavour, version in versions.items() if version}
    try:
        device = open_device(ordinal)
    except BackendError as error:
        return Machine(this_platform(), tensorrt, why_no_gpu=str(error))
    return Machine(this_platform(), tensorrt, device.name, device.capability)


def this_platform() -> str:
    """System and processor, e.g. "linux aarch64"."""
    return f"{platform.system().lower()} {platform.machine().lower().replace('amd64', 'x86_64')}"


def find_plugins(plan: Path) -> Path | None:
    """The compiled plugins for a plan: what MASKRT_PLUGINS names, or the library beside it."""
    for path in (Path(os.environ.get(VARIABLE) or ""), plan.parent / PLUGINS):
        if path.is_file():
            return path
    return None


def misfits(plan: Path, card: Card, machine: Machine) -> list[str]:
    """Why a plan cannot run on a machine, each reason a sentence with what mends it.

    Args:
        plan: the file.
        card: its card.
        machine: what there is.
    """
    told = card.runtime
    flavour, built = told.get("flavour", ""), told.get("version", "")
    name = NAMES.get(flavour, flavour)
    later = told.get("version_compatible") == "yes"
    again = _command(plan, card)
    reasons = []
    if told.get("platform", machine.platform) != machine.platform:
        reasons.append(
            f"{plan} was built for {told['platform']} and this is {machine.platform}; build it "
            f"here: {again}"
        )
    here = machine.version_for(told)
    if here is None:
        extra = "rtx" if flavour == "tensorrt-rtx" else "tensorrt"
        reasons.append(
            f"{plan} needs {name} {built}, which is not installed; pip install 'maskrt[{extra}]', "
            "or see docs/datacenter.md and docs/jetson.md"
        )
    elif not _runs(built, here, later=later):
        reasons.append(
            f"{plan} was built by {name} {built} and here is {here}, which does not run it; build "
            f"it again: {again}"
        )
    if not machine.capability:
        reasons.append(
            f"{plan} needs an NVIDIA GPU of compute capability {_wanted(told)}, and none can be "
            f"used here ({machine.why_no_gpu}); run {told.get('source', 'the .onnx file')} instead"
        )
    elif not _made_for(told, machine.capability):
        reasons.append(
            f"{plan} is for compute capability {_wanted(told)} and this {machine.gpu} has "
            f"{machine.capability}; build it here: {again}"
            + (f" --target {machine.capability}" if flavour == "tensorrt-rtx" else "")
        )
    if told.get("plugins") and not later and find_plugins(plan) is None:
        reasons.append(
            f"{plan} needs the plugins {told['plugins']} and there is no {PLUGINS} beside it; copy "
            f"it there from where the plan was built, or set {VARIABLE} to it"
        )
    stripped = told.get("stripped")
    if stripped and not plan.with_name(stripped).is_file():
        reasons.append(
            f"{plan} has no weights of its own and {stripped} is not beside it; copy it there from "
            "where the plan was built"
        )
    return reasons


def _command(plan: Path, card: Card) -> str:
    """What builds the plan again, as it was built."""
    told = card.runtime
    parts = ["maskrt build", told.get("source", "MODEL.onnx"), f"--output {plan}"]
    if told.get("flavour") == "tensorrt-rtx":
        parts.append("--backend rtx")
    if card.precision != "fp16":
        parts.append(f"--precision {card.precision}")
    parts += [f"--{name} {told[name]}" for name in ("min", "opt", "max") if name in told]
    if told.get("hardware_compatibility", "none") != "none":
        parts.append(f"--hardware-compatibility {told['hardware_compatibility']}")
    if told.get("version_compatible") == "yes":
        parts.append("--version-compatible")
    if told.get("stripped"):
        parts.append("--strip-weights")
    return " ".join(parts)


def _wanted(told: Mapping[str, str]) -> str:
    if told.get("hardware_compatibility") == "ampere+":
        return "8.0 or more"
    return told.get("compute_capability", "").replace(" ", " or ")


def _made_for(told: Mapping[str, str], capability: str) -> bool:
    if told.get("hardware_compatibility") == "ampere+":
        return _numbers(capability) >= (8, 0)
    return capability in told.get("compute_capability", "").split()


def _runs(built: str, here: str, *, later: bool) -> bool:
    """A plan runs on the release that built it; a version-compatible one on later ones too."""
    a, b = _numbers(built)[:3], _numbers(here)[:3]
    return b >= a if later else a == b


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _installed(names: tuple[str, ...]) -> str:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""
