"""Typed graphs: fp16 or bf16 written into the ONNX, so that a strongly typed builder has no choice.

Layers that carry the work (convolutions, matrix products, and what lies between them) compute in
the low precision. What decides places and order stays in fp32: normalization of the pixels, scores
and their ranking, coordinates. A builder of TensorRT 11 takes the types as they stand; given an
fp32 graph it builds an fp32 engine without a word.

A graph that carries QuantizeLinear and DequantizeLinear has int8 layers already; what is not
between two of those is made fp16 like any other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.errors import ModelError
from export.functions import FIRST_ROWS, PAD_ROWS
from plugins import DOMAIN
from plugins.roi_align import op as roi_align

LARGEST_HALF = 65504.0
TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "int8": TensorProto.FLOAT16}
"""What layers are made that carry the work; int8 ones among them say so themselves."""
QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear"})
BF16_OPSET = 22
"""From it on ONNX's convolutions and poolings may be bf16; nothing else of it concerns us."""

# Where the arithmetic is: always low.
HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# On the way from one heavy layer to the next: low. Elsewhere (pixels before the first
# convolution, deltas that become boxes): fp32, as is every operator that is in neither set.
ARITHMETIC = {"Add", "Sub", "Mul", "Relu", "LeakyRelu", "Clip", "MaxPool", "AveragePool"}
CHOICES = {"Where", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
MOVES = {"Concat", "Expand", "Flatten", "Gather", "GatherND", "Identity", "Pad", "Reshape"}
MOVES |= {"Slice", "Split", "Squeeze", "Transpose", "Unsqueeze", "Resize", FIRST_ROWS, PAD_ROWS}
FOLLOWERS = frozenset(ARITHMETIC | CHOICES | MOVES | QUANTIZED)


@dataclass(frozen=True)
class TypedReport:
    """What `to_typed` did.

    Attributes:
        low_nodes: how many nodes compute in the low precision.
        islands: the nodes with float results that stay in fp32.
        kept: those of them that would have been made low, were it not for a value out of range.
    """

    low_nodes: int
    islands: list[str]
    kept: list[str]


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


def to_typed(
    proto: onnx.ModelProto, precision: str = "fp16", *, keep: Collection[str] = ()
) -> tuple[onnx.ModelProto, TypedReport]:
    """A copy that computes in a low precision where that is safe; inputs and outputs keep theirs.

    Args:
        proto: a graph in fp32.
        precision: "fp16", "bf16", or "int8" for a graph that was quantized.
        keep: names of nodes that stay in fp32 (`export.calibration` finds those that overflow);
            layers with a weight beyond fp16 stay there too.

    Raises:
        ModelError: int8 without quantized layers, or these with scales that fp16 does not have.
    """
    if precision == "int8" and not any(n.op_type in QUANTIZED for n in proto.graph.node):
        raise ModelError(
            "the model has no quantized layers (QuantizeLinear); quantize its ONNX file first, "
            "with onnxruntime.quantization.quantize_static or NVIDIA's modelopt, and build that"
        )
    low_type = TYPES[precision]
    followers = FOLLOWERS
    if precision != "bf16":  # neither our plugin nor its schema knows bf16
        followers |= {roi_align.NAME}
    model = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    graph = model.graph
    _fold_biases(graph)
    types = element_types(graph)
    weights = {t.name: t for t in graph.initializer}
    low: set[str] = set()  # values that are low now
    too_large: set[str] = set()  # and those that would not fit
    read_by_heavy = _towards_heavy(graph, followers)
    casts: dict[tuple[str, int], str] = {}
    nodes: list[onnx.NodeProto] = []
    count, islands, kept = 0, [], []

    def cast(name: str, to: int) -> str:
        """`name` in type `to`; made once."""
        if (name, to) not in casts:
            casts[name, to] = made = f"{name}_{'float' if to == TensorProto.FLOAT else 'half'}"
            if to == low_type and name in weights:
                graph.initializer.append(_low_weight(weights[name], made, low_type))
            else:
                nodes.append(helper.make_node("Cast", [name], [made], f"cast_{made}", to=to))
        return casts[name, to]

    for node in list(graph.node):
        floats = [k for k in _carrying(node) if types.get(node.input[k]) == TensorProto.FLOAT]
        ready = any(node.input[k] in low for k in floats)
        ready |= bool(floats) and all(node.input[k] in weights for k in floats)
        follows = node.op_type in followers and ready and not read_by_heavy.isdisjoint(node.output)
        wanted = node.op_type in HEAVY or follows
        own = [weights[node.input[k]] for k in floats if node.input[k] in weights]
        large = label(node) in keep or not too_large.isdisjoint(node.input)
        if wanted and (large or not all(_in_range(w, low_type, node) for w in own)):
            wanted = False
            kept.append(label(node))
        if label(node) in keep:
            too_large.update(node.output)
        if wanted:
            count += 1
            for k in floats:
                if node.input[k] not in low:
                    node.input[k] = cast(node.input[k], low_type)
            low.update(o for o in node.output if types.get(o) == TensorProto.FLOAT)
        else:
            for k in floats:
                if node.input[k] in low:
                    node.input[k] = cast(node.input[k], TensorProto.FLOAT)
            if any(types.get(o) == TensorProto.FLOAT for o in node.output):
                islands.append(label(node))
        nodes.append(node)

    if precision == "int8":
        _refuse_quantized_places(graph, islands)
    _keep_output_types(graph, nodes, low)
    _replace(graph.node, nodes)
    used = {name for node in nodes for name in node.input}
    _replace(graph.initializer, [t for t in graph.initializer if t.name in used])
    del graph.value_info[:]
    if precision == "bf16":
        set_opset(model, BF16_OPSET)
    onnx.checker.check_model(model)
    return model, TypedReport(count, islands, kept)


def label(node: onnx.NodeProto) -> str:
    """What to call a node: its name, or its first result's if it has none."""
    return node.name or node.output[0]


def _refuse_quantized_places(graph: onnx.GraphProto, islands: Collection[str]) -> None:
    """Refuse a file whose boxes or ranking are computed from 8-bit values.

    Raises:
        ModelError: names them. What a layer gives may be quantized; what is made of it may not.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    wrong = []
    for node in (n for n in graph.node if label(n) in islands):
        for name in node.input:
            dequantizes = made_by.get(name)
            if dequantizes is None or dequantizes.op_type != "DequantizeLinear":
                continue
            quantizes = made_by.get(dequantizes.input[0])
            before = made_by.get(quantizes.input[0]) if quantizes is not None else None
            if before is not None and label(before) in islands:
                wrong.append(f"{before.op_type} {label(before)}")
    if wrong:
        raise ModelError(
            f"what {len(wrong)} operators beside the layers give was quantized "
            f"({', '.join(dict.fromkeys(wrong[:3]))} ...), places and scores among it; quantize "
            'layers alone: quantize_static(..., op_types_to_quantize=["Conv", "Gemm"])'
        )


def _fold_biases(graph: onnx.GraphProto) -> None:
    """Dequantize int32 constants, as quantizers make of biases: TensorRT has 8-bit ones alone."""
    weights = {t.name: t for t in graph.initializer}
    kept = []
    for node in graph.node:
        bias = weights.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if bias is None or bias.data_type != TensorProto.INT32:
            kept.append(node)
            continue
        scale = numpy_helper.to_array(weights[node.input[1]])
        values = numpy_helper.to_array(bias).astype(np.float64) * scale
        folded = numpy_helper.from_array(values.astype(np.float32), node.output[0])
        graph.initializer.append(folded)
    _replace(graph.node, kept)


def _carrying(node: onnx.NodeProto) -> list[int]:
    """The inputs whose type is the node's own: coordinates and sizes beside them are not."""
    if node.op_type == roi_align.NAME:
        return list(range(1, len(node.input)))
    if node.op_type in ("Resize", PAD_ROWS):
        return [0]
    return list(range(len(node.input)))


def _towards_heavy(graph: onnx.GraphProto, followers: Collection[str]) -> set[str]:
    """Values that a heavy layer reads, itself or after operators that follow."""
    found: set[str] = set()
    for node in reversed(graph.node):
        follows = node.op_type in followers and not found.isdisjoint(node.output)
        if node.op_type in HEAVY or follows:
            found.update(node.input[k] for k in _carrying(node))
    return found


def _keep_output_types(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], low: set[str]) -> None:
    """Cast low results back under the name that the graph's output has."""
    for output in graph.output:
        if output.name in low:
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


