"""Typed graphs: what must be fp16 is, what must not is not, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.errors import ModelError
from export.graph import read_onnx
from export.precision import HEAVY, to_half, without_row_cuts
from export.verify import noise


@pytest.fixture(scope="module")
def graph(exported: Path) -> onnx.ModelProto:
    return read_onnx(exported)[0]


@pytest.fixture(scope="module")
def half(graph: onnx.ModelProto) -> onnx.ModelProto:
    return to_half(graph)[0]


def _types(model: onnx.ModelProto) -> dict[str, int]:
    inlined = onnx.inliner.inline_local_functions(model)
    inferred = onnx.shape_inference.infer_shapes(inlined, strict_mode=True, data_prop=True)
    values = [*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {t.name: t.data_type for t in inferred.graph.initializer}


def test_heavy_layers_are_fp16(half: onnx.ModelProto) -> None:
    """Every convolution and matrix product takes and gives fp16, its weights included."""
    types = _types(half)
    heavy = [node for node in half.graph.node if node.op_type in HEAVY]
    assert len(heavy) == 14
    for node in heavy:
        assert {types[name] for name in (*node.input, *node.output)} == {TensorProto.FLOAT16}


def test_places_and_scores_stay_fp32(half: onnx.ModelProto) -> None:
    """Normalization, the sigmoid and the ranking compute in fp32."""
    types = _types(half)
    for node in half.graph.node:
        if node.op_type in {"Sigmoid", "TopK", "Div", "Floor"} or node.name == "node_pad":
            kinds = {types[name] for name in node.input if name in types}
            assert TensorProto.FLOAT16 not in kinds, node.name


def test_inputs_and_outputs_keep_their_types(graph: onnx.ModelProto, half: onnx.ModelProto) -> None:
    """An application cannot tell a typed graph from the fp32 one by its interface."""
    for a, b in zip(
        (*graph.graph.input, *graph.graph.output),
        (*half.graph.input, *half.graph.output),
        strict=True,
    ):
        assert (a.name, a.type) == (b.name, b.type)


def test_weights_take_half_the_bytes(graph: onnx.ModelProto, half: onnx.ModelProto) -> None:
    """No weight is kept in both precisions."""
    assert half.ByteSize() < 0.52 * graph.ByteSize()


def test_the_given_graph_is_not_changed(exported: Path) -> None:
    """Both transformations work on copies."""
    graph = read_onnx(exported)[0]
    before = graph.SerializeToString(deterministic=True)
    to_half(without_row_cuts(graph))
    assert graph.SerializeToString(deterministic=True) == before


def test_without_row_cuts_only_the_padding_differs(graph: onnx.ModelProto) -> None:
    """Rows that count are the same; no function of ours is left, so any runtime takes it."""
    plain = without_row_cuts(graph)
    assert not plain.functions
    assert {node.domain for node in plain.graph.node} == {""}
    feeds = {"picture": noise(100, 140), "min_score": np.full(1, 0.01, np.float32)}
    a = ort.InferenceSession(graph.SerializeToString()).run(None, feeds)
    b = ort.InferenceSession(plain.SerializeToString()).run(None, feeds)
    n = a[3][0]
    assert 0 < n < 500
    assert b[3][0] == n
    for x, y in zip(a[:3], b[:3], strict=True):
        np.testing.assert_allclose(x[:n], y[:n], atol=1e-4)


def test_a_weight_beyond_fp16_is_refused() -> None:
    """A weight over 65504 would become infinite: it is named and refused."""
    weight = numpy_helper.from_array(np.full((2, 2), 70000, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [weight],
    )
    with pytest.raises(ModelError, match=r"the weight w reaches 70000"):
        to_half(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))


def test_an_fp16_output_is_cast_under_its_own_name() -> None:
    """A graph whose output is computed in fp16 still gives fp32 under the same name."""
    weight = numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            helper.make_node("Relu", ["y"], ["z"]),
            helper.make_node("Sigmoid", ["y"], ["s"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, [1, 2]) for k in "yzs"],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    typed, report = to_half(model)
    assert report.half_nodes == 1
    assert report.islands == ["Relu", "Sigmoid"], "results are fp32: nothing heavy follows"
    y, z, s = ort.InferenceSession(typed.SerializeToString()).run(
        None, {"x": np.array([[-1.5, 2.25]], np.float32)}
    )
    assert y.dtype == z.dtype == s.dtype == np.float32
    np.testing.assert_array_equal(y, [[-1.5, 2.25]])
    np.testing.assert_array_equal(z, [[0, 2.25]])
    np.testing.assert_allclose(s, 1 / (1 + np.exp([[1.5, -2.25]])), rtol=1e-6)
