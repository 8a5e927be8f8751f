"""From an Rcnn to one ONNX graph: uint8 pixels in, padded detections out, its card inside."""

from __future__ import annotations

import platform
from importlib import metadata

import onnx
import torch

from engine.card import InstanceCard
from export.graph import finish, quiet, weights_digest
from export.labels import KEYPOINTS, default_labels
from export.models import rows
from export.models.rcnn.model import Detections, Rcnn
from export.operators import TRANSLATIONS
from export.preparation import preparation

MASK_THRESHOLD = 0.5


def trace(model: Rcnn, canvas: tuple[int, int] | None = None) -> onnx.ModelProto:
    """The whole graph, with a body for each of our operators in it.

    Args:
        model: the network.
        canvas: height and width of the only input, multiples of the spec's `multiple`; None for
            any size.

    Its inputs are `picture`, uint8 [height, width, 3] BGR, and `size`, int64 [2]: what a
    torchvision graph of open size resizes the picture to, or else what part of the input, from
    its upper left corner, is picture.
    """
    height, width = canvas or (320, 416)
    names = [
        name
        for name, head in zip(
            Detections._fields, [1, 1, 1, 1, model.mask, model.keypoint], strict=True
        )
        if head is not None
    ]
    side = torch.export.Dim
    step = model.spec.multiple
    shapes = {
        2 + k: step * side(name, min=2) if step > 1 else torch.export.Dim.DYNAMIC
        for k, name in enumerate(("rows", "columns"))
    }
    example = (torch.zeros(1, 3, height, width), torch.tensor([height - 5, width - 7]))
    with quiet():
        program = torch.onnx.export(
            model.eval(),
            example,
            dynamo=True,
            input_names=["canvas", "size"],
            output_names=names,
            dynamic_shapes=None if canvas else {"canvas": shapes, "size": None},
            custom_translation_table=rows.TRANSLATIONS | TRANSLATIONS,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _own_biases(proto.graph)
    _prepend(proto, preparation(model.spec, canvas), canvas)
    return finish(proto)


def _own_biases(graph: onnx.GraphProto) -> None:
    """Give each convolution a bias of its own: OpenVINO fuses none that several share."""
    biases = {tensor.name: tensor for tensor in graph.initializer}
    seen: set[str] = set()
    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] in biases:
            name = node.input[2]
            if name in seen:
                node.input[2] = f"{name}_of_{node.name}"
                graph.initializer.add().CopyFrom(biases[name])
                graph.initializer[-1].name = node.input[2]
            seen.add(name)


def _prepend(proto: onnx.ModelProto, text: str, canvas: tuple[int, int] | None) -> None:
    """Put the preparation before the network, and the picture in the canvas's place."""
    signature = "preparation (uint8[height, width, 3] picture, int64[2] size) => (float[n] canvas)"
    graph = onnx.parser.parse_graph(f"{signature} {{{text}}}")
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*graph.node, *nodes])
    shape = canvas or ("height", "width")
    picture = onnx.helper.make_tensor_value_info("picture", onnx.TensorProto.UINT8, [*shape, 3])
    size = next(value for value in proto.graph.input if value.name == "size")
    inputs = [picture, size]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)


def make_card(
    model: Rcnn,
    *,
    canvas: tuple[int, int] | None = None,
    labels: tuple[list[str], list[int]] | None = None,
) -> InstanceCard:
    """The card of a freshly traced network.

    Args:
        model: the network.
        canvas: as in `trace`.
        labels: names and category ids of the classes; None for those that their number suggests.
    """
    spec = model.spec
    names, ids = labels or default_labels(spec.classes)
    return InstanceCard(
        task="instances",
        architecture=spec.name,
        labels=names,
        category_ids=ids,
        mask_size=spec.mask_size,
        mask_threshold=MASK_THRESHOLD,
        score_threshold=spec.score_threshold,
        top=spec.detections,
        framework=spec.rules.framework,
        smallest_side=spec.smallest_side,
        largest_side=spec.largest_side,
        canvas=list(canvas or ()),
        keypoints=KEYPOINTS if spec.keypoints == len(KEYPOINTS) else _numbered(spec.keypoints),
        precision="fp32",
        built_by={name: metadata.version(name) for name in ("maskrt", "torch", "onnx")}
        | {"python": platform.python_version()},
        weights_sha256=weights_digest(model.state_dict()),
    )


def _numbered(count: int) -> list[str]:
    return [f"point {k}" for k in range(1, count + 1)]
