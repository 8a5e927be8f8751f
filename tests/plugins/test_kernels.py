"""The CUDA kernels: compiled for every GPU, and run on the CPU, thread by thread, on every case."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import test_nms
import test_roi_align
from compiled import EMULATION, channels_last, compile_for_cpu

from plugins.nms.reference import batched_nms
from plugins.roi_align.reference import pyramid_roi_align

ROOT = Path(__file__).resolve().parent.parent.parent
KERNELS = sorted((ROOT / "plugins").glob("*/*.cu"))
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 110, 120)
STRICT = ["-std=c++17", "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror"]


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.fixture(scope="module")
def emulated(nvcc: str, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernels as functions that run on the CPU."""
    output = tmp_path_factory.mktemp("emulated") / "kernels.so"
    return ctypes.CDLL(str(compile_for_cpu(nvcc, output, sorted(EMULATION.glob("*.cpp")))))


@pytest.mark.parametrize("name", test_nms.CASES)
def test_the_nms_kernels_are_the_reference(emulated: ctypes.CDLL, name: str) -> None:
    """Boxes, scores, classes, indices and counts are the same, to the last bit."""
    boxes, scores, attributes = test_nms.CASES[name]
    boxes = np.ascontiguousarray(boxes)
    expected = batched_nms(boxes, scores, attributes)
    found = [np.empty_like(array) for array in expected]
    per_class, agnostic = boxes.ndim == 4, attributes.class_agnostic
    counts = attributes.candidates, attributes.detections
    whole = np.array([*scores.shape, per_class, *counts, agnostic], np.int32)
    node = attributes.for_node()
    code = emulated.nms(
        _pointer(whole), ctypes.c_float(node["iou_threshold"]),
        ctypes.c_float(node["score_threshold"]), _pointer(boxes), _pointer(scores),
        *map(_pointer, found),
    )  # fmt: skip
    assert code == 0
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("form", ["fp32", "fp16", "fp16 channels last"])
@pytest.mark.parametrize("name", test_roi_align.CASES)
def test_the_roi_align_kernels_are_the_reference(
    emulated: ctypes.CDLL, name: str, form: str
) -> None:
    """Within 1e-5 in fp32, and within fp16's own rounding of the result in fp16."""
    boxes, features, attributes = test_roi_align.CASES[name]
    boxes = np.ascontiguousarray(boxes)
    dtype = np.float32 if form == "fp32" else np.float16
    typed = [f.astype(dtype) for f in features]
    expected = pyramid_roi_align(boxes, [f.astype(np.float32) for f in typed], attributes)
    laid = [channels_last(f) for f in typed] if form.endswith("last") else typed
    found = np.empty(expected.shape, dtype)
    pictures, regions = boxes.shape[:2]
    whole = np.array(
        [
            pictures, regions, features[0].shape[1], attributes.output_size,
            attributes.sampling_ratio, attributes.aligned, len(laid), attributes.finest_level,
            attributes.canonical_level, form != "fp32", form.endswith("last"),
        ],
        np.int32,
    )  # fmt: skip
    real = np.array(
        [attributes.canonical_size, attributes.eps_ratio, attributes.eps_level], np.float32
    )
    sizes = [[*f.shape[2:], stride] for f, stride in zip(features, attributes.strides, strict=True)]
    pointers = (ctypes.c_void_p * len(laid))(*[f.ctypes.data for f in laid])
    code = emulated.roiAlign(
        _pointer(whole), _pointer(real), pointers, _pointer(np.array(sizes, np.int32)),
        _pointer(boxes), _pointer(found),
    )  # fmt: skip
    assert code == 0
    close = {"atol": 1e-5, "rtol": 0} if form == "fp32" else {"atol": 1e-5, "rtol": 5e-4}
    np.testing.assert_allclose(found.astype(np.float32), expected, **close)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda path: path.name)
def test_nvcc_takes_them_without_a_warning(nvcc: str, kernel: Path, tmp_path: Path) -> None:
    """Every architecture from Turing to Blackwell, warnings as errors; no register is spilt."""
    code = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    command = [nvcc, *STRICT, "-Xptxas", "-v", "-c", str(kernel), "-o", str(tmp_path / "x.o")]
    done = subprocess.run([*command, *code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = _ours(done.stderr)
    for name, architecture, registers, spills in ours:
        print(f"{kernel.name} {name} sm_{architecture}: {registers} registers")
        assert spills == 0, name
    # The sort's kernels are CUB's: it has none of ours.
    assert len(ours) >= len(ARCHITECTURES) or kernel.name == "nms_sort.cu"


def _ours(log: str) -> list[tuple[str, int, int, int]]:
    """Kernel, architecture, registers and spilt bytes of each entry of our namespace."""
    pattern = (
        r"Compiling entry function '(\w*6maskrt\w*)' for 'sm_(\d+)'"
        r".*?(\d+) bytes spill stores.*?Used (\d+) registers"
    )
    entries = re.findall(pattern, log, re.DOTALL)
    return [(n, int(a), int(r), int(s)) for n, a, s, r in entries if "cub" not in n]
