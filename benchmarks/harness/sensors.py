"""Energy, memory and throttling, where the machine tells; nothing is guessed where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.harness.nvml import open_nvml
from benchmarks.harness.rails import Rails

RAPL = Path("/sys/class/powercap")
THROTTLED = {
    "CPU: temperature": "/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count",
    "board: voltage or current": "/sys/class/hwmon/hwmon*/oc[0-9]*_event_cnt",
}
"""Counters of lowered clocks, by what lowers them; the latter are a Jetson's (NVIDIA Jetson Linux
Developer Guide, "Power")."""
SLOWED = ("SwThermalSlowdown", "HwThermalSlowdown", "HwPowerBrakeSlowdown", "HwSlowdown")
"""Of NVML's reasons for a lower clock, those that make a figure another machine's."""


class Sensors:
    """What is read around a measurement.

    Attributes:
        throttled: why clocks were lowered while something was measured; None if the machine
            does not tell.
    """

    def __init__(self) -> None:
        self._nvml, self._handles = open_nvml()
        self._rails = Rails()
        tells = self._handles or any(map(_counters, THROTTLED.values()))
        self.throttled: set[str] | None = set() if tells else None

    @property
    def names(self) -> list[str]:
        """The energy counters that the machine has."""
        return sorted(self._energy())

    @property
    def reasons(self) -> list[str] | None:
        """What has been in `throttled` so far, for a report."""
        return None if self.throttled is None else sorted(self.throttled)

    @contextmanager
    def around(self) -> Iterator[dict[str, float]]:
        """Joules of each counter that the block took; complete after it."""
        taken: dict[str, float] = {}
        before, slowed = self._energy(), _counts()
        yield taken
        for name, joules in self._energy().items():
            # A counter that began anew has told nothing.
            if name in before and joules >= before[name]:
                taken[name] = joules - before[name]
        if self.throttled is None:
            return
        self.throttled |= {why for why, times in _counts().items() if times > slowed[why]}
        for handle in self._handles:
            with suppress(self._nvml.NVMLError, AttributeError):
                why = self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
                for name in SLOWED:
                    if why & getattr(self._nvml, f"nvmlClocksThrottleReason{name}"):
                        self.throttled.add(f"GPU: {name}")

    def device_memory(self, pid: int) -> int | None:
        """Bytes that a process has on all GPUs; None where that is not told."""
        used = []
        for handle in self._handles:
            with suppress(self._nvml.NVMLError):
                running = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
                used += [p.usedGpuMemory for p in running if p.pid == pid and p.usedGpuMemory]
        return sum(used) if used else None

    def _energy(self) -> dict[str, float]:
        """Joules since some time, of each counter."""
        found = {f"rail {name}": joules for name, joules in self._rails.joules().items()}
        for folder in sorted(RAPL.glob("intel-rapl:[0-9]")):
            with suppress(OSError, ValueError):  # only root may read it, on most systems
                name = (folder / "name").read_text().strip()
                found[f"CPU {name}"] = int((folder / "energy_uj").read_text()) / 1e6
        for k, handle in enumerate(self._handles):
            with suppress(self._nvml.NVMLError):
                joules = self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
                found[f"GPU {k}"] = joules
        return found


def memory(pid: int) -> dict[str, int | None]:
    """Bytes of a process: now, and the most that it had where the system tells."""
    found: dict[str, int | None] = {"rss": None, "peak": None}
    with suppress(psutil.Error):
        told = psutil.Process(pid).memory_info()
        found["rss"], found["peak"] = told.rss, getattr(told, "peak_wset", None)
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                found["peak"] = int(line.split()[1]) * 1024
    return found


def _counters(pattern: str) -> list[Path]:
    return list(Path("/").glob(pattern.lstrip("/")))


def _counts() -> dict[str, int]:
    """How often clocks were lowered since the machine was started, by the reason."""
    totals = dict.fromkeys(THROTTLED, 0)
    for why, pattern in THROTTLED.items():
        for path in _counters(pattern):
            with suppress(OSError, ValueError):
                totals[why] += int(path.read_text())
    return totals
