"""The machine that a report is of: without it a figure means nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness.nvml import open_nvml
from benchmarks.harness.process import ROOT
from benchmarks.made import version

LIBRARIES = (
    "maskrt", "numpy", "opencv-python-headless", "opencv-python", "onnxruntime", "onnxruntime-gpu",
    "openvino", "tensorrt", "tensorrt-rtx", "pycuda", "cuda-bindings",
)  # fmt: skip
SYSTEM = Path("/sys/devices/system/cpu")


def environment(more: tuple[str, ...] = ()) -> dict[str, Any]:
    """CPU, memory, GPUs, power mode, versions and commit; what cannot be told is None or absent.

    Args:
        more: distributions whose versions count besides LIBRARIES.
    """
    frequency = _quietly(psutil.cpu_freq)
    return {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cpu": {
            "name": _cpu_name(),
            "architecture": platform.machine(),
            "cores": psutil.cpu_count(logical=False),
            "threads": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else psutil.cpu_count(),
            "mhz": round(frequency.current) if frequency else None,
            "governor": _read(SYSTEM / "cpu0" / "cpufreq" / "scaling_governor"),
            "load": [round(load, 2) for load in psutil.getloadavg()],
        },
        "memory_bytes": psutil.virtual_memory().total,
        "device": _read(Path("/proc/device-tree/model")),
        "power_mode": _said("nvpmodel", "-q"),
        "gpus": gpus(),
        "libraries": {name: there for name in LIBRARIES + more if (there := version(name))},
        "commit": _said("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
    }


def gpus() -> list[dict[str, Any]]:
    """NVIDIA GPUs as NVML tells of them; none where there is no driver."""
    nvml, handles = open_nvml()
    return [_gpu(nvml, handle) for handle in handles]


def _gpu(nvml: Any, handle: Any) -> dict[str, Any]:
    def told(name: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, name)(*arguments)
        except (nvml.NVMLError, AttributeError):  # not every board tells everything
            return None

    memory = told("nvmlDeviceGetMemoryInfo", handle)
    limit = told("nvmlDeviceGetEnforcedPowerLimit", handle)
    return {
        "name": told("nvmlDeviceGetName", handle),
        "driver": told("nvmlSystemGetDriverVersion"),
        "memory_bytes": memory.total if memory else None,
        "sm_mhz": told("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM),
        "memory_mhz": told("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_MEM),
        "power_limit_watts": limit / 1000 if limit else None,
        "celsius": told("nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU),
    }


def _cpu_name() -> str | None:
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _said(*command: str) -> str | None:
    """What a command prints, on one line; None where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return " ".join(done.stdout.split()) or None if done.returncode == 0 else None


def _quietly(call: Any) -> Any:
    try:
        return call()
    except (OSError, NotImplementedError, AttributeError):
        return None
