"""The contests of benchmarks/kernels.py, small, with the kernels compiled for the CPU."""

from __future__ import annotations

from pathlib import Path

from compiled import compile_plugins_for_cpu

from benchmarks.kernels import contests


def test_every_contest_agrees_with_torchvision(nvcc: str, headers: Path, tmp_path: Path) -> None:
    """So what is left to a GPU is the time."""
    host, library = compile_plugins_for_cpu(nvcc, headers, tmp_path)
    small = {"regions": 40, "channels": 16, "crowds": (1000,), "pictures": ((67, 93),)}
    for contest in contests(library, host, "cpu", **small):
        assert contest.difference <= contest.allowed, contest.name
