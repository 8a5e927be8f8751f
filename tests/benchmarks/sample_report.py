"""A report of simulated contestants, made as latency.py makes it but without any process."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import report as reports
from benchmarks.harness.scenarios import MULTI, SCENARIOS, SERVER, Samples
from benchmarks.harness.turns import Load, Turn, Turns

SHARES = {
    "decode": 0.05,
    "prepare": 0.1,
    "network": 0.7,
    "finish": 0.05,
    "paste": 0.08,
    "other": 0.02,
}
LOAD = Load(streams=2, rate=10.0)


def turns(scenario: str, seconds: float, seed: int, number: int = 12) -> list[Turn]:
    """Turns of 20 queries of about `seconds` each."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(number):
        each = seconds * rng.lognormal(0, 0.05, 20) * (1 + 0.02 * rng.normal())
        pictures = 40 if scenario == MULTI else 20
        stages = [
            {name: share * value for name, share in SHARES.items()}
            for value in np.repeat(each, pictures // 20).tolist()
        ]
        starts = np.cumsum(each) - each
        if scenario == SERVER:
            starts = np.arange(20) / LOAD.rate
        samples = Samples(each.tolist(), stages, starts.tolist(), float(each.sum()), pictures)
        found.append(Turn(2.0 * k * samples.seconds, samples, {"CPU package-0": 30.0}))
    return found


def make(
    names: dict[str, float], scenarios: tuple[str, ...] = tuple(SCENARIOS), number: int = 12
) -> dict[str, Any]:
    """A report of contestants by name, with the seconds that each takes, of so many turns."""
    made: dict[str, Any] = {
        "schema": reports.SCHEMA, "version": reports.VERSION,
        "command": "python benchmarks/latency.py " + " ".join(names),
        "started": "2026-01-01T00:00:00+00:00", "interrupted": False,
        "environment": {
            "system": "Linux 6", "python": "3.11.7", "memory_bytes": 8e9, "device": None,
            "cpu": {
                "name": "A processor", "architecture": "x86_64", "cores": 2, "threads": 2,
                "mhz": 2500, "governor": "performance", "load": [0.1, 0.1, 0.1],
            },
            "power_mode": None, "gpus": [], "libraries": {"numpy": "2.0"}, "commit": "abc1234",
            "energy": ["CPU package-0"], "throttled": [],
        },
        "settings": {
            "scenarios": list(scenarios), "seconds": 10.0, "count": None, "streams": 2,
            "rate": 10.0, "output": "rle", "score_threshold": None, "warm_up": 30.0,
            "pictures": ["coins.png"],
        },
        "contestants": [
            {
                "name": name, "model": name, "commit": None, "opening": {},
                "model_sha256": "0" * 64, "backend": "onnxruntime cpu",
                "card": {"task": "proposals", "architecture": "small", "precision": "fp32"},
                "open_seconds": 0.2, "warm_up_calls": 10, "steady": True, "objects": [24],
                "agreement": {"objects": 24, "found_again": 23, "box": 0.12, "score": 1e-4}
                if k
                else None,
                "memory": {"rss": 1e8, "peak": 2e8, "device": None},
            }
            for k, name in enumerate(names)
        ],
        "results": [], "comparisons": [], "errors": [],
    }  # fmt: skip
    for scenario in scenarios:
        these: Turns = {
            name: turns(scenario, seconds, seed, number)
            for seed, (name, seconds) in enumerate(names.items())
        }
        made["results"] += [reports.result(n, scenario, t, LOAD) for n, t in these.items()]
        made["comparisons"] += reports.comparisons(scenario, these, LOAD)
    return made
