"""From a DenseDeepMask to an ONNX model that says what it is."""

from __future__ import annotations

import hashlib
import logging
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from torch import Tensor

from engine.card import KEY, Card, ProposalCard
from engine.errors import ModelError
from engine.files import write_aside
from export.models.deepmask import STRIDE, DeepMaskSpec
from export.models.dense import DenseDeepMask
from export.models.rows import DOMAIN, FUNCTIONS, TRANSLATIONS
from export.operators import body_of

INPUTS = ("picture", "min_score")
OUTPUTS = ("scores", "windows", "masks", "count")


def trace(model: DenseDeepMask) -> onnx.ModelProto:
    """The graph with dynamic height and width, and a body for each of our functions in it."""
    side = model.model.spec.patch
    # Odd and unequal sizes, so that nothing is taken for a constant.
    picture = torch.zeros((side + 75, side + 183, 3), dtype=torch.uint8)
    dynamic = torch.export.Dim.DYNAMIC
    with quiet():
        program = torch.onnx.export(
            model.eval(),
            (picture, torch.zeros(1)),
            dynamo=True,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes={"picture": {0: dynamic, 1: dynamic}, "min_score": None},
            custom_translation_table=TRANSLATIONS,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for k, name in enumerate(("height", "width")):
        proto.graph.input[0].type.tensor_type.shape.dim[k].dim_param = name
    return finish(proto)


def finish(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Add function bodies to a traced model, in place, and drop what only the exporter needed."""
    # Inside, rows are cut to `count`: shapes that the exporter noted there are not the real ones.
    del proto.graph.value_info[:]
    for node in proto.graph.node:
        del node.metadata_props[:]
    del proto.metadata_props[:]
    add_bodies(proto)
    proto.producer_name = "maskrt"
    onnx.checker.check_model(proto)
    return proto


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
        body = FUNCTIONS[node.op_type] if node.op_type in FUNCTIONS else body_of(node, target)
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


def make_card(
    spec: DeepMaskSpec,
    weights: Mapping[str, Tensor],
    *,
    proposals: int,
    score_threshold: float | None = None,
    mask_nms: float | None = None,
    top: int | None = None,
) -> ProposalCard:
    """The card of a freshly traced DeepMask; defaults that are left out are the network's own."""
    return ProposalCard(
        task="proposals",
        architecture=spec.name,
        labels=["object"],
        patch=spec.patch,
        stride=STRIDE,
        mask_size=spec.mask_size,
        proposals=proposals,
        scales=list(spec.scales),
        resize=spec.resize,
        mask_threshold=spec.mask_threshold,
        score_threshold=spec.score_threshold if score_threshold is None else score_threshold,
        mask_nms=spec.mask_nms if mask_nms is None else mask_nms,
        top=spec.top if top is None else top,
        precision="fp32",
        built_by={name: metadata.version(name) for name in ("maskrt", "torch", "onnx")}
        | {"python": platform.python_version()},
        weights_sha256=weights_digest(weights),
    )


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over the tensors' names, types, shapes and bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = weights[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def set_card(proto: onnx.ModelProto, card: Card) -> None:
    """Write the card into the model's metadata, in the place of any it had."""
    kept = [(p.key, p.value) for p in proto.metadata_props if p.key != KEY]
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, dict(kept) | {KEY: card.to_json()})


def read_onnx(path: Path) -> tuple[onnx.ModelProto, Card]:
    """An exported model and its card.

    Raises:
        ModelError: no such file, not ONNX, or without a card.
    """
    if not path.is_file():
        raise ModelError(f"the model {path} does not exist; give the path of an .onnx file")
    try:
        proto = onnx.load_from_string(path.read_bytes())
        onnx.checker.check_model(proto)
    except (DecodeError, onnx.checker.ValidationError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise ModelError(
            f"{path} is not an ONNX model ({reason}); export one with python export/to_onnx.py"
        ) from error
    for entry in proto.metadata_props:
        if entry.key == KEY:
            return proto, Card.from_json(entry.value, path)
    raise ModelError(f"{path} has no MaskRT card; export the model with python export/to_onnx.py")


def save_onnx(proto: onnx.ModelProto, output: Path) -> None:
    """Write the model to one file, aside first.

    Protocol buffers end at 2 GiB; the largest DeepMask (Full) has 1.3 GB of weights.
    """
    with write_aside(output) as aside:
        aside.write_bytes(proto.SerializeToString())


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's remarks on missing optional packages and its own internals back."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
