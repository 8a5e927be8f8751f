"""What machines tell of themselves, with files in the place of a machine's."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from benchmarks.harness import sensors
from benchmarks.harness.environment import environment
from benchmarks.harness.rails import Rails
from benchmarks.harness.report import result
from benchmarks.harness.scenarios import SINGLE, Samples
from benchmarks.harness.turns import Load, Turn


def test_the_environment_is_json() -> None:
    """Whatever the machine lacks is None or absent, never an error; no folders are told."""
    text = json.dumps(environment())
    assert str(Path(__file__).resolve().parents[2]) not in text
    assert json.loads(text)["cpu"]["threads"] >= 1


def test_rails_are_summed_up(tmp_path: Path) -> None:
    """5 V and 2 A are 10 W: after a third of a second some 3 J."""
    folder = tmp_path / "1-0040" / "hwmon" / "hwmon3"
    folder.mkdir(parents=True)
    for name, text in {
        "in1_label": "VDD_IN\n", "in1_input": "5000\n", "curr1_input": "2000\n",
        "in7_label": "sum of shunt voltages\n",
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    rails = Rails(tmp_path)
    start = time.monotonic()
    before = rails.joules()
    least = time.monotonic()
    time.sleep(0.3)
    least = time.monotonic() - least
    after = rails.joules()
    most = time.monotonic() - start
    assert set(after) == {"VDD_IN"}
    assert 10 * least * 0.8 < after["VDD_IN"] - before["VDD_IN"] < 10 * most * 1.2
    assert Rails(tmp_path / "nowhere").joules() == {}


def test_a_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it counted in a turn; nothing if it began anew; throttling is noticed."""
    folder = tmp_path / "intel-rapl:0"
    folder.mkdir()
    (folder / "name").write_text("package-0\n")
    throttled = tmp_path / "count"
    monkeypatch.setattr(sensors, "RAPL", tmp_path)
    throttled.write_text("0\n")
    monkeypatch.setattr(sensors, "THROTTLED", {"CPU: temperature": str(throttled)})
    found = sensors.Sensors()

    def around(before: int, after: int, slowed: int) -> dict[str, float]:
        (folder / "energy_uj").write_text(f"{before}\n")
        throttled.write_text("0\n")
        with found.around() as taken:
            (folder / "energy_uj").write_text(f"{after}\n")
            throttled.write_text(f"{slowed}\n")
        return {name: joules for name, joules in taken.items() if name.startswith("CPU")}

    assert around(1_000_000, 3_500_000, 0) == {"CPU package-0": 2.5}
    assert around(9_000_000, 1_000_000, 0) == {}
    assert found.throttled == set()
    around(0, 0, 4)
    assert found.throttled == {"CPU: temperature"}
    throttled.unlink()
    assert sensors.Sensors().throttled is None or sensors.Sensors()._handles


def test_energy_of_a_picture() -> None:
    """Of the turns in which a counter told something."""
    samples = Samples([0.1] * 4, [{"network": 0.1}] * 4, [0.0] * 4, 0.4, 4)
    turns = [Turn(0, samples, {"x": 8.0}), Turn(1, samples, {}), Turn(2, samples, {"x": 4.0})]
    assert result("a", SINGLE, turns, Load())["energy_joules_per_picture"] == {"x": 1.5}
    samples.uncounted = 2  # before and after these; the counters have seen them
    assert result("a", SINGLE, turns, Load())["energy_joules_per_picture"] == {"x": 1.0}
    assert result("a", SINGLE, turns[1:2], Load())["energy_joules_per_picture"] is None


def test_memory() -> None:
    """Of this process: something, and not more than its peak."""
    told = sensors.memory(os.getpid())
    assert told["rss"]
    assert told["peak"] is None or told["rss"] <= 1.1 * told["peak"]
    assert sensors.memory(2**30) == {"rss": None, "peak": None}
