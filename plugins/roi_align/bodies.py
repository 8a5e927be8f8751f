"""PyramidRoiAlign in standard ONNX operators, for any number of levels; two bodies.

`sorted_by_level`: regions are put into the order of their levels, each level's share goes through
RoiAlign on that level's features, and the results are put back: the same numbers as torchvision's
operator, to the last bit. Within a level regions go from top to bottom, which keeps the features in
the processor's cache (measured: a packed canvas of all levels with one RoiAlign takes 1.8 times as
long, and moving the regions there rounds their coordinates).

`gathered`: the four neighbours of every sample are gathered from the levels' cells, with fp32
coordinates whatever the features' type. For builders that have no RoiAlign, or no sizes that
depend on data; the sampling ratio must be fixed.
"""

from __future__ import annotations

import onnx

from engine.errors import OptionError
from plugins import DOMAIN
from plugins.roi_align.op import MOST_LEVELS, NAME

ATTRIBUTES = (
    "output_size, sampling_ratio, aligned, strides, finest_level, canonical_size, "
    "canonical_level, eps_ratio, eps_level"
)


def sorted_by_level(levels: int, *, aligned: bool) -> onnx.FunctionProto:
    """The body with a RoiAlign for each level, on that level's regions alone.

    A function's attribute cannot choose RoiAlign's coordinate mode, so `aligned` is the body's.
    """
    mode = "half_pixel" if aligned else "output_half_pixel"
    return _function(levels, [_level_of_each(levels), _order(), _levels(levels, mode)])


def gathered(levels: int, *, aligned: bool) -> onnx.FunctionProto:
    """The body that gathers each sample's neighbours; `sampling_ratio` must not be 0."""
    lines = [_level_of_each(levels), _cells(levels), _samples(aligned), _interpolate()]
    return _function(levels, lines)


def _function(levels: int, lines: list[str]) -> onnx.FunctionProto:
    if not 1 <= levels <= MOST_LEVELS:
        raise OptionError(f"{NAME}: {levels} levels; give 1 to {MOST_LEVELS}")
    inputs = ", ".join(f"features{k}" for k in range(levels))
    body = "\n".join(lines)
    return onnx.parser.parse_function(
        f"""
        <domain: "{DOMAIN}", opset_import: ["" : 20]>
        {NAME} <{ATTRIBUTES}> (boxes, {inputs}) => (regions)
        {{
            {body}
        }}
        """
    )


def _level_of_each(levels: int) -> str:
    """level: int64 [B, R]; scaled: boxes in cells of their level, [B, R, 4].

    A coordinate that is not finite counts as 0.
    """
    return f"""
        zero = Constant <value_float = 0.0> ()
        none = Constant <value_ints = [0]> ()
        unit = Constant <value_ints = [1]> ()
        last = Constant <value_ints = [-1]> ()
        rest = Sub (boxes, boxes)
        finite = Equal (rest, zero)
        regions_at = Where (finite, boxes, zero)
        x0, y0, x1, y1 = Split <axis = 2, num_outputs = 4> (regions_at)
        box_width = Sub (x1, x0)
        box_height = Sub (y1, y0)
        area = Mul (box_width, box_height)
        has_area = Greater (area, zero)
        tiny = Constant <value_float = 1.0e-30> ()
        area_positive = Max (area, tiny)
        side = Sqrt (area_positive)
        canonical = Constant <value_float: float = @canonical_size> ()
        ratio = Div (side, canonical)
        eps_in = Constant <value_float: float = @eps_ratio> ()
        ratio_eps = Add (ratio, eps_in)
        log_ratio = Log (ratio_eps)
        log_two = Constant <value_float = 0.6931471805599453> ()
        octave = Div (log_ratio, log_two)
        canonical_int = Constant <value_int: int = @canonical_level> ()
        canonical_at = Cast <to = 1> (canonical_int)
        level_sum = Add (octave, canonical_at)
        eps_out = Constant <value_float: float = @eps_level> ()
        level_eps = Add (level_sum, eps_out)
        level_floor = Floor (level_eps)
        finest_int = Constant <value_int: int = @finest_level> ()
        finest = Cast <to = 1> (finest_int)
        level_from = Sub (level_floor, finest)
        level_area = Where (has_area, level_from, zero)
        level_most = Constant <value_float = {levels - 1}.0> ()
        level_float = Clip (level_area, zero, level_most)
        level_column = Cast <to = 7> (level_float)
        level = Squeeze (level_column, last)
        stride_ints = Constant <value_ints: ints = @strides> ()
        stride_floats = Cast <to = 1> (stride_ints)
        stride = Gather (stride_floats, level_column)
        scaled = Div (regions_at, stride)
    """


