"""A typed graph as TensorRT takes it: fixed rows, and our operators as plugins or as bodies."""

from __future__ import annotations

import onnx
from onnx import helper

import plugins
from export.operators import body_of
from export.precision import without_row_cuts
from plugins.library import OPERATORS, VERSION


def for_tensorrt(proto: onnx.ModelProto, *, with_plugins: bool) -> onnx.ModelProto:
    """A copy for a TensorRT builder.

    Args:
        proto: an exported graph, in any precision.
        with_plugins: our operators are plugin nodes, and the compiled library has to be loaded; or
            else they are functions in operators that TensorRT has.
    """
    model = without_row_cuts(proto)
    ours = [node for node in model.graph.node if node.op_type in OPERATORS]
    bodies = {f.name: f for f in model.functions if f.name not in OPERATORS}
    for node in ours:
        if with_plugins:
            # Before 10.15 a function of a node's name comes before the plugin: none may be left.
            for name, value in (("plugin_namespace", plugins.DOMAIN), ("plugin_version", VERSION)):
                node.attribute.append(helper.make_attribute(name, value))
        else:
            bodies[node.op_type] = body_of(node, "tensorrt-rtx")
    opset = next(o.version for o in model.opset_import if not o.domain)
    del model.functions[:]
    for name in sorted(bodies):
        function = model.functions.add()
        function.CopyFrom(bodies[name])
        function.opset_import[0].version = opset
    return model
