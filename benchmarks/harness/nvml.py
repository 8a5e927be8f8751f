"""NVIDIA's management library, where there are its binding, a driver and a GPU."""

from __future__ import annotations

from typing import Any


def open_nvml() -> tuple[Any, list[Any]]:
    """The binding, None where it is not installed, and a handle of each GPU."""
    try:
        import pynvml
    except ImportError:
        return None, []
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        return pynvml, [pynvml.nvmlDeviceGetHandleByIndex(k) for k in range(count)]
    except pynvml.NVMLError:
        return pynvml, []