def _order() -> str:
    """Boxes and their pictures' numbers by level and, within a level, from top to bottom."""
    return """
        batch = Shape <start = 0, end = 1> (boxes)
        rows = Shape <start = 1, end = 2> (boxes)
        channels = Shape <start = 1, end = 2> (features0)
        flat_shape = Constant <value_ints = [-1, 4]> ()
        size_int = Constant <value_int: int = @output_size> ()
        size = Reshape (size_int, unit)
        zero_int = Constant <value_int = 0> ()
        one_int = Constant <value_int = 1> ()
        batch_scalar = Squeeze (batch)
        batch_range = Range (zero_int, batch_scalar, one_int)
        batch_column = Unsqueeze (batch_range, last)
        both = Concat <axis = 0> (batch, rows)
        picture_of = Expand (batch_column, both)
        picture = Reshape (picture_of, last)

        level_flat = Reshape (level, last)
        level_key = Cast <to = 1> (level_flat)
        far = Constant <value_float = 1.0e6> ()
        level_far = Mul (level_key, far)
        tops = Reshape (y0, last)
        near = Constant <value_float = 4.0e5> ()
        near_minus = Neg (near)
        tops_near = Clip (tops, near_minus, near)
        key = Add (level_far, tops_near)
        total = Shape (level_flat)
        keys, order = TopK <axis = 0, largest = 0> (key, total)
        scaled_flat = Reshape (scaled, flat_shape)
        scaled_order = Gather (scaled_flat, order)
        ordered = CastLike (scaled_order, features0)
        pictures = Gather (picture, order)
        order_key = Cast <to = 11> (order)
        order_keys, back = TopK <axis = 0, largest = 0> (order_key, total)
    """


def _levels(levels: int, mode: str) -> str:
    """RoiAlign of each level's regions, and all of them back in their own order."""
    lines = ["end0 = Identity (none)"]
    for k in range(levels):
        lines.append(
            f"""
            number{k} = Constant <value_int = {k}> ()
            mine{k} = Equal (level_flat, number{k})
            mine_int{k} = Cast <to = 7> (mine{k})
            many{k} = ReduceSum <keepdims = 1> (mine_int{k})
            end{k + 1} = Add (end{k}, many{k})
            boxes{k} = Slice (ordered, end{k}, end{k + 1}, none)
            pictures{k} = Slice (pictures, end{k}, end{k + 1}, none)
            on{k} = RoiAlign <coordinate_transformation_mode = "{mode}", spatial_scale = 1.0,
                output_height: int = @output_size, output_width: int = @output_size,
                sampling_ratio: int = @sampling_ratio> (features{k}, boxes{k}, pictures{k})
            """
        )
    joined = ", ".join(f"on{k}" for k in range(levels))
    lines.append(
        f"""
        joined = Concat <axis = 0> ({joined})
        found = Gather (joined, back)
        out_shape = Concat <axis = 0> (batch, rows, channels, size, size)
        regions = Reshape <allowzero = 1> (found, out_shape)
        """
    )
    return "\n".join(lines)


def _cells(levels: int) -> str:
    """cells: [B, all cells, C]; first, high, wide: where a region's level begins, and its size."""
    lines = [
        """
        batch = Shape <start = 0, end = 1> (boxes)
        rows = Shape <start = 1, end = 2> (boxes)
        channels = Shape <start = 1, end = 2> (features0)
        cell_shape = Concat <axis = 0> (batch, channels, last)
        """
    ]
    for k in range(levels):
        lines.append(f"flat{k} = Reshape (features{k}, cell_shape)")
        lines.append(f"many{k} = Shape <start = 2, end = 3> (flat{k})")
        lines.append(f"high{k} = Shape <start = 2, end = 3> (features{k})")
        lines.append(f"wide{k} = Shape <start = 3, end = 4> (features{k})")
        before = f"Add (first{k - 1}, many{k - 1})" if k else "Identity (none)"
        lines.append(f"first{k} = {before}")

    def of_region(name: str, stem: str) -> str:
        parts = ", ".join(f"{stem}{k}" for k in range(levels))
        return (
            f"{name}_list = Concat <axis = 0> ({parts})\n"
            f"{name}_region = Gather ({name}_list, level)\n"
            f"{name} = Unsqueeze ({name}_region, last)"
        )

    flats = ", ".join(f"flat{k}" for k in range(levels))
    lines.append(f"cells_first = Concat <axis = 2> ({flats})")
    lines.append("cells = Transpose <perm = [0, 2, 1]> (cells_first)")
    lines += [of_region("first", "first"), of_region("high", "high"), of_region("wide", "wide")]
    return "\n".join(lines)


