"""The paste kernel, run on the CPU thread by thread, against `engine.paste`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compiled import EMULATION, EXPORTED, compile_for_cpu
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BackendError, OptionError
from engine.paste import RULES as NAMES
from engine.paste import bitmaps
from plugins.paste.cases import scattered
from plugins.paste.launch import RULES, PasteKernel, Pasting

GUARD = 64
"""Bytes before and behind the output that nothing may touch."""


@pytest.fixture(scope="module")
def kernel(nvcc: str, tmp_path_factory: pytest.TempPathFactory) -> PasteKernel:
    """The kernel and its C function, compiled for the CPU."""
    output = tmp_path_factory.mktemp("paste") / "paste.so"
    return PasteKernel(compile_for_cpu(nvcc, output, [EMULATION / "paste.cpp", EXPORTED]))


def _pasted(
    kernel: PasteKernel,
    values: np.ndarray,
    boxes: np.ndarray,
    size: tuple[int, int],
    threshold: float,
    rule: str,
    *,
    packed: bool = False,
    count: int | None = None,
    shift: int = 0,
) -> np.ndarray:
    """Bool [N, H, W]; the output begins `shift` bytes behind a multiple of 16, and was not 0."""
    half = values.dtype == np.float16
    pasting = Pasting(len(values), values.shape[1], size, threshold, rule, packed, half)
    memory = np.full(pasting.bytes + 2 * GUARD + 16, 0xAB, np.uint8)
    begin = GUARD + -(memory.ctypes.data + GUARD) % 16 + shift
    counted = None if count is None else np.array([count], np.int32)
    kernel.enqueue(
        pasting, values.ctypes.data, boxes.ctypes.data, memory.ctypes.data + begin,
        count=0 if counted is None else counted.ctypes.data,
    )  # fmt: skip
    end = begin + pasting.bytes
    assert (memory[:begin] == 0xAB).all()
    assert (memory[end:] == 0xAB).all()
    masks, height, row = pasting.shape
    out = memory[begin:end].reshape(masks, height, 4 * row if packed else row)
    if packed:
        bits = np.unpackbits(out, axis=-1, bitorder="little")
        assert not bits[..., size[1] :].any()
        out = bits[..., : size[1]]
    assert out.max(initial=0) <= 1
    return out.astype(bool)


def _defined(*arguments: object) -> np.ndarray:
    # The definition's casts warn where a box is not finite.
    with np.errstate(all="ignore"):
        return bitmaps(*arguments)


def _agree(found: np.ndarray, *arguments: object) -> None:
    """Every pixel is the definition's, but for those within 1e-5 of the threshold."""
    values, boxes, size, threshold, rule = arguments
    surely = _defined(values, boxes, size, threshold + 1e-5, rule)
    perhaps = _defined(values, boxes, size, threshold - 1e-5, rule)
    np.testing.assert_array_equal(found | surely, found)
    np.testing.assert_array_equal(found & perhaps, found)


SPECIAL = [np.nan, np.inf, -np.inf, 1e30, -1e30, 1e9, -1e9, 1e-40, 0.5]
edges = st.one_of(st.floats(-60, 120, width=32), st.integers(-20, 80), st.sampled_from(SPECIAL))
lengths = st.one_of(
    st.floats(0, 100, width=32), st.floats(0, 2, width=32), st.floats(-3, 9000, width=32),
    st.integers(0, 30), st.sampled_from([0.0, 1e-6, 1e12, np.inf, np.nan]),
)  # fmt: skip


@st.composite
def _boxes(draw: st.DrawFn) -> np.ndarray:
    """Float32 [N, 4]: in the picture, over its border, outside, tiny, huge, flat, not finite."""
    made = []
    for _ in range(draw(st.integers(1, 6))):
        x, y, width, height = draw(edges), draw(edges), draw(lengths), draw(lengths)
        made.append([x, y, x + width, y + height])
    with np.errstate(over="ignore"):
        return np.array(made, np.float32)


