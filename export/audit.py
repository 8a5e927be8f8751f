"""Is a plan in the precision that was asked for? TensorRT 11 builds what the graph says in silence.

Three places say it: the ONNX graph, the network that TensorRT's parser made of it (this needs no
GPU), and the finished plan, through its inspector (this does).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto

from engine.errors import ModelError
from export.precision import HEAVY, element_types

TYPES = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16", "int8": "HALF"}
"""TensorRT's names of what layers that carry the work compute in; int8 ones give fp16 back."""
HEAVY_LAYERS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
_WRITTEN = {
    "half": "HALF", "fp16": "HALF", "bfloat16": "BF16", "bf16": "BF16", "int8": "INT8",
    "float": "FLOAT", "fp32": "FLOAT",
}  # fmt: skip


@dataclass(frozen=True)
class Audit:
    """How many layers that carry the work have each type, by TensorRT's names.

    Attributes:
        types: "HALF", "BF16", "FLOAT" or "INT8", and how many.
        quantized: how many of them read quantized values.
        unseen: how many a finished plan does not tell the types of.
    """

    types: Mapping[str, int]
    quantized: int = 0
    unseen: int = 0

    def __str__(self) -> str:
        words = {"HALF": "fp16", "FLOAT": "fp32", "BF16": "bf16", "INT8": "int8"}
        parts = [f"{count} in {words.get(kind, kind)}" for kind, count in self.types.items()]
        if self.quantized:
            parts.append(f"{self.quantized} of them on int8")
        return ", ".join(parts)


def heavy_types(graph: onnx.ModelProto) -> dict[str, str]:
    """The type in which each convolution and matrix product of an ONNX graph computes, by node."""
    model = onnx.shape_inference.infer_shapes(graph, data_prop=True)
    types = element_types(model.graph)
    names = {TensorProto.FLOAT: "FLOAT", TensorProto.FLOAT16: "HALF", TensorProto.BFLOAT16: "BF16"}
    return {
        node.name: names.get(types.get(node.input[1], 0), "unknown")
        for node in model.graph.node
        if node.op_type in HEAVY
    }


def audit_network(trt: Any, network: Any, precision: str, islands: Collection[str]) -> Audit:
    """Read the types in a parsed, strongly typed network.

    Args:
        trt: the TensorRT that it is of.
        network: the INetworkDefinition.
        precision: what was asked for.
        islands: names of ONNX nodes that may be in fp32.

    Raises:
        ModelError: names the layers that are not in it.
    """
    kinds = {getattr(trt.LayerType, name) for name in HEAVY_LAYERS}
    layers = [network.get_layer(k) for k in range(network.num_layers)]
    quantized = {
        layer.get_output(0).name for layer in layers if layer.type == trt.LayerType.DEQUANTIZE
    }
    found: Counter[str] = Counter()
    fed = 0
    wrong: list[str] = []
    for layer in layers:
        if layer.type not in kinds:
            continue
        kind = str(layer.get_output(0).dtype).rpartition(".")[2]
        found[kind] += 1
        fed += layer.get_input(0).name in quantized
        if kind != TYPES[precision] and not _may_differ(layer.name, layer.metadata, islands):
            wrong.append(layer.name)
    if precision == "int8" and not fed:
        wrong = ["none reads quantized values"]
    _refuse(wrong, precision)
    return Audit(dict(found), fed)


def audit_plan(layers: str, precision: str, heavy: Collection[str]) -> Audit:
    """Read the types in a finished plan, as its inspector tells them.

    A layer of a plan may have swallowed casts at its ends, so it is wrong only if none of its
    types is right. What the list tells nothing of is counted as unseen.

    Args:
        layers: JSON of EngineInspector.get_engine_information, of a plan built with DETAILED.
        precision: what was asked for.
        heavy: names of the ONNX nodes that must be in it.

    Raises:
        ModelError: names the layers that are not in it, or the JSON is no such thing.
    """
    try:
        listed = json.loads(layers)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"TensorRT's inspector gives no list of layers ({error!r}); report it with the version"
        ) from error
    wanted = {TYPES[precision], "INT8"} if precision == "int8" else {TYPES[precision]}
    found: Counter[str] = Counter()
    wrong: list[str] = []
    unseen = set(heavy)
    for entry in listed:
        # With another verbosity a layer is a name alone.
        if not isinstance(entry, dict):
            continue
        text = f"{entry.get('Metadata', '')} {entry.get('Name', '')}"
        named = set(re.findall(r"[\w./-]+", text)).intersection(heavy)
        kinds = _types_of(entry)
        if not named or not kinds:
            continue
        unseen -= named
        found[min(kinds & wanted, default=min(kinds))] += 1
        if kinds.isdisjoint(wanted):
            wrong.append(str(entry.get("Name")))
    _refuse(wrong, precision)
    return Audit(dict(found), unseen=len(unseen))


def _types_of(entry: Mapping[str, Any]) -> set[str]:
    """The types that a layer of a plan computes in, as far as it tells.

    Its weights say it; or else its tensors, but not those of a region that TensorRT has fused
    (ForeignNode), whose ends are other operators'.
    """
    weights = entry.get("Weights")
    if isinstance(weights, dict) and _type_of(str(weights.get("Type", ""))):
        return {_type_of(str(weights["Type"]))}
    if "ForeignNode" in str(entry.get("Name", "")):
        return set()
    tensors = [*entry.get("Inputs", []), *entry.get("Outputs", [])]
    # "N/A due to dynamic shapes" is none.
    return {_type_of(str(tensor.get("Format/Datatype", ""))) for tensor in tensors} - {""}


def _type_of(written: str) -> str:
    for word in re.findall(r"\w+", written.lower()):
        if word in _WRITTEN:
            return _WRITTEN[word]
    return ""


def _may_differ(name: str, metadata: str, islands: Collection[str]) -> bool:
    # "[ONNX Layer: hits | node_nms (BatchedNms)]": the node, and the functions around it.
    inside = re.findall(r"\[ONNX Layer: ([^\]]+)\]", metadata)
    nodes = {part.split(" (")[0].strip() for entry in inside for part in entry.split("|")}
    return not (nodes | {name}).isdisjoint(islands)


def _refuse(wrong: list[str], precision: str) -> None:
    if wrong:
        listed = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise ModelError(
            f"the plan would not be {precision}: {len(wrong)} of its layers are not ({listed}); "
            "build from the fp32 ONNX file, so that the types are written into it"
        )
