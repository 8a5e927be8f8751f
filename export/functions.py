"""Definitions of our operators that a model carries with it, as model-local functions."""

from __future__ import annotations

import onnx

import plugins
from engine.errors import ModelError
from plugins import DOMAIN

OPSET = 20
FIRST_ROWS, PAD_ROWS = "FirstRows", "PadRows"

ROWS = {
    FIRST_ROWS: onnx.parser.parse_function(
        """
        <domain: "maskrt", opset_import: ["" : 18]>
        FirstRows (rows, count) => (first) {
            zero = Constant <value_ints = [0]> ()
            end = Cast <to = 7> (count)
            first = Slice (rows, zero, end)
        }
        """
    ),
    PAD_ROWS: onnx.parser.parse_function(
        """
        <domain: "maskrt", opset_import: ["" : 18]>
        PadRows (rows, like) => (padded) {
            zero = Constant <value_ints = [0]> ()
            have = Shape <start = 0, end = 1> (rows)
            want = Shape <start = 0, end = 1> (like)
            missing = Sub (want, have)
            pads = Concat <axis = 0> (zero, zero, missing, zero)
            padded = Pad (rows, pads)
        }
        """
    ),
}


def body_of(node: onnx.NodeProto, target: str = "onnxruntime") -> onnx.FunctionProto:
    """The definition that fits a node of ours: its levels, and whether it is aligned."""
    levels = max(1, len(node.input) - 1)
    aligned = any(a.name == "aligned" and a.i for a in node.attribute)
    return plugins.functions(target, levels=levels, aligned=aligned)[node.op_type]


def add_bodies(proto: onnx.ModelProto, target: str = "onnxruntime") -> None:
    """Give each of our operators that a model has its definition, as a model-local function.

    Args:
        proto: a model without functions.
        target: what will run it, as in `plugins.functions`.

    Raises:
        ModelError: two nodes of an operator need different bodies, and a model holds one.
    """
    imports = {opset.domain: opset for opset in proto.opset_import}
    bodies: dict[str, onnx.FunctionProto] = {}
    for node in proto.graph.node:
        if node.domain != DOMAIN:
            continue
        body = ROWS[node.op_type] if node.op_type in ROWS else body_of(node, target)
        if bodies.setdefault(node.op_type, body) != body:
            raise ModelError(
                f"the model's {node.op_type} nodes have different levels or differ in aligned; "
                "make them alike"
            )
    for name in sorted(bodies):
        function = proto.functions.add()
        function.CopyFrom(bodies[name])
        # A body must import the opset of the model that it stands in.
        function.opset_import[0].version = imports[""].version
        imports[DOMAIN].version = 1