def element_types(graph: onnx.GraphProto) -> dict[str, int]:
    """ONNX's element type of each value that is known: shapes must have been inferred."""
    types = {t.name: t.data_type for t in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def _in_range(tensor: TensorProto, low_type: int, node: onnx.NodeProto) -> bool:
    """Whether a weight survives; bf16 has the range of fp32.

    Raises:
        ModelError: a quantized layer's scale would become zero.
    """
    if low_type != TensorProto.FLOAT16:
        return True
    array = numpy_helper.to_array(tensor)
    if node.op_type in QUANTIZED and (array.astype(np.float16) == 0).any():
        raise ModelError(
            f"the scale {tensor.name} of {node.name} is {array.min():g} and fp16 has nothing so "
            "small; calibrate the model on pictures that it sees something in"
        )
    return bool(np.abs(array).max(initial=0) <= LARGEST_HALF)


def _low_weight(tensor: TensorProto, name: str, low_type: int) -> TensorProto:
    array = numpy_helper.to_array(tensor)
    if low_type == TensorProto.FLOAT16:
        return numpy_helper.from_array(array.astype(np.float16), name)
    # To the nearest of the upper 16 bits, halves to the even one; numpy has no bf16.
    bits = array.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    raw = rounded.astype(np.uint16).tobytes()
    return helper.make_tensor(name, low_type, array.shape, raw, raw=True)


def set_opset(model: onnx.ModelProto, version: int) -> None:
    """Say in place that a model and its functions are of a version of ONNX's operators."""
    for imports in (model.opset_import, *(f.opset_import for f in model.functions)):
        for opset in imports:
            if not opset.domain:
                opset.version = version


def _replace(field: object, items: list) -> None:  # type: ignore[type-arg]
    """Put `items` into a protobuf's repeated field in the place of what it had."""
    items = list(items)
    del field[:]  # type: ignore[attr-defined]
    field.extend(items)  # type: ignore[attr-defined]
