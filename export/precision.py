"""Typed graphs: fp16 written into the ONNX, so that a strongly typed builder has no choice.

Layers that carry the work (convolutions, matrix products, and what lies between them) compute in
fp16. What decides places and order stays in fp32: normalization of the pixels, scores and their
ranking, coordinates. A builder of TensorRT 11 takes the types as they stand; given an fp32 graph
it builds an fp32 engine without a word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.errors import ModelError
from export.models.rows import DOMAIN, FIRST_ROWS, PAD_ROWS
from plugins.roi_align import op as roi_align

LARGEST_HALF = 65504.0

# Where the arithmetic is: always fp16.
HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# On the way from one heavy layer to the next: fp16. Elsewhere (pixels before the first
# convolution, deltas that become boxes): fp32, as is every operator that is in neither set.
ARITHMETIC = {"Add", "Sub", "Mul", "Relu", "LeakyRelu", "Clip", "MaxPool", "AveragePool"}
CHOICES = {"Where", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
MOVES = {"Concat", "Expand", "Flatten", "Gather", "GatherND", "Identity", "Pad", "Reshape"}
MOVES |= {"Slice", "Split", "Squeeze", "Transpose", "Unsqueeze", "Resize", FIRST_ROWS, PAD_ROWS}
FOLLOWERS = frozenset(ARITHMETIC | CHOICES | MOVES | {roi_align.NAME})


@dataclass(frozen=True)
class HalfReport:
    """What `to_half` did: how many nodes compute in fp16, and which float nodes do not."""

    half_nodes: int
    islands: list[str]


def without_row_cuts(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose heads run on all N rows: no shape in it depends on the data.

    Rows past `count` then hold windows that were not counted, not zeros.
    """
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    cuts = {FIRST_ROWS, PAD_ROWS}
    instead: dict[str, str] = {}
    kept = []
    for node in result.graph.node:
        for k, name in enumerate(node.input):
            node.input[k] = instead.get(name, name)
        if node.domain == DOMAIN and node.op_type in cuts:
            instead[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    _replace(result.graph.node, kept)
    _replace(result.functions, [f for f in result.functions if f.name not in cuts])
    if not result.functions:
        _replace(result.opset_import, [o for o in result.opset_import if o.domain != DOMAIN])
    return result


def to_half(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, HalfReport]:
    """A copy that computes in fp16 where that is safe; inputs and outputs keep their types.

    Raises:
        ModelError: a weight is too large for fp16.
    """
    model = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    graph = model.graph
    types = _element_types(graph)
    weights = {t.name: t for t in graph.initializer}
    half: set[str] = set()  # values that are fp16 now
    read_by_heavy = _towards_heavy(graph)
    casts: dict[tuple[str, int], str] = {}
    nodes: list[onnx.NodeProto] = []
    count, islands = 0, []

    def cast(name: str, to: int) -> str:
        """`name` in type `to`; made once."""
        if (name, to) not in casts:
            casts[name, to] = made = f"{name}_{'half' if to == TensorProto.FLOAT16 else 'float'}"
            if to == TensorProto.FLOAT16 and name in weights:
                graph.initializer.append(_half_weight(weights[name], made))
            else:
                nodes.append(helper.make_node("Cast", [name], [made], f"cast_{made}", to=to))
        return casts[name, to]

    for node in list(graph.node):
        floats = [k for k in _carrying(node) if types.get(node.input[k]) == TensorProto.FLOAT]
        ready = any(node.input[k] in half for k in floats)
        ready |= bool(floats) and all(node.input[k] in weights for k in floats)
        follows = node.op_type in FOLLOWERS and ready and not read_by_heavy.isdisjoint(node.output)
        if node.op_type in HEAVY or follows:
            count += 1
            for k in floats:
                if node.input[k] not in half:
                    node.input[k] = cast(node.input[k], TensorProto.FLOAT16)
            half.update(o for o in node.output if types.get(o) == TensorProto.FLOAT)
        else:
            for k in floats:
                if node.input[k] in half:
                    node.input[k] = cast(node.input[k], TensorProto.FLOAT)
            if any(types.get(o) == TensorProto.FLOAT for o in node.output):
                islands.append(f"{node.op_type} {node.name}".strip())
        nodes.append(node)

    _keep_output_types(graph, nodes, half)
    _replace(graph.node, nodes)
    used = {name for node in nodes for name in node.input}
    _replace(graph.initializer, [t for t in graph.initializer if t.name in used])
    del graph.value_info[:]
    onnx.checker.check_model(model)
    return model, HalfReport(count, islands)


def _carrying(node: onnx.NodeProto) -> list[int]:
    """The inputs whose type is the node's own: coordinates and sizes beside them are not."""
    if node.op_type == roi_align.NAME:
        return list(range(1, len(node.input)))
    if node.op_type in ("Resize", PAD_ROWS):
        return [0]
    return list(range(len(node.input)))


def _towards_heavy(graph: onnx.GraphProto) -> set[str]:
    """Values that a heavy layer reads, itself or after operators that follow."""
    found: set[str] = set()
    for node in reversed(graph.node):
        follows = node.op_type in FOLLOWERS and not found.isdisjoint(node.output)
        if node.op_type in HEAVY or follows:
            found.update(node.input[k] for k in _carrying(node))
    return found


def _keep_output_types(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], half: set[str]) -> None:
    """Cast fp16 results back under the name that the graph's output has."""
    for output in graph.output:
        if output.name in half:
            inner = f"{output.name}_half"
            for node in nodes:
                for names in (node.input, node.output):
                    for k, name in enumerate(names):
                        if name == output.name:
                            names[k] = inner
            to = TensorProto.FLOAT
            nodes.append(
                helper.make_node("Cast", [inner], [output.name], f"cast_{output.name}", to=to)
            )


def _element_types(graph: onnx.GraphProto) -> dict[str, int]:
    types = {t.name: t.data_type for t in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def _half_weight(tensor: TensorProto, name: str) -> TensorProto:
    array = numpy_helper.to_array(tensor)
    largest = float(np.abs(array).max(initial=0))
    if not largest <= LARGEST_HALF:
        raise ModelError(
            f"the weight {tensor.name} reaches {largest:g} and fp16 ends at {LARGEST_HALF:g}; "
            "build with --precision fp32"
        )
    return numpy_helper.from_array(array.astype(np.float16), name)


def _replace(field: object, items: list) -> None:  # type: ignore[type-arg]
    """Put `items` into a protobuf's repeated field in the place of what it had."""
    items = list(items)
    del field[:]  # type: ignore[attr-defined]
    field.extend(items)  # type: ignore[attr-defined]
