"""A typed graph's rounding on a runtime that has no right kernels for its types.

onnxruntime's CPU has no bf16 convolution, and its optimizer makes wrong sums of quantized layers
whose scales are fp16 (1.31: scores 0.3 off; without optimization they are right). Tensor cores
multiply low values, add in fp32 and round the sum; the same is an fp32 layer on rounded values
whose result is rounded.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.functions import OPSET
from export.precision import MOVES, element_types, set_opset

LOW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def emulated(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in fp32 and rounds to fp16 or bf16 wherever the graph holds these."""
    model = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    graph = model.graph
    types = element_types(graph)
    nodes: list[onnx.NodeProto] = []

    def rounded(name: str, to: str) -> None:
        low = f"{to}_rounded"
        nodes.append(helper.make_node("Cast", [name], [low], to=types[to]))
        nodes.append(helper.make_node("Cast", [low], [to], to=TensorProto.FLOAT))

    for node in list(graph.node):
        low = [k for k, name in enumerate(node.output) if types.get(name) in LOW]
        if node.op_type == "Cast" and low:
            rounded(node.input[0], node.output[0])
            continue
        nodes.append(node)
        if node.op_type not in MOVES:  # these only move values that are rounded already
            for k in low:
                name = node.output[k]
                node.output[k] = f"{name}_exact"
                rounded(node.output[k], name)
    del graph.node[:]
    graph.node.extend(nodes)
    for tensor in graph.initializer:
        if tensor.data_type in LOW:
            tensor.CopyFrom(numpy_helper.from_array(_as_fp32(tensor), tensor.name))
    del graph.value_info[:]
    set_opset(model, OPSET)  # onnxruntime has not every operator of the one that bf16 needs
    return model


def _as_fp32(tensor: TensorProto) -> np.ndarray:
    if tensor.data_type == TensorProto.FLOAT16:
        return numpy_helper.to_array(tensor).astype(np.float32)
    bits = np.frombuffer(tensor.raw_data, np.uint16).astype(np.uint32) << 16
    return bits.view(np.float32).reshape(tuple(tensor.dims))
