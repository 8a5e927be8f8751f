"""A typed graph as TensorRT takes it: fixed rows, and our operators as plugins or as bodies."""

from __future__ import annotations

import onnx
from onnx import helper

import plugins
from export.functions import add_bodies
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
    # Before 10.15 a function of a node's name comes before the plugin: none may be left.
    del model.functions[:]
    if not with_plugins:
        add_bodies(model, "tensorrt-rtx")
        return model
    for node in model.graph.node:
        if node.op_type in OPERATORS:
            for name, value in (("plugin_namespace", plugins.DOMAIN), ("plugin_version", VERSION)):
                node.attribute.append(helper.make_attribute(name, value))
    return model
