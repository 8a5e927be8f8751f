"""What a finished plan says of its layers, in the words of TensorRT 10 and 11."""

from __future__ import annotations

import json

import pytest

from engine.errors import ModelError
from export.audit import audit_plan

HALF = "Channel major FP16 format where channel % 8 == 0"
FULL = "Row major linear FP32 format (kLINEAR)"


def layer(name: str, *types: str, metadata: str = "") -> dict:
    """A layer as the inspector lists it; the last type is its output's."""
    tensors = [{"Name": f"t{k}", "Format/Datatype": text} for k, text in enumerate(types)]
    return {
        "Name": name, "LayerType": "CaskConvolution", "Inputs": tensors[:-1],
        "Outputs": tensors[-1:], "Metadata": metadata,
    }  # fmt: skip


def audit(*layers: object, precision: str = "fp16", heavy: tuple[str, ...] = ("node_conv",)):
    return audit_plan(json.dumps({"Layers": list(layers), "Bindings": []}), precision, heavy)


@pytest.mark.parametrize(
    ("precision", "written"),
    [("fp16", HALF), ("fp16", "Half"), ("bf16", "BFloat16"), ("bf16", "Row major linear BF16"),
     ("int8", "Thirty-two wide channel vectorized row major Int8 format"), ("int8", HALF),
     ("fp32", FULL), ("fp32", "Float")],
)  # fmt: skip
def test_what_was_asked_for(precision: str, written: str) -> None:
    """Each way in which TensorRT writes a type is understood."""
    found = audit(layer("node_conv", written, written), precision=precision)
    assert sum(found.types.values()) == 1


def test_a_silent_fp32_plan_is_refused() -> None:
    """The layer is named; in metadata it is the ONNX node, alone or among others of a fusion."""
    for wrong in (
        layer("node_conv + node_relu", FULL, FULL),
        layer("__myl_0", FULL, FULL, metadata="[ONNX Layer: node_conv]\x1e[ONNX Layer: node_relu]"),
    ):
        with pytest.raises(ModelError, match="would not be fp16: 1 of its layers are not"):
            audit(layer("other", FULL, FULL), wrong)


def test_what_the_plan_does_not_tell_is_counted() -> None:
    """Open shapes without a context, no layers at all, names alone, a region that was fused."""
    told = "N/A due to dynamic shapes"
    fused = layer("{ForeignNode[node_conv...node_cast]}", "UInt8", FULL)
    for unknown in ([layer("node_conv", told, told)], [], ["node_conv"], [fused]):
        found = audit(*unknown)
        assert found.unseen == 1
        assert not found.types
    assert audit(layer("node_conv", HALF, HALF)).unseen == 0


def test_weights_say_what_a_layer_is() -> None:
    """They are its own, where its tensors' types may be those of operators fused with it."""
    right = layer("node_conv", told := "N/A due to dynamic shapes", told)
    assert audit(right | {"Weights": {"Type": "Half", "Count": 4}}).types == {"HALF": 1}
    fused = layer("{ForeignNode[node_conv]}", "UInt8", FULL) | {"Weights": {"Type": "Half"}}
    assert audit(fused).types == {"HALF": 1}
    with pytest.raises(ModelError, match="would not be fp16"):
        audit(right | {"Weights": {"Type": "Float", "Count": 4}})


def test_what_is_not_asked_of() -> None:
    """Islands and other operators may be in fp32; casts may have been fused into a layer's ends."""
    audit(layer("node_softmax", FULL, FULL), layer("node_conv", FULL, HALF, HALF))
    audit("a layer that is a name alone", layer("node_conv", HALF, FULL))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": 3'])
def test_no_list_of_layers(text: str) -> None:
    """Another TensorRT may say something else: then nobody claims to have looked."""
    with pytest.raises(ModelError, match="gives no list of layers"):
        audit_plan(text, "fp16", ())
