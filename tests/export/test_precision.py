"""Typed graphs: what must be fp16 is, what must not is not, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.tiling import EVERY_WINDOW
from export import precision
from export.calibration import overflowing
from export.emulation import emulated
from export.model_file import read_onnx
from export.precision import HEAVY, to_typed, without_row_cuts
from export.verify import noise


@pytest.fixture(scope="module")
def graph(exported: Path) -> onnx.ModelProto:
    return read_onnx(exported)[0]


@pytest.fixture(scope="module")
def half(graph: onnx.ModelProto) -> onnx.ModelProto:
    return to_typed(graph)[0]


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
    to_typed(without_row_cuts(graph))
    assert graph.SerializeToString(deterministic=True) == before


def test_without_row_cuts_only_the_padding_differs(graph: onnx.ModelProto) -> None:
    """Rows that count are the same; no function of ours is left, so any runtime takes it."""
    plain = without_row_cuts(graph)
    assert not plain.functions
    assert {node.domain for node in plain.graph.node} == {""}
    feeds = {"picture": noise(100, 140), "min_score": np.full(1, 0.01, np.float32)}
    feeds["owned"] = EVERY_WINDOW
    a = ort.InferenceSession(graph.SerializeToString()).run(None, feeds)
    b = ort.InferenceSession(plain.SerializeToString()).run(None, feeds)
    n = a[3][0]
    assert 0 < n < 500
    assert b[3][0] == n
    for x, y in zip(a[:3], b[:3], strict=True):
        np.testing.assert_allclose(x[:n], y[:n], atol=1e-4)


def _line(factor: float, names: tuple[str, ...] = ("a", "b", "c")) -> onnx.ModelProto:
    """Three matrix products in a row; the first multiplies by `factor`."""
    weights = [
        numpy_helper.from_array(np.eye(2, dtype=np.float32) * (factor if name == "a" else 1), name)
        for name in names
    ]
    nodes = [
        helper.make_node("MatMul", [x, w], [y], w)
        for x, w, y in zip(("x", "xa", "xb"), names, ("xa", "xb", "y"), strict=True)
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_weight_beyond_fp16_stays_in_fp32() -> None:
    """A weight over 65504 would become infinite: its layer is an island, and bf16 has room."""
    assert to_typed(_line(70000))[1].kept == ["a"]
    assert to_typed(_line(65504))[1].kept == []
    assert to_typed(_line(70000), "bf16")[1].kept == []


def test_a_value_beyond_fp16_stays_in_fp32_with_what_reads_it() -> None:
    """A node that overflows and the one that it feeds are islands; the rest is not."""
    model = _line(1000)
    typed, report = to_typed(model, keep={"a"})
    assert report.kept == ["a", "b"]
    assert report.low_nodes == 1
    x = np.array([[500, -300]], np.float32)
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x / 10})[0]
    found = ort.InferenceSession(typed.SerializeToString()).run(None, {"x": x / 10})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_what_overflows_is_found_on_a_picture(exported: Path) -> None:
    """A layer blown up a million times is found by name, and so is everything that it reaches."""
    graph = read_onnx(exported)[0]
    picture = noise(120, 150)
    assert overflowing(graph, picture) == {}
    blown = onnx.ModelProto()
    blown.CopyFrom(graph)
    conv = [node for node in blown.graph.node if node.op_type == "Conv"][3]
    weight = next(t for t in blown.graph.initializer if t.name == conv.input[1])
    large = numpy_helper.to_array(weight) * 1e6
    weight.CopyFrom(numpy_helper.from_array(large.astype(np.float32), weight.name))
    found = overflowing(blown, picture)
    assert conv.name in found
    assert all(value > 65504 for value in found.values())
    before = [node.name for node in blown.graph.node]
    assert min(before.index(name) for name in found) == before.index(conv.name)
    typed, report = to_typed(blown, keep=set(found))
    assert conv.name in report.kept
    assert overflowing(typed, picture).keys() <= found.keys()


def test_bf16_is_what_the_graph_holds(graph: onnx.ModelProto) -> None:
    """Every heavy layer takes and gives bf16; places and scores are fp32; the interface is kept."""
    low, report = to_typed(graph, "bf16")
    types = _types(low)
    heavy = [node for node in low.graph.node if node.op_type in HEAVY]
    assert len(heavy) == 14
    for node in heavy:
        assert {types[name] for name in (*node.input, *node.output)} == {TensorProto.BFLOAT16}
    assert "node_sigmoid" in report.islands
    assert [v.type for v in low.graph.output] == [v.type for v in graph.graph.output]


def test_weights_are_rounded_to_the_nearest_bf16() -> None:
    """Halves to even, as the hardware does it: against PyTorch's own cast."""
    import torch

    rng = np.random.default_rng(0)
    values = (rng.normal(size=(64, 64)) * 10.0 ** rng.integers(-9, 9, (64, 64))).astype(np.float32)
    values[0, :4] = 1 + 2.0**-8, 1 + 3 * 2.0**-8, -(1 + 2.0**-8), 0  # the first three are ties
    low = precision._low_weight(numpy_helper.from_array(values, "w"), "w", TensorProto.BFLOAT16)
    bits = np.frombuffer(low.raw_data, np.int16).reshape(64, 64)
    right = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy()
    np.testing.assert_array_equal(bits, right)


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_emulation_rounds_as_the_types_say(kind: str) -> None:
    """Against the same products in PyTorch, each rounded to the type."""
    import torch

    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[kind]
    typed, _ = to_typed(_line(1.37), kind)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1, 2)).astype(np.float32)
    found = ort.InferenceSession(emulated(typed).SerializeToString()).run(None, {"x": x})[0]
    value = torch.from_numpy(x).to(dtype)
    for factor in (1.37, 1.0, 1.0):
        value = (value.float() * torch.tensor(factor).to(dtype).float()).to(dtype)
    np.testing.assert_array_equal(found, value.float().numpy())


def test_emulated_fp16_is_what_onnxruntime_computes(half: onnx.ModelProto) -> None:
    """On a graph that it can run itself, the emulation gives its answer to fp16's accuracy."""
    feeds = {"picture": noise(100, 140), "min_score": np.full(1, 0.01, np.float32)}
    feeds["owned"] = EVERY_WINDOW
    a, b = (
        ort.InferenceSession(model.SerializeToString()).run(None, feeds)
        for model in (half, emulated(half))
    )
    n = int(a[3][0])
    np.testing.assert_allclose(b[0][:n], a[0][:n], atol=2e-3)


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
    typed, report = to_typed(model)
    assert report.low_nodes == 1
    assert report.islands == ["z", "s"], "results are fp32: nothing heavy follows"
    y, z, s = ort.InferenceSession(typed.SerializeToString()).run(
        None, {"x": np.array([[-1.5, 2.25]], np.float32)}
    )
    assert y.dtype == z.dtype == s.dtype == np.float32
    np.testing.assert_array_equal(y, [[-1.5, 2.25]])
    np.testing.assert_array_equal(z, [[0, 2.25]])
    np.testing.assert_allclose(s, 1 / (1 + np.exp([[1.5, -2.25]])), rtol=1e-6)
