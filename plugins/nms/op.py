"""BatchedNms in ONNX: its schema, its attributes, and the function that defines it.

Greedy NMS is a recurrence: box j stays if no box i < j that stayed overlaps it. Iterating
"j stays unless something that stays now overlaps it", from all boxes staying, fixes at least one
more box a round and has the greedy result as its only fixed point; boxes of real pictures need a
handful of rounds. That needs no operator whose shape depends on data.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import onnx
from onnx.defs import OpSchema

from engine.errors import OptionError
from plugins import DOMAIN

NAME = "BatchedNms"
LARGEST_CANDIDATES = 20_000


@dataclass(frozen=True)
class NmsAttributes:
    """What a BatchedNms node is told.

    Attributes:
        iou_threshold: a box whose IoU with a better one is above this is dropped; 0 to 1.
        score_threshold: only scores above this compete.
        candidates: how many of the best (row, class) pairs of a picture compete, 1 to 20,000.
        detections: K, how many come out at most; 1 to `candidates`.
        class_agnostic: whether boxes of different classes suppress each other too.

    Raises:
        OptionError: a value out of its range; the message has its name.
    """

    iou_threshold: float
    score_threshold: float
    candidates: int
    detections: int
    class_agnostic: bool = False

    def __post_init__(self) -> None:
        checks = (
            ("iou_threshold", 0 <= self.iou_threshold <= 1, "a number from 0 to 1"),
            ("score_threshold", math.isfinite(self.score_threshold), "a finite number"),
            (
                "candidates",
                type(self.candidates) is int and 1 <= self.candidates <= LARGEST_CANDIDATES,
                f"a whole number from 1 to {LARGEST_CANDIDATES}",
            ),
            (
                "detections",
                type(self.detections) is int and 1 <= self.detections <= self.candidates,
                f"a whole number from 1 to candidates ({self.candidates})",
            ),
        )
        for name, right, rule in checks:
            if not right:
                raise OptionError(f"{NAME}: {name} is {getattr(self, name)!r}; give {rule}")

    def for_node(self) -> dict[str, float | int]:
        """The attributes as an ONNX node has them.

        ONNX attributes are fp32. The threshold is rounded down to one, so that comparing an fp32
        IoU with it has the same outcome as comparing it with the number that was given.
        """
        return asdict(self) | {
            "iou_threshold": float(_rounded_down(self.iou_threshold)),
            "class_agnostic": int(self.class_agnostic),
        }


def _rounded_down(value: float) -> np.float32:
    nearest = np.float32(value)
    return np.nextafter(nearest, np.float32(-1)) if float(nearest) > value else nearest


def schema() -> OpSchema:
    """The contract: the ONNX checker refuses nodes that do not keep it once it is registered."""
    kinds = OpSchema.AttrType

    def tensor(name: str, kind: str, text: str) -> OpSchema.FormalParameter:
        return OpSchema.FormalParameter(name, kind, text)

    return OpSchema(
        NAME,
        DOMAIN,
        1,
        doc="Greedy non-maximum suppression for each picture and class, fixed shapes out.",
        inputs=[
            tensor("boxes", "tensor(float)", "[B, N, 4] xyxy, or [B, N, C, 4]: one a class"),
            tensor("scores", "tensor(float)", "[B, N, C]"),
        ],
        outputs=[
            tensor("out_boxes", "tensor(float)", "[B, K, 4]"),
            tensor("out_scores", "tensor(float)", "[B, K], falling"),
            tensor("out_classes", "tensor(int32)", "[B, K], -1 where there is none"),
            tensor("out_indices", "tensor(int32)", "[B, K], the row n; -1 where there is none"),
            tensor("count", "tensor(int32)", "[B]"),
        ],
        attributes=[
            OpSchema.Attribute("iou_threshold", kinds.FLOAT, required=True),
            OpSchema.Attribute("score_threshold", kinds.FLOAT, required=True),
            OpSchema.Attribute("candidates", kinds.INT, required=True),
            OpSchema.Attribute("detections", kinds.INT, required=True),
            OpSchema.Attribute("class_agnostic", kinds.INT, required=True),
        ],
    )


# Where shapes may depend on data, pairs that are no candidates cost nothing.
_LIVE = """
        each = Cast <to = 7> (valid)
        each_count = ReduceSum <keepdims = 0> (each, last)
        most_live = ReduceMax <keepdims = 1> (each_count)
        some_live = Max (most_live, one_int)
        k = Min (most, pairs, some_live)
