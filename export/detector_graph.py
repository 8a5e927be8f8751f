"""From an Rcnn to one ONNX graph: uint8 pixels in, padded detections out, its card inside."""

from __future__ import annotations

import platform
from importlib import metadata

import onnx
import torch

from engine.card import InstanceCard
from export.graph import add_bodies, quiet, weights_digest
from export.labels import KEYPOINTS, default_labels
from export.models import rows
from export.models.rcnn.model import Detections, Rcnn
from export.models.rcnn.spec import RcnnSpec
from export.operators import TRANSLATIONS

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
    # Inside, rows are cut to `count`: shapes that the exporter noted there are not the real ones.
    del proto.graph.value_info[:]
    for node in proto.graph.node:
        del node.metadata_props[:]
    del proto.metadata_props[:]
    add_bodies(proto)
    proto.producer_name = "maskrt"
    onnx.checker.check_model(proto)
    return proto


def preparation(spec: RcnnSpec, canvas: tuple[int, int] | None) -> str:
    """Nodes that make the canvas of a picture, in ONNX's text form."""
    rules = spec.rules
    mean = ", ".join(str(value) for value in rules.mean)
    padded = PADDED.replace("MULTIPLE", str(spec.multiple)).replace("LESS", str(spec.multiple - 1))
    if canvas is not None:
        resized, placed = "pre_sized = Identity (pre_float)", INSIDE % canvas
    elif rules.framework == "torchvision":
        resized = (
            START + along(1, "pre_float", "pre_wide") + along(0, "pre_wide", "pre_rows_done") + END
        )
        placed = padded
    else:
        resized, placed = "pre_sized = Identity (pre_float)", padded
    return f"""
        pre_float = Cast <to = 1> (picture)
        {resized}
        pre_planes = Transpose <perm = [2, 0, 1]> (pre_sized)
        pre_mean_list = Constant <value_floats = [{mean}]> ()
        pre_planar = Constant <value_ints = [1, 3, 1, 1]> ()
        pre_mean = Reshape (pre_mean_list, pre_planar)
        pre_normal = Sub (pre_planes, pre_mean)
        {placed}
    """


START = """
    pre_half = Constant <value_float = 0.5> ()
    pre_nothing = Constant <value_float = 0.0> ()
    pre_no = Constant <value_int = 0> ()
    pre_yes = Constant <value_int = 1> ()
    pre_last = Constant <value_ints = [1]> ()
    pre_channels = Constant <value_ints = [1, 3]> ()
    pre_all = Constant <value_ints = [-1]> ()
    pre_high, pre_across = Split <num_outputs = 2> (size)
"""
END = """
    pre_three = Constant <value_ints = [3]> ()
    pre_sides = Concat <axis = 0> (size, pre_three)
    pre_sized = Reshape (pre_rows_done, pre_sides)
"""


def along(axis: int, source: str, result: str) -> str:
    """Nodes that resize a picture along one axis to the length that `size` says.

    Written out, because every runtime's Resize rounds its coordinates in its own way: 1e-4 of a
    pixel, which a network makes a hundredth of a score. This is PyTorch's arithmetic, in fp32.
    Columns come first, from [height, width, 3] to [height, new width * 3]; then rows of these.
    """
    wanted, p = ("pre_high", "pre_across")[axis], f"pre_{'yx'[axis]}"
    # Elements side by side have to have weights side by side: three channels are too few for it.
    flat = f"""
        {p}_column = Unsqueeze ({p}_part, pre_last)
        {p}_three = Expand ({p}_column, pre_channels)
        {p}_weight = Reshape ({p}_three, pre_all)
        {p}_some = Gather <axis = 1> ({source}, {p}_before)
        {p}_other = Gather <axis = 1> ({source}, {p}_after)
        {p}_first = Flatten ({p}_some)
        {p}_second = Flatten ({p}_other)
    """
    rows = f"""
        {p}_weight = Unsqueeze ({p}_part, pre_last)
        {p}_first = Gather <axis = 0> ({source}, {p}_before)
        {p}_second = Gather <axis = 0> ({source}, {p}_after)
    """
    return f"""
        {p}_have = Shape <start = {axis}, end = {axis + 1}> ({source})
        {p}_length = Cast <to = 1> ({p}_have)
        {p}_want = Cast <to = 1> ({wanted})
        {p}_scale = Div ({p}_length, {p}_want)
        {p}_scalar = Squeeze ({wanted})
        {p}_range = Range (pre_no, {p}_scalar, pre_yes)
        {p}_index = Cast <to = 1> ({p}_range)
        {p}_centre = Add ({p}_index, pre_half)
        {p}_scaled = Mul ({p}_scale, {p}_centre)
        {p}_at = Sub ({p}_scaled, pre_half)
        {p}_place = Max ({p}_at, pre_nothing)
        {p}_floor = Floor ({p}_place)
        {p}_part = Sub ({p}_place, {p}_floor)
        {p}_before = Cast <to = 7> ({p}_floor)
        {p}_next = Add ({p}_before, pre_yes)
        {p}_end = Sub ({p}_have, pre_yes)
        {p}_after = Min ({p}_next, {p}_end)
        {flat if axis else rows}
        {p}_step = Sub ({p}_second, {p}_first)
        {p}_share = Mul ({p}_step, {p}_weight)
        {result} = Add ({p}_first, {p}_share)
    """


# What is no picture is zero once the mean is taken off, as frameworks pad.
PADDED = """
    pre_multiple = Constant <value_ints = [MULTIPLE]> ()
    pre_shape = Shape <start = 2, end = 4> (pre_normal)
    pre_less = Constant <value_ints = [LESS]> ()
    pre_more = Add (pre_shape, pre_less)
    pre_steps = Div (pre_more, pre_multiple)
    pre_whole = Mul (pre_steps, pre_multiple)
    pre_missing = Sub (pre_whole, pre_shape)
    pre_none = Constant <value_ints = [0, 0, 0, 0, 0, 0]> ()
    pre_pads = Concat <axis = 0> (pre_none, pre_missing)
    canvas = Pad (pre_normal, pre_pads)
"""
INSIDE = """
    pre_zero = Constant <value_int = 0> ()
    pre_one = Constant <value_int = 1> ()
    pre_rows = Constant <value_int = %d> ()
    pre_columns = Constant <value_int = %d> ()
    pre_high, pre_across = Split <num_outputs = 2> (size)
    pre_row = Range (pre_zero, pre_rows, pre_one)
    pre_column = Range (pre_zero, pre_columns, pre_one)
    pre_upper = Less (pre_row, pre_high)
    pre_left = Less (pre_column, pre_across)
    pre_last = Constant <value_ints = [1]> ()
    pre_upper_column = Unsqueeze (pre_upper, pre_last)
    pre_inside = And (pre_upper_column, pre_left)
    pre_empty = Constant <value_float = 0.0> ()
    canvas = Where (pre_inside, pre_normal, pre_empty)
"""


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
