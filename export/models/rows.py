"""Fixed shapes outside, only the rows that count inside: two operators around a head.

A graph's outputs are padded to N rows so that every picture gives the same shapes. On a CPU the
padding would cost real time inside a head, so `first_rows` cuts it off and `pad_rows` puts it
back. On a GPU N rows cost no more than a few, and a shape that depends on data costs a
synchronization, so the TensorRT build leaves both out (`export/precision.py`).

In ONNX each is a function (`export/functions.py`) whose body is standard ONNX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnx.defs import OpSchema
from onnxscript.values import Op, Opset
from torch import Tensor

from export.functions import FIRST_ROWS, PAD_ROWS
from plugins import DOMAIN


@torch.library.custom_op("maskrt::first_rows", mutates_args=())
def first_rows(rows: Tensor, count: Tensor) -> Tensor:
    """Rows 0 ... count - 1 of [N, K]; count is int32 [1]."""
    return rows[: int(count)].clone()


@first_rows.register_fake
def _(rows: Tensor, count: Tensor) -> Tensor:
    some = torch.library.get_ctx().new_dynamic_size()
    return rows.new_empty((some, *rows.shape[1:]))


@torch.library.custom_op("maskrt::pad_rows", mutates_args=())
def pad_rows(rows: Tensor, like: Tensor) -> Tensor:
    """[n, K] with zeros below, up to as many rows as `like` has."""
    return torch.nn.functional.pad(rows, (0, 0, 0, like.shape[0] - rows.shape[0]))


@pad_rows.register_fake
def _(rows: Tensor, like: Tensor) -> Tensor:
    return rows.new_empty((like.shape[0], *rows.shape[1:]))


def _schema(name: str, inputs: dict[str, str], output: str) -> OpSchema:
    return OpSchema(
        name,
        DOMAIN,
        1,
        inputs=[OpSchema.FormalParameter(key, kind) for key, kind in inputs.items()],
        outputs=[OpSchema.FormalParameter(output, "T")],
        type_constraints=[
            ("T", ["tensor(float)", "tensor(float16)", "tensor(int32)", "tensor(int64)"], ""),
            ("L", ["tensor(float)", "tensor(float16)", "tensor(int32)", "tensor(int64)"], ""),
        ],
    )


_SCHEMAS = {
    FIRST_ROWS: _schema(FIRST_ROWS, {"rows": "T", "count": "tensor(int32)"}, "first"),
    PAD_ROWS: _schema(PAD_ROWS, {"rows": "T", "like": "L"}, "padded"),
}


def _node(name: str) -> Callable[..., Any]:
    write = Op(Opset(DOMAIN, 1), name, _SCHEMAS[name])
    return lambda *inputs: write(*inputs)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.maskrt.first_rows.default: _node(FIRST_ROWS),
    torch.ops.maskrt.pad_rows.default: _node(PAD_ROWS),
}
"""For `torch.onnx.export(custom_translation_table=...)`."""