sizes = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 70)),
    st.tuples(st.integers(60, 70), st.sampled_from([16, 33, 64, 255, 256, 257, 275])),
)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 1000), cells=st.sampled_from([1, 2, 3, 5, 9, 28]), boxes=_boxes(),
    size=sizes, rule=st.sampled_from(NAMES), packed=st.booleans(), half=st.booleans(),
    threshold=st.sampled_from([-1.0, 0.0, 0.25, 0.5]), shift=st.integers(0, 3),
)  # fmt: skip
def test_it_is_the_definition(
    kernel: PasteKernel, seed: int, cells: int, boxes: np.ndarray, size: tuple[int, int],
    rule: str, packed: bool, half: bool, threshold: float, shift: int,
) -> None:  # fmt: skip
    """Any boxes, sizes, rule, form and alignment; under a threshold of -1 lies every pixel."""
    values = np.random.default_rng(seed).random((len(boxes), cells, cells))
    values = values.astype(np.float16 if half else np.float32)
    given_ = values, boxes, size, threshold, rule
    _agree(_pasted(kernel, *given_, packed=packed, shift=4 * shift if packed else shift), *given_)


def _corners(grown: bool) -> np.ndarray:
    """Boxes float32 [600, 4] whose corners, or torchvision's grown ones, are nearly whole."""
    corners = np.random.default_rng(0).uniform(-10, 50, (600, 2, 2))
    corners[::2] = (corners[::2] * 2).round() / 2
    corners.sort(axis=1)
    centre = corners.mean(axis=1, keepdims=True)
    if grown:
        corners = centre + (corners - centre) / (16 / 14)
    return corners.reshape(-1, 4).astype(np.float32)


@pytest.mark.parametrize(
    ("rule", "grown"), [("centres", False), ("torchvision", True), ("detectron2", False)]
)
def test_the_pixels_that_count_are_the_same(kernel: PasteKernel, rule: str, grown: bool) -> None:
    """Where the last digit of a corner decides, too: no tolerance."""
    given_ = np.ones((600, 14, 14), np.float32), _corners(grown), (37, 41), -1.0, rule
    np.testing.assert_array_equal(_pasted(kernel, *given_, packed=True), _defined(*given_))


@pytest.mark.parametrize("rule", NAMES)
def test_boxes_that_are_none(kernel: PasteKernel, rule: str) -> None:
    """Not finite at either end, without a length, upside down, huge: as the definition has it."""
    ends = [-np.inf, -1e30, -1e9, -4.0, 3.0, 3.5, 7.0, 1e9, 1e30, np.inf, np.nan]
    boxes = np.array([[a, 2, b, 9] for a in ends for b in ends], np.float32)
    boxes = np.concatenate([boxes, boxes[:, [1, 0, 3, 2]]])
    values = np.random.default_rng(0).uniform(0.6, 1, (len(boxes), 5, 5)).astype(np.float32)
    for threshold in (-1.0, 0.2):
        given_ = values, boxes, (12, 11), threshold, rule
        np.testing.assert_array_equal(_pasted(kernel, *given_), _defined(*given_))


@pytest.mark.parametrize("size", [(130, 530), (65, 512)])
@pytest.mark.parametrize("rule", NAMES)
def test_tiles_join(kernel: PasteKernel, rule: str, size: tuple[int, int]) -> None:
    """Masks over several tiles, by bytes and by bits, at every alignment of a row."""
    values, boxes = scattered(4, 28, size)
    boxes[0] = [-30, -20, size[1] + 30, size[0] + 20]
    given_ = values, boxes, size, 0.5, rule
    found = _pasted(kernel, *given_)
    _agree(found, *given_)
    assert 0.05 < found.mean() < 0.9
    np.testing.assert_array_equal(found, _pasted(kernel, *given_, shift=5))
    np.testing.assert_array_equal(found, _pasted(kernel, *given_, packed=True))


@pytest.mark.parametrize("rule", NAMES)
def test_a_value_on_the_threshold(kernel: PasteKernel, rule: str) -> None:
    """Weights are eighths here, so nothing is rounded: detectron2 alone takes it."""
    values = np.full((1, 4, 4), 0.5, np.float32)
    given_ = values, np.array([[8, 8, 24, 24]], np.float32), (32, 32), 0.5, rule
    found = _pasted(kernel, *given_)
    assert found.any() == (rule == "detectron2")
    np.testing.assert_array_equal(found, _defined(*given_))


@pytest.mark.parametrize("rule", NAMES)
def test_logits(kernel: PasteKernel, rule: str) -> None:
    """Values of any size and sign, the threshold 0."""
    values = np.random.default_rng(0).normal(0, 1, (20, 56, 56)).astype(np.float32)
    boxes = scattered(20, 56, (50, 70))[1]
    given_ = values, boxes, (50, 70), 0.0, rule
    _agree(_pasted(kernel, *given_), *given_)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("count", [-1, 0, 1, 3, 4, 9])
