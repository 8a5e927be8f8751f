"""From a picture's bytes to a detector's canvas, as nodes in ONNX's text form."""

from __future__ import annotations

from export.models.rcnn.spec import RcnnSpec

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
