"""The plugins through IPluginV3, with their kernels run on the CPU: no TensorRT, no GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import test_nms
import test_roi_align
from compiled import channels_last, compile_plugins_for_cpu

from engine.errors import OptionError
from plugins.host import FLOAT, HALF, HWC8, INT32, LINEAR, HostedPlugin, Tensor
from plugins.nms.op import NmsAttributes
from plugins.nms.reference import batched_nms
from plugins.roi_align.op import RoiAlignAttributes
from plugins.roi_align.reference import pyramid_roi_align

TYPES = {"float32": FLOAT, "float16": HALF, "int32": INT32}
NMS = NmsAttributes(0.5, 0.05, 10, 5).for_node()
ALIGN = RoiAlignAttributes(7, 2, aligned=False).for_node()


@pytest.fixture(scope="module")
def libraries(
    nvcc: str, headers: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The host, and the plugins with kernels for the CPU."""
    return compile_plugins_for_cpu(nvcc, headers, tmp_path_factory.mktemp("glue"))


def _tensor(array: np.ndarray) -> Tensor:
    return Tensor(array.shape, TYPES[array.dtype.name], LINEAR, array.ctypes.data)


def _run(plugin: HostedPlugin, inputs: list[Tensor], outputs: list[Tensor]) -> None:
    workspace = np.zeros(plugin.prepare(inputs, outputs) + 256, np.uint8)
    plugin.enqueue(-(-workspace.ctypes.data // 256) * 256)
    plugin.close()


@pytest.mark.parametrize("name", test_nms.CASES)
def test_nms_is_the_reference(libraries: tuple[Path, Path], name: str) -> None:
    """To the last bit, through fields that were written and read again."""
    boxes, scores, attributes = test_nms.CASES[name]
    boxes = np.ascontiguousarray(boxes)
    expected = batched_nms(boxes, scores, attributes)
    found = [np.full_like(array, 7) for array in expected]
    plugin = HostedPlugin(*libraries, "BatchedNms", attributes.for_node())
    _run(plugin, [_tensor(boxes), _tensor(scores)], [_tensor(array) for array in found])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("form", ["fp32", "fp16", "fp16 channels last"])
@pytest.mark.parametrize("name", test_roi_align.CASES)
def test_roi_align_is_the_reference(libraries: tuple[Path, Path], name: str, form: str) -> None:
    """Within 1e-5 in fp32, and within fp16's own rounding of the result in fp16."""
    boxes, features, attributes = test_roi_align.CASES[name]
    boxes = np.ascontiguousarray(boxes)
    typed = [f.astype(np.float32 if form == "fp32" else np.float16) for f in features]
    expected = pyramid_roi_align(boxes, [f.astype(np.float32) for f in typed], attributes)
    found = np.full(expected.shape, np.nan, typed[0].dtype)
    laid = [channels_last(f) for f in typed] if form.endswith("last") else typed
    layout = HWC8 if form.endswith("last") else LINEAR
    levels = [
        Tensor(f.shape, TYPES[f.dtype.name], layout, memory.ctypes.data)
        for f, memory in zip(typed, laid, strict=True)
    ]
    plugin = HostedPlugin(*libraries, "PyramidRoiAlign", attributes.for_node())
    _run(plugin, [_tensor(boxes), *levels], [_tensor(found)])
    close = {"atol": 1e-5, "rtol": 0} if form == "fp32" else {"atol": 1e-5, "rtol": 5e-4}
    np.testing.assert_allclose(found.astype(np.float32), expected, **close)


@pytest.mark.parametrize(
    ("op", "node", "change", "said"),
    [
        ("BatchedNms", NMS, {"iou_threshold": 1.5}, "iou_threshold is 1.5; give one float32"),
        ("BatchedNms", NMS, {"score_threshold": np.nan}, "score_threshold is nan; give"),
        ("BatchedNms", NMS, {"candidates": 20_001}, "candidates is 20001; give one int32"),
        ("BatchedNms", NMS, {"detections": 11}, "detections is 11; give at most as many"),
        ("BatchedNms", NMS, {"class_agnostic": 2}, "class_agnostic is 2; give"),
        ("BatchedNms", NMS, {"iou_threshold": 1}, "iou_threshold has no values of its type"),
        ("PyramidRoiAlign", ALIGN, {"strides": [4, 8, 8]}, "strides has 8 after 8; give rising"),
        ("PyramidRoiAlign", ALIGN, {"strides": list(range(1, 10))}, "strides has 9 values; give"),
        ("PyramidRoiAlign", ALIGN, {"output_size": 0}, "output_size is 0; give one int32 from 1"),
        ("PyramidRoiAlign", ALIGN, {"canonical_size": 0.0}, "canonical_size is 0; give"),
    ],
)
def test_wrong_attributes_are_refused_with_name_and_value(
    libraries: tuple[Path, Path], capfd: pytest.CaptureFixture[str],
    op: str, node: dict, change: dict, said: str,
) -> None:  # fmt: skip
    """No plugin is made, and standard error says which attribute is wrong, and what to give."""
    with pytest.raises(OptionError, match=f"does not make a {op}"):
        HostedPlugin(*libraries, op, node | change)
    assert f"maskrt: {op}: node built: {said}" in capfd.readouterr().err


@pytest.mark.parametrize("op", ["BatchedNms", "PyramidRoiAlign"])
def test_every_attribute_has_to_be_there(
    libraries: tuple[Path, Path], capfd: pytest.CaptureFixture[str], op: str
) -> None:
    """Leaving any of them out is said by its name."""
    node = NMS if op == "BatchedNms" else ALIGN
    for name in node:
        with pytest.raises(OptionError):
            HostedPlugin(*libraries, op, {k: v for k, v in node.items() if k != name})
        assert f"{name} is missing; give" in capfd.readouterr().err


def _outputs(batch: int = 1) -> list[Tensor]:
    shapes = [((batch, 5, 4), FLOAT), ((batch, 5), FLOAT), *[((batch, 5), INT32)] * 2]
    return [Tensor(shape, kind, LINEAR, 0) for shape, kind in [*shapes, ((batch,), INT32)]]


@pytest.mark.parametrize(
    ("shapes", "types", "said"),
    [
        (((1, 9, 4), (1, 8, 2)), (FLOAT, FLOAT), "boxes are [1, 9, 4] and scores [1, 8, 2]"),
        (((1, 9, 5), (1, 9, 2)), (FLOAT, FLOAT), "boxes are [1, 9, 5]"),
        (((1, 9, 3, 4), (1, 9, 2)), (FLOAT, FLOAT), "boxes are [1, 9, 3, 4]"),
        (((1, 9, 4), (1, 9, 2)), (HALF, FLOAT), "boxes or scores are not fp32"),
        (((1, 2**20, 4), (1, 2**20, 2**12)), (FLOAT, FLOAT), "too many pairs"),
    ],
)
def test_nms_refuses_wrong_inputs(
    libraries: tuple[Path, Path], capfd: pytest.CaptureFixture[str],
    shapes: tuple, types: tuple, said: str,
) -> None:  # fmt: skip
    """Shapes that do not belong together and types that lose pixels are named."""
    plugin = HostedPlugin(*libraries, "BatchedNms", NMS)
    inputs = [Tensor(s, t, LINEAR, 0) for s, t in zip(shapes, types, strict=True)]
    with pytest.raises(OptionError, match="refuses"):
        plugin.prepare(inputs, _outputs())
    assert said in capfd.readouterr().err
    plugin.close()


@pytest.mark.parametrize(
    ("boxes", "levels", "types", "said"),
    [
        ((1, 9, 5), 4, (FLOAT, HALF), "boxes are [1, 9, 5]; give [B, R, 4]"),
        ((2, 9, 4), 4, (FLOAT, HALF), "level 0 is [1, 8, 16, 16], the boxes [2, 9, 4]"),
        ((1, 9, 4), 3, (FLOAT, HALF), "4 inputs and 4 strides"),
        ((1, 9, 4), 4, (HALF, HALF), "boxes are not fp32"),
        ((1, 9, 4), 4, (FLOAT, INT32), "level 0 is not fp32 or fp16"),
    ],
)
def test_roi_align_refuses_wrong_inputs(
    libraries: tuple[Path, Path], capfd: pytest.CaptureFixture[str],
    boxes: tuple, levels: int, types: tuple, said: str,
) -> None:  # fmt: skip
    """Shapes that do not belong together and types that lose pixels are named."""
    plugin = HostedPlugin(*libraries, "PyramidRoiAlign", ALIGN)
    inputs = [Tensor(boxes, types[0], LINEAR, 0)]
    inputs += [Tensor((1, 8, 16 >> k, 16 >> k), types[1], LINEAR, 0) for k in range(levels)]
    with pytest.raises(OptionError, match="refuses"):
        plugin.prepare(inputs, [Tensor((*boxes[:2], 8, 7, 7), types[1], LINEAR, 0)])
    assert said in capfd.readouterr().err
    plugin.close()
