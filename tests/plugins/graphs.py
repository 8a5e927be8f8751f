"""One operator as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

import plugins


def one_node(
    name: str,
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, tuple[type, int]],
    attributes: Mapping[str, object],
    function: onnx.FunctionProto | None,
    dynamic: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model of one node; `outputs` give dtype and rank, `dynamic` inputs whose sizes are open."""

    def value(key: str, dtype: object, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(
            key,
            helper.np_dtype_to_tensor_dtype(np.dtype(dtype)),
            shape,  # type: ignore[arg-type]
        )

    node = helper.make_node(name, list(inputs), list(outputs), domain=plugins.DOMAIN, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [
            value(
                key,
                array.dtype,
                [f"{key}{k}" for k in range(array.ndim)] if key in dynamic else array.shape,
            )
            for key, array in inputs.items()
        ],
        [value(key, dtype, [None] * rank) for key, (dtype, rank) in outputs.items()],
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid(plugins.DOMAIN, 1)]
    bodies = [] if function is None else [function]
    return helper.make_model(graph, functions=bodies, opset_imports=imports, ir_version=10)