def test_masks_past_the_count_have_no_pixels(kernel: PasteKernel, count: int, packed: bool) -> None:
    """Whatever their rows hold, their part of the output is written."""
    values, boxes = scattered(4, 7, (20, 50))
    boxes[3] = np.nan
    expected = bitmaps(values, boxes, (20, 50), 0.2, "centres")
    expected[max(count, 0) :] = False
    given_ = values, boxes, (20, 50), 0.2, "centres"
    found = _pasted(kernel, *given_, packed=packed, count=count)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [(0, 9), (9, 0), (9, 9)])
def test_nothing_is_a_result(kernel: PasteKernel, size: tuple[int, int]) -> None:
    """No masks, and pictures without pixels."""
    none = np.zeros((0, 7, 7), np.float32), np.zeros((0, 4), np.float32)
    assert _pasted(kernel, *none, size, 0.5, "centres").shape == (0, *size)
    if 0 in size:
        assert _pasted(kernel, *scattered(2, 7, (9, 9)), size, 0.5, "centres").shape == (2, *size)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"masks": -1}, "masks is -1; give a whole number from 0 on"),
        ({"cells": 0}, "cells is 0; give a whole number from 1 on"),
        ({"size": (5,)}, r"size is \(5,\); give a height and a width"),
        ({"size": (5, 1 << 25)}, r"size is \(5, 33554432\); give .* from 0 to 16777216"),
        ({"threshold": float("nan")}, "threshold is nan; give a number"),
        ({"rule": "center"}, "rule is 'center'; give one of centres, torchvision, detectron2"),
    ],
)
def test_wrong_options_are_refused(change: dict, said: str) -> None:
    """By name and value, before anything is loaded."""
    right = {"masks": 2, "cells": 7, "size": (9, 9), "threshold": 0.5, "rule": "centres"}
    with pytest.raises(OptionError, match=f"pasting: {said}"):
        Pasting(**right | change)


def test_wrong_addresses_are_refused(kernel: PasteKernel) -> None:
    """Those that are missing, and those that a GPU cannot read."""
    bits = Pasting(2, 7, (9, 9), 0.5, "centres", packed=True)
    for addresses, said in (
        ((0, 64, 64), "masks is 0x0"),
        ((64, 66, 64), "boxes is 0x42; give one on the device that is a multiple of 4"),
        ((64, 64, 65), "out is 0x41"),
        ((64, 64, -4), "out is -0x4"),
    ):
        with pytest.raises(OptionError, match=f"the address of {said}"):
            kernel.enqueue(bits, *addresses)
    with pytest.raises(OptionError, match="address of count is 0x3"):
        kernel.enqueue(bits, 64, 64, 64, count=3)
    many = Pasting(2**31 - 1, 7, (64, 257), 0.5, "centres")
    with pytest.raises(OptionError, match="2147483647 masks into 257 x 64 are too many"):
        kernel.enqueue(many, 64, 64, 64)


def test_the_c_function_checks_what_it_is_told(kernel: PasteKernel) -> None:
    """1 and nothing enqueued: C callers have no wrapper."""
    right = [64, 0, 64, 0, 2, 7, 9, 9, 0.5, 0, 0, 64, 0]
    wrong = {0: 0, 2: 0, 4: -1, 5: 0, 6: -1, 7: 1 << 25, 9: 3, 10: 2, 11: 0}
    for place, value in wrong.items():
        arguments = list(right)
        arguments[place] = value
        assert kernel._function(*arguments) == 1, place
    assert kernel._function(*[*right[:10], 1, 66, 0]) == 1
    assert kernel._function(*[0, 0, 0, 0, 0, *right[5:]]) == 0


def test_the_rules_are_the_definitions() -> None:
    """Their names, and their numbers in the header."""
    assert tuple(RULES) == NAMES
    header = (EXPORTED.parent / "maskrt_paste.h").read_text()
    for name, number in RULES.items():
        assert f"MASKRT_PASTE_{name.upper()} = {number}" in header


def test_a_library_without_it_is_said(tmp_path: Path) -> None:
    """An older library, or no library: the message names the file."""
    wrong = tmp_path / "wrong.so"
    wrong.write_bytes(b"no library")
    with pytest.raises(BackendError, match=r"wrong\.so has no paste kernel that can be loaded"):
        PasteKernel(wrong)
