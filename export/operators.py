"""The operators of `plugins/` in PyTorch: what a model calls, and the node that export writes.

Run eagerly, an operator runs its own ONNX definition on onnxruntime, on the CPU: there is no second
implementation that could differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnxruntime as ort
import torch
from onnx import helper
from onnxscript.values import Op, Opset
from torch import Tensor

import plugins
from export.functions import OPSET, body_of
from plugins.nms import op as nms
from plugins.nms.op import NmsAttributes
from plugins.roi_align import op as roi_align
from plugins.roi_align.op import RoiAlignAttributes


def batched_nms(boxes: Tensor, scores: Tensor, attributes: NmsAttributes) -> tuple[Tensor, ...]:
    """Greedy NMS of each picture and class; fixed shapes out (plugins/nms/README.md).

    Args:
        boxes: float32 [B, N, 4] xyxy, or [B, N, C, 4] with one box a class.
        scores: float32 [B, N, C].
        attributes: see there.

    Returns:
        boxes [B, K, 4], scores [B, K], classes int32 [B, K], rows int32 [B, K] and how many are
        real, int32 [B]. The rest is zeros, with class and row -1.
    """
    return torch.ops.maskrt.batched_nms(boxes, scores, *astuple(attributes))


def pyramid_roi_align(
    boxes: Tensor, features: Sequence[Tensor], attributes: RoiAlignAttributes
) -> Tensor:
    """RoIAlign of each region on the level that fits its size (plugins/roi_align/README.md).

    Args:
        boxes: float32 [B, R, 4] xyxy in picture pixels.
        features: one [B, C, H, W] for each stride in the attributes, float32 or float16.
        attributes: see there.

    Returns:
        [B, R, C, S, S], of the features' type.

    Raises:
        engine.OptionError: as many levels as strides are wanted.
    """
    attributes.check_levels(len(features))
    values = attributes.for_node()
    return torch.ops.maskrt.pyramid_roi_align(boxes, list(features), *values.values())


@torch.library.custom_op("maskrt::batched_nms", mutates_args=())
def _batched_nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float,
    candidates: int, detections: int, class_agnostic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    attributes = NmsAttributes(
        iou_threshold, score_threshold, candidates, detections, class_agnostic
    )
    found = _run(nms.NAME, attributes.for_node(), boxes, scores)
    return tuple(found)  # type: ignore[return-value]


@_batched_nms.register_fake
def _(
    boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float,
    candidates: int, detections: int, class_agnostic: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    some = (scores.shape[0], detections)
    whole = {"dtype": torch.int32}
    return (
        boxes.new_empty((*some, 4)), scores.new_empty(some), scores.new_empty(some, **whole),
        scores.new_empty(some, **whole), scores.new_empty(some[:1], **whole),
    )  # fmt: skip


@torch.library.custom_op("maskrt::pyramid_roi_align", mutates_args=())
def _pyramid_roi_align(
    boxes: Tensor, features: list[Tensor], output_size: int, sampling_ratio: int, aligned: int,
    strides: list[int], finest_level: int, canonical_size: float, canonical_level: int,
    eps_ratio: float, eps_level: float,
) -> Tensor:  # fmt: skip
    attributes = RoiAlignAttributes(
        output_size, sampling_ratio, bool(aligned), tuple(strides), finest_level, canonical_size,
        canonical_level, eps_ratio, eps_level,
    )  # fmt: skip
    return _run(roi_align.NAME, attributes.for_node(), boxes, *features)[0]


@_pyramid_roi_align.register_fake
def _(boxes: Tensor, features: list[Tensor], output_size: int, *_: object) -> Tensor:
    shape = (boxes.shape[0], boxes.shape[1], features[0].shape[1], output_size, output_size)
    return features[0].new_empty(shape)


def session_of(
    name: str, attributes: Mapping[str, Any], inputs: Sequence[np.ndarray]
) -> ort.InferenceSession:
    """An operator alone, on onnxruntime: inputs i0, i1, ... of these types and ranks, any size.

    Args:
        name: of the operator.
        attributes: as its node has them.
        inputs: examples.
    """
    values = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in attributes.items())
    return _session(name, values, tuple((array.dtype.str, array.ndim) for array in inputs))


def _run(name: str, attributes: Mapping[str, Any], *inputs: Tensor) -> list[Tensor]:
    arrays = [np.ascontiguousarray(tensor.detach().cpu().numpy()) for tensor in inputs]
    session = session_of(name, attributes, arrays)
    feeds = {f"i{k}": array for k, array in enumerate(arrays)}
    return [torch.from_numpy(found).to(inputs[0].device) for found in session.run(None, feeds)]


@lru_cache(maxsize=32)
def _session(
    name: str, attributes: tuple[tuple[str, Any], ...], kinds: tuple[tuple[str, int], ...]
) -> ort.InferenceSession:
    outputs = [f"o{k}" for k in range(5 if name == nms.NAME else 1)]
    inputs = [f"i{k}" for k in range(len(kinds))]
    node = helper.make_node(name, inputs, outputs, domain=plugins.DOMAIN, **dict(attributes))
    types = [helper.np_dtype_to_tensor_dtype(np.dtype(dtype)) for dtype, _ in kinds]
    graph = helper.make_graph(
        [node],
        name,
        [
            helper.make_tensor_value_info(key, kind, [None] * rank)
            for key, kind, (_, rank) in zip(inputs, types, kinds, strict=True)
        ],
        [helper.make_empty_tensor_value_info(output) for output in outputs],
    )
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(plugins.DOMAIN, 1)]
    bodies = [body_of(node)]
    model = helper.make_model(graph, functions=bodies, opset_imports=imports, ir_version=10)
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns of what nobody reads
    inlined = onnx.inliner.inline_local_functions(model)
    return ort.InferenceSession(inlined.SerializeToString(), options)


def _writer(schema: onnx.defs.OpSchema) -> Op:
    return Op(Opset(plugins.DOMAIN, 1), schema.name, schema)


def _write_nms(
    boxes: Any, scores: Any, iou_threshold: float, score_threshold: float,
    candidates: int, detections: int, class_agnostic: bool,
) -> Any:  # fmt: skip
    attributes = NmsAttributes(
        iou_threshold, score_threshold, candidates, detections, class_agnostic
    )
    return _writer(nms.schema())(boxes, scores, **attributes.for_node())


def _write_roi_align(boxes: Any, features: Sequence[Any], *values: Any) -> Any:
    names = RoiAlignAttributes.__dataclass_fields__
    attributes = dict(zip(names, values, strict=True))
    # The exporter gives a variadic input all arguments, those before it too: name each level.
    return _writer(roi_align.schema(len(features)))(boxes, *features, **attributes)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.maskrt.batched_nms.default: _write_nms,
    torch.ops.maskrt.pyramid_roi_align.default: _write_roi_align,
}
"""For `torch.onnx.export(custom_translation_table=...)`."""