"""
_FIXED = """
        k = Min (most, pairs)
"""
_BODY = """
    <domain: "maskrt", opset_import: ["" : 20]>
    BatchedNms <iou_threshold, score_threshold, candidates, detections, class_agnostic>
        (boxes, scores) => (out_boxes, out_scores, out_classes, out_indices, count)
    {
        zero = Constant <value_float = 0.0> ()
        one_int = Constant <value_ints = [1]> ()
        none_int = Constant <value_ints = [0]> ()
        lowest = Constant <value_float = -3.4028234663852886e38> ()
        last = Constant <value_ints = [-1]> ()
        middle = Constant <value_ints = [1]> ()

        batch = Shape <start = 0, end = 1> (scores)
        classes = Shape <start = 2, end = 3> (scores)
        flat = Flatten <axis = 1> (scores)
        pairs = Shape <start = 1, end = 2> (flat)
        four = Constant <value_ints = [4]> ()
        box_shape = Concat <axis = 0> (batch, last, four)
        all_boxes = Reshape (boxes, box_shape)
        box_count = Shape <start = 1, end = 2> (all_boxes)
        classes_per_box = Div (pairs, box_count)

        box_rest = Sub (all_boxes, all_boxes)
        box_zero = Equal (box_rest, zero)
        box_zeros = Cast <to = 1> (box_zero)
        box_finite = ReduceMin <keepdims = 1> (box_zeros, last)
        spread_shape = Concat <axis = 0> (batch, box_count, classes_per_box)
        box_spread = Expand (box_finite, spread_shape)
        pair_shape = Concat <axis = 0> (batch, last)
        pair_finite = Reshape (box_spread, pair_shape)
        box_valid = Greater (pair_finite, zero)
        score_rest = Sub (flat, flat)
        score_valid = Equal (score_rest, zero)
        floor = Constant <value_float: float = @score_threshold> ()
        above = Greater (flat, floor)
        finite = And (box_valid, score_valid)
        valid = And (finite, above)
        ranked = Where (valid, flat, lowest)

        most_scalar = Constant <value_int: int = @candidates> ()
        most = Reshape (most_scalar, one_int)
        CANDIDATES
        top, pair = TopK (ranked, k)
        alive = Greater (top, lowest)
        row = Div (pair, classes)
        row_first = Mul (row, classes)
        class = Sub (pair, row_first)
        box_index = Div (pair, classes_per_box)
        box_place = Unsqueeze (box_index, last)
        kept_boxes = GatherND <batch_dims = 1> (all_boxes, box_place)

        x1, y1, x2, y2 = Split <axis = 2, num_outputs = 4> (kept_boxes)
        x1t = Transpose <perm = [0, 2, 1]> (x1)
        y1t = Transpose <perm = [0, 2, 1]> (y1)
        x2t = Transpose <perm = [0, 2, 1]> (x2)
        y2t = Transpose <perm = [0, 2, 1]> (y2)
        width = Sub (x2, x1)
        height = Sub (y2, y1)
        area = Mul (width, height)
        area_t = Transpose <perm = [0, 2, 1]> (area)
        right = Min (x2, x2t)
        left = Max (x1, x1t)
        wide = Sub (right, left)
        shared_width = Max (wide, zero)
        bottom = Min (y2, y2t)
        upper = Max (y1, y1t)
        high = Sub (bottom, upper)
        shared_height = Max (high, zero)
        shared = Mul (shared_width, shared_height)
        areas = Add (area, area_t)
        union = Sub (areas, shared)
        iou = Div (shared, union)
        threshold = Constant <value_float: float = @iou_threshold> ()
        above_threshold = Greater (iou, threshold)
        touches = Greater (shared, zero)
        over = And (above_threshold, touches)

        class_row = Unsqueeze (class, last)
        class_column = Unsqueeze (class, middle)
        same_class = Equal (class_row, class_column)
        agnostic_int = Constant <value_int: int = @class_agnostic> ()
        agnostic = Cast <to = 9> (agnostic_int)
        rivals = Or (same_class, agnostic)
        k_scalar = Squeeze (k)
        from_int = Constant <value_int = 0> ()
        step_int = Constant <value_int = 1> ()
        rank = Range (from_int, k_scalar, step_int)
        rank_row = Unsqueeze (rank, last)
        better = Less (rank_row, rank)
        over_rivals = And (over, rivals)
        suppresses_bool = And (over_rivals, better)
        suppresses = Cast <to = 1> (suppresses_bool)

        alive_row = Unsqueeze (alive, middle)
        alive_float = Cast <to = 1> (alive_row)
        going = Constant <value_int = 1> ()
        going_bool = Cast <to = 9> (going)
        staying = Loop (k_scalar, going_bool, alive_float) <body = round
            (int64 number, bool go_on, float[b, one, m] stay) => (bool again, float[b, one, m] next)
            {
                hits = MatMul (stay, suppresses)
                free = Equal (hits, zero)
                free_float = Cast <to = 1> (free)
                next = Mul (free_float, alive_float)
                moved = Sub (next, stay)
                size = Abs (moved)
                largest = ReduceMax <keepdims = 0> (size)
                again = Greater (largest, zero)
            }>
        stays_float = Squeeze (staying, middle)
        stays = Greater (stays_float, zero)
        final = Where (stays, top, lowest)

        wanted_scalar = Constant <value_int: int = @detections> ()
        wanted = Reshape (wanted_scalar, one_int)
        d = Min (wanted, k)
        best, place = TopK (final, d)
        live = Greater (best, lowest)
        live_int = Cast <to = 6> (live)
        count = ReduceSum <keepdims = 0> (live_int, last)
        live_column = Unsqueeze (live, last)
        spot = Unsqueeze (place, last)
        best_boxes = GatherND <batch_dims = 1> (kept_boxes, spot)
        best_class = GatherND <batch_dims = 1> (class, spot)
        best_row = GatherND <batch_dims = 1> (row, spot)
        nothing = Constant <value_int = -1> ()
        live_boxes = Where (live_column, best_boxes, zero)
        live_scores = Where (live, best, zero)
        live_class = Where (live, best_class, nothing)
        live_row = Where (live, best_row, nothing)
        class_int = Cast <to = 6> (live_class)
        row_int = Cast <to = 6> (live_row)

        missing = Sub (wanted, d)
        pads = Concat <axis = 0> (none_int, none_int, none_int, missing)
        box_pads = Concat <axis = 0> (none_int, none_int, none_int, none_int, missing, none_int)
        nothing_int = Cast <to = 6> (nothing)
        out_boxes = Pad (live_boxes, box_pads)
        out_scores = Pad (live_scores, pads)
        out_classes = Pad (class_int, pads, nothing_int)
        out_indices = Pad (row_int, pads, nothing_int)
    }
"""

FUNCTION = onnx.parser.parse_function(_BODY.replace("CANDIDATES", _LIVE))
"""The definition, in standard operators. [candidates, candidates] matrices are made: for a few
thousand candidates that is quick, for 20,000 it needs some 10 GB, and the plugin does not."""
FIXED_FUNCTION = onnx.parser.parse_function(_BODY.replace("CANDIDATES", _FIXED))
"""The same for builders that must know every shape: candidates that are none count too."""
