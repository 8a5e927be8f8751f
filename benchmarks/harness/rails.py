"""The energy of a Jetson's supply rails, from the power monitors on its board.

They tell volts and amperes of a moment, so that these are read ten times a second and summed up.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

MONITORS = Path("/sys/bus/i2c/drivers/ina3221")
PERIOD = 0.1


class Rails:
    """Joules of each rail since this was made; nothing happens where there is no monitor.

    Args:
        root: the driver's folder: `*/hwmon/hwmon*/in1_label`, `in1_input` in millivolts,
            `curr1_input` in milliamperes (NVIDIA Jetson Linux Developer Guide, "Power").
    """

    def __init__(self, root: Path = MONITORS) -> None:
        self._rails = {
            path.read_text().strip(): (path.with_name(f"in{number}_input"), current)
            for path in sorted(root.glob("*/hwmon/hwmon*/in?_label"))
            if (number := path.name[2])
            and (current := path.with_name(f"curr{number}_input")).exists()
        }
        self._joules: dict[str, float] = {}
        self._lock = threading.Lock()
        self._then = time.monotonic()
        if self._rails:
            self.joules()
            threading.Thread(target=self._watch, daemon=True).start()

    def joules(self) -> dict[str, float]:
        """By the rail's name; watts of now are taken for the time since they were last read."""
        with self._lock:
            now = time.monotonic()
            for name, (volts, amperes) in self._rails.items():
                with suppress(OSError, ValueError):
                    watts = int(volts.read_text()) * int(amperes.read_text()) / 1e6
                    taken = self._joules.get(name, 0.0) + watts * (now - self._then)
                    self._joules[name] = taken
            self._then = now
            return dict(self._joules)

    def _watch(self) -> None:
        while True:
            time.sleep(PERIOD)
            self.joules()
