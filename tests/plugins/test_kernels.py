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

from plugins.nms.cases import Case, crowd
from plugins.nms.op import LARGEST_CANDIDATES
from plugins.nms.reference import Detections, batched_nms, greedy
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


def _emulated_nms(kernels: ctypes.CDLL, case: Case) -> Detections:
    boxes, scores, attributes = np.ascontiguousarray(case.boxes), case.scores, case.attributes
    pictures, detections = len(scores), attributes.detections
    found = Detections(
        np.full((pictures, detections, 4), 7, np.float32),
        np.full((pictures, detections), 7, np.float32),
        np.full((pictures, detections), 7, np.int32),
        np.full((pictures, detections), 7, np.int32),
        np.full(pictures, 7, np.int32),
    )
    counts = attributes.candidates, detections, attributes.class_agnostic
    whole = np.array([*scores.shape, boxes.ndim == 4, *counts], np.int32)
    node = attributes.for_node()
    code = kernels.nms(
        _pointer(whole), ctypes.c_float(node["iou_threshold"]),
        ctypes.c_float(node["score_threshold"]), _pointer(boxes), _pointer(scores),
        *map(_pointer, found),
    )  # fmt: skip
    assert code == 0
    return found


@pytest.mark.parametrize("name", test_nms.CASES)
def test_the_nms_kernels_are_the_reference(emulated: ctypes.CDLL, name: str) -> None:
    """Boxes, scores, classes, indices and counts are the same, to the last bit."""
    case = test_nms.CASES[name]
    for a, b in zip(_emulated_nms(emulated, case), batched_nms(*case), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_the_nms_kernels_on_twenty_thousand_boxes(emulated: ctypes.CDLL) -> None:
    """As many candidates as a node may have: the boxes that greedy NMS keeps, in its order."""
    case = crowd(LARGEST_CANDIDATES)
    found = _emulated_nms(emulated, case)
    kept = greedy(case.boxes[0], case.scores[0, :, 0], case.attributes.for_node()["iou_threshold"])
    assert 1000 < len(kept) < LARGEST_CANDIDATES
    assert found.count[0] == len(kept)
    np.testing.assert_array_equal(found.indices[0, : len(kept)], kept)


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
def test_nvcc_takes_them_without_a_warning(
    nvcc: str, kernel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every architecture from Turing to Blackwell, warnings as errors; no register is spilt."""
    code = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    # The sort's kernels are CUB's: it has none of ours, and so many that all cores are needed.
    sort = kernel.name == "nms_sort.cu"
    code += ["--threads", "0"] if sort else ["-Xptxas", "-v"]
    command = [nvcc, *STRICT, "-c", str(kernel), "-o", str(tmp_path / "x.o"), *code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = _ours(done.stderr)
    with capsys.disabled():
        for name, architecture, registers, spills in ours:
            print(
                f"\n{name} sm_{architecture}: {registers} registers, {spills} bytes spilt", end=""
            )
    assert all(spills == 0 for _, _, _, spills in ours)
    assert len(ours) >= len(ARCHITECTURES) or sort


def _ours(log: str) -> list[tuple[str, int, int, int]]:
    """Kernel, architecture, registers and spilt bytes of each entry of our namespace."""
    pattern = (
        r"Compiling entry function '(\w*6maskrt\w*)' for 'sm_(\d+)'"
        r".*?(\d+) bytes spill stores.*?Used (\d+) registers"
    )
    entries = re.findall(pattern, log, re.DOTALL)
    return [(_plain(n), int(a), int(r), int(s)) for n, a, s, r in entries if "cub" not in n]


def _plain(mangled: str) -> str:
    """A kernel's own name and element type out of a mangled one (binutils, as the compiler has)."""
    found = subprocess.run(["c++filt", "-p", mangled], capture_output=True, text=True, check=True)
    return found.stdout.strip().rpartition("::")[2]
