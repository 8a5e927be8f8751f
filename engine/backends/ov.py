"""OpenVINO: implements `engine.backends.Backend` for ONNX files with a card inside, on CPUs."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ..card import Card
from ..errors import BackendError, ModelError, OptionError
from . import Tensors, card_of, check_interface

PRECISIONS = ("f32", "bf16")
# Layers that carry the work, and what may lie between two of them: in bf16 all of these, and
# nothing else, compute in it.
HEAVY = frozenset({"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"})
_MOVES = {"Broadcast", "Concat", "Gather", "GatherND", "Interpolate", "Pad", "Reshape", "Slice"}
_MOVES |= {"Split", "Squeeze", "StridedSlice", "Transpose", "Unsqueeze", "VariadicSplit"}
_ARITHMETIC = {"Add", "AvgPool", "Clamp", "MaxPool", "Multiply", "PRelu", "Relu", "ROIAlign"}
FOLLOWERS = frozenset(_MOVES | _ARITHMETIC | {"Subtract"})
ISLAND = {
    "name": "DisablePrecisionConversion",
    "version": "0",
    "value": "f32:f16,bf16;dynamic:f16,bf16",
}
"""OpenVINO's mark, in its IR, of a node that keeps its precision."""


class OpenVinoBackend:
    """A compiled model, and an inference request for each thread."""

    def __init__(self, compiled: Any, card: Card, precision: str, outputs: list[str]) -> None:
        self._compiled = compiled
        self._card = card
        self._precision = precision
        self._outputs = outputs
        self._local = threading.local()

    @property
    def name(self) -> str:
        """E.g. "openvino cpu f32"."""
        return f"openvino cpu {self._precision}"

    @property
    def card(self) -> Card:
        """What the model says of itself."""
        return self._card

    def run(self, inputs: Tensors) -> Tensors:
        """Run the graph once.

        Raises:
            BackendError: OpenVINO failed, or the backend is closed.
        """
        if self._compiled is None:
            raise BackendError("this model is closed; open it again")
        try:
            request = getattr(self._local, "request", None)
            if request is None:
                request = self._local.request = self._compiled.create_infer_request()
            request.infer({name: np.ascontiguousarray(v) for name, v in inputs.items()})
            # The request's tensors are written anew by the next call.
            return {
                name: np.array(request.get_output_tensor(k).data)
                for k, name in enumerate(self._outputs)
            }
        except Exception as error:  # its exceptions are plain RuntimeErrors
            shapes = ", ".join(f"{k} {v.dtype} {list(v.shape)}" for k, v in inputs.items())
            raise BackendError(
                f"{self.name} failed on {shapes} ({_last_line(error)}); try a smaller picture"
            ) from error

    def close(self) -> None:
        """Let go of the compiled model."""
        self._compiled = None
        self._local = threading.local()


def open_model(
    path: Path, *, device: str = "cpu", threads: int | None = None, precision: str | None = None
) -> OpenVinoBackend:
    """Open an ONNX file; see `engine.backends.open_backend`."""
    precision = precision or "f32"
    if device != "cpu":
        raise OptionError(f"backend openvino runs on the cpu here, and device is {device!r}")
    if precision not in PRECISIONS:
        raise OptionError(
            f"openvino has no precision {precision!r} here; choose one of {', '.join(PRECISIONS)}"
        )
    try:
        import onnx
        import onnx.inliner
        import openvino
    except ImportError as error:
        raise BackendError(
            f"the package {error.name} is not installed; pip install 'maskrt[openvino]'"
        ) from error
    try:
        proto = onnx.load_from_string(path.read_bytes())
        # It refuses functions.
        inlined = onnx.inliner.inline_local_functions(proto)
        core = openvino.Core()
        model = core.read_model(inlined.SerializeToString())
    except Exception as error:
        raise ModelError(
            f"{path} is not an ONNX model that OpenVINO can load ({_last_line(error)}); export it "
            "with python export/to_onnx.py"
        ) from error
    card = card_of({entry.key: entry.value for entry in proto.metadata_props}, path)
    interface = [
        (value.get_any_name(), value.get_element_type().to_dtype().name, len(value.partial_shape))
        for value in model.inputs
    ]
    # By the file: OpenVINO may know a result by several names.
    outputs = [value.name for value in proto.graph.output]
    check_interface(card, interface, outputs, path)
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    if precision == "bf16":
        if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise BackendError("this CPU has no bf16; leave precision out")
        model = with_islands(model, core)
    compiled = core.compile_model(model, "CPU", options)
    if precision == "bf16":
        _check_islands(compiled)
    return OpenVinoBackend(compiled, card, precision, outputs)


def with_islands(model: Any, core: Any) -> Any:
    """The model, every node that is not on the way to a heavy layer marked to stay in fp32.

    Python cannot set this mark on a node, so it goes into the model's IR.
    """
    import openvino

    islands = _islands(model)
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "model.xml"
        openvino.serialize(model, text)
        tree = ElementTree.parse(text)
        for layer in tree.iter("layer"):
            if layer.get("name") in islands:
                info = layer.find("rt_info")
                info = ElementTree.SubElement(layer, "rt_info") if info is None else info
                ElementTree.SubElement(info, "attribute", ISLAND)
        weights = text.with_suffix(".bin").read_bytes()
    return core.read_model(ElementTree.tostring(tree.getroot()), weights)


def _check_islands(compiled: Any) -> None:
    """Refuse a model whose ranking is not in fp32: another OpenVINO may know another mark."""
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        kind, precision = (info[k].astype(str) for k in ("layerType", "runtimePrecision"))
        if kind in ("TopK", "Softmax") and precision == "bf16":
            raise BackendError(
                f"this OpenVINO computes {node.get_friendly_name()} in bf16, although it should "
                "stay in fp32; leave precision out, or pip install 'openvino>=2026.4'"
            )


def _islands(model: Any) -> set[str]:
    nodes = model.get_ordered_ops()
    wanted: set[str] = set()
    islands: set[str] = set()
    for node in reversed(nodes):
        kind = node.get_type_name()
        follows = kind in FOLLOWERS and node.get_name() in wanted
        if kind in HEAVY or follows:
            wanted.update(node.input_value(k).get_node().get_name() for k in _carrying(node, kind))
        else:
            islands.add(node.get_friendly_name())
    # The first layer too: a pixel has eight bits, and so has bf16, its sign and mean included.
    depth: dict[str, int] = {}
    for node in nodes:
        before = (node.input_value(k).get_node().get_name() for k in range(node.get_input_size()))
        heavy = node.get_type_name() in HEAVY
        depth[node.get_name()] = max((depth[name] for name in before), default=0) + heavy
        if depth[node.get_name()] <= 1:
            islands.add(node.get_friendly_name())
    kinds = {node.get_friendly_name(): node.get_type_name() for node in nodes}
    return {name for name in islands if kinds[name] not in ("Parameter", "Result", "Constant")}


def _carrying(node: Any, kind: str) -> range:
    """The inputs that hold what the node computes; behind the first are coordinates and sizes."""
    several = kind in HEAVY or kind in ("Add", "Multiply", "Subtract", "Concat")
    return range(node.get_input_size() if several else 1)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