def _samples(aligned: bool) -> str:
    """xs, ys: fp32 [B, R, S * g], the samples' places along each axis, in cells of the level."""
    half, least = ("0.5", "-3.4028234663852886e38") if aligned else ("0.0", "1.0")
    return f"""
        half = Constant <value_float = {half}> ()
        least = Constant <value_float = {least}> ()
        shifted = Sub (scaled, half)
        left, top, right, bottom = Split <axis = 2, num_outputs = 4> (shifted)
        region_wide = Sub (right, left)
        region_high = Sub (bottom, top)
        width = Max (region_wide, least)
        height = Max (region_high, least)
        size_int = Constant <value_int: int = @output_size> ()
        ratio_int = Constant <value_int: int = @sampling_ratio> ()
        steps = Mul (size_int, ratio_int)
        zero_int = Constant <value_int = 0> ()
        one_int = Constant <value_int = 1> ()
        step_range = Range (zero_int, steps, one_int)
        bin_of = Div (step_range, ratio_int)
        bin_first = Mul (bin_of, ratio_int)
        in_bin = Sub (step_range, bin_first)
        bin_float = Cast <to = 1> (bin_of)
        in_bin_float = Cast <to = 1> (in_bin)
        middle = Constant <value_float = 0.5> ()
        in_bin_middle = Add (in_bin_float, middle)
        size_float = Cast <to = 1> (size_int)
        ratio_float = Cast <to = 1> (ratio_int)
        {_places("x", "left", "width")}
        {_places("y", "top", "height")}
        size = Reshape (size_int, unit)
        ratio_side = Reshape (ratio_int, unit)
    """


def _places(name: str, start: str, length: str) -> str:
    """Along an axis, the sum that torchvision forms, in its order: its last digits are the same."""
    return f"""
        {name}_bin = Div ({length}, size_float)
        {name}_bins = Mul (bin_float, {name}_bin)
        {name}_part = Mul (in_bin_middle, {name}_bin)
        {name}_rest = Div ({name}_part, ratio_float)
        {name}_first = Add ({start}, {name}_bins)
        {name}s = Add ({name}_first, {name}_rest)
    """


def _axis(name: str, size: str) -> str:
    """Both neighbours of each place along an axis, their weights, and 0 where it is outside."""
    return f"""
        {name}_limit = Cast <to = 1> ({size})
        {name}_low = Less ({name}s, minus_one)
        {name}_high = Greater ({name}s, {name}_limit)
        {name}_out = Or ({name}_low, {name}_high)
        {name}_most_int = Sub ({size}, one_int)
        {name}_most = Cast <to = 1> ({name}_most_int)
        {name}_positive = Max ({name}s, zero)
        {name}_at = Min ({name}_positive, {name}_most)
        {name}_floor = Floor ({name}_at)
        {name}_b_share = Sub ({name}_at, {name}_floor)
        {name}_a_share = Sub (one, {name}_b_share)
        {name}_a_weight = Where ({name}_out, zero, {name}_a_share)
        {name}_b_weight = Where ({name}_out, zero, {name}_b_share)
        {name}_a = Cast <to = 7> ({name}_floor)
        {name}_next = Add ({name}_a, one_int)
        {name}_b = Min ({name}_next, {name}_most_int)
    """


def _interpolate() -> str:
    """The four neighbours gathered and weighted, and the mean of each bin's samples."""
    corners = []
    for row in "ab":
        for column in "ab":
            key = f"{row}{column}"
            corners.append(
                f"""
                line_{key} = Mul (y_{row}, wide)
                start_{key} = Add (line_{key}, first)
                start_{key}_row = Unsqueeze (start_{key}, last)
                x_{key}_column = Unsqueeze (x_{column}, two_axis)
                place_{key} = Add (start_{key}_row, x_{key}_column)
                place_{key}_flat = Reshape (place_{key}, place_shape)
                value_{key} = GatherND <batch_dims = 1> (cells, place_{key}_flat)
                wy_{key} = Unsqueeze (y_{row}_weight, last)
                wx_{key} = Unsqueeze (x_{column}_weight, two_axis)
                weight_{key} = Mul (wy_{key}, wx_{key})
                weight_{key}_flat = Reshape (weight_{key}, place_shape)
                weight_{key}_typed = CastLike (weight_{key}_flat, cells)
                part_{key} = Mul (value_{key}, weight_{key}_typed)
                """
            )
    return f"""
        minus_one = Constant <value_float = -1.0> ()
        one = Constant <value_float = 1.0> ()
        two_axis = Constant <value_ints = [2]> ()
        {_axis("x", "wide")}
        {_axis("y", "high")}
        place_shape = Concat <axis = 0> (batch, last, unit)
        {"".join(corners)}
        upper = Add (part_aa, part_ab)
        lower = Add (part_ba, part_bb)
        samples = Add (upper, lower)
        bins_shape = Concat <axis = 0> (batch, rows, size, ratio_side, size, ratio_side, channels)
        in_bins = Reshape (samples, bins_shape)
        bin_axes = Constant <value_ints = [3, 5]> ()
        means = ReduceMean <keepdims = 0> (in_bins, bin_axes)
        regions = Transpose <perm = [0, 1, 4, 2, 3]> (means)
    """
