"""From a DenseDeepMask to an ONNX model that says what it is."""

from __future__ import annotations

import hashlib
import logging
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata

import onnx
import torch
from torch import Tensor

from engine.card import ProposalCard, picture_names
from engine.tiling import EVERY_WINDOW
from export.functions import add_bodies
from export.models.deepmask import STRIDE, DeepMask
from export.models.dense import DenseDeepMask, Winners
from export.models.receptive import halo_of
from export.models.rows import TRANSLATIONS


def trace(model: DenseDeepMask, pieces: int = 1) -> onnx.ModelProto:
    """The graph with dynamic heights and widths, and a body for each of our functions in it.

    Args:
        model: what to trace.
        pieces: how many pictures a call takes.
    """
    side = model.model.spec.patch
    # Odd and unequal sizes, so that nothing is taken for a constant.
    pictures = [
        torch.zeros((side + 75 + 32 * k, side + 183 + 48 * k, 3), dtype=torch.uint8)
        for k in range(pieces)
    ]
    dynamic = torch.export.Dim.DYNAMIC
    with quiet():
        program = torch.onnx.export(
            model.eval(),
            (pictures, torch.zeros(1), torch.tensor(EVERY_WINDOW).repeat(pieces)),
            dynamo=True,
            input_names=[*picture_names(pieces), "min_score", "owned"],
            output_names=Winners._fields,
            dynamic_shapes={
                "pictures": [{0: dynamic, 1: dynamic}] * pieces,
                "min_score": None,
                "owned": None,
            },
            custom_translation_table=TRANSLATIONS,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for picture in proto.graph.input[:pieces]:
        for k, name in enumerate(("height", "width")):
            side_name = picture.name.replace("picture", name)
            picture.type.tensor_type.shape.dim[k].dim_param = side_name
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


def make_card(
    network: DeepMask,
    weights: Mapping[str, Tensor],
    *,
    proposals: int,
    pieces: int = 1,
    score_threshold: float | None = None,
    mask_nms: float | None = None,
    top: int | None = None,
) -> ProposalCard:
    """The card of a freshly traced DeepMask; defaults that are left out are the network's own."""
    spec = network.spec
    return ProposalCard(
        task="proposals",
        architecture=spec.name,
        labels=["object"],
        patch=spec.patch,
        stride=STRIDE,
        halo=halo_of(network.trunk, spec.patch),
        mask_size=spec.mask_size,
        proposals=proposals,
        pieces=pieces,
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
