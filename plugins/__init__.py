"""Operators of our own: one definition each, in standard ONNX operators.

An operator is a folder: `op.py` (schema and attributes), the ONNX function that defines it, a plain
numpy `reference.py` for tests, `cases.py` (named inputs that every form is run on), a CUDA kernel
with its TensorRT plugin, and a README. `paste/` is a kernel alone, `engine.paste` its definition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    import onnx

DOMAIN = "maskrt"
TARGETS = ("onnxruntime", "openvino", "tensorrt-rtx")


def functions(
    target: str, *, levels: int = 4, aligned: bool = False
) -> dict[str, onnx.FunctionProto]:
    """The operators' definitions as model-local functions, by name.

    Args:
        target: what will run the file: "onnxruntime", "openvino" (which wants functions
            inlined: `onnx.inliner.inline_local_functions`) or "tensorrt-rtx".
        levels: of the pyramid that the model's PyramidRoiAlign nodes read.
        aligned: their `aligned` attribute; it chooses the body.

    Raises:
        OptionError: an unknown target, or a number of levels out of range.
    """
    from plugins.nms import op as nms
    from plugins.roi_align import bodies
    from plugins.roi_align import op as roi_align

    if target not in TARGETS:
        raise OptionError(f"there is no target {target!r}; choose one of {', '.join(TARGETS)}")
    if target == "tensorrt-rtx":
        kept, body = nms.FIXED_FUNCTION, bodies.gathered
    else:
        kept, body = nms.FUNCTION, bodies.sorted_by_level
    return {nms.NAME: kept, roi_align.NAME: body(levels, aligned=aligned)}


def register_schemas() -> None:
    """Make ONNX's checker and shape inference know the operators; calling it again is harmless."""
    import onnx.defs

    from plugins.nms import op as nms
    from plugins.roi_align import op as roi_align

    for op in (nms, roi_align):
        if not onnx.defs.has(op.NAME, DOMAIN):
            onnx.defs.register_schema(op.schema())


def load(trt: ModuleType | None = None, library: str | Path | None = None) -> None:
    """Register the compiled plugins with a TensorRT, building them first where they are missing.

    Args:
        trt: the module whose registry is meant, `tensorrt` if none is given.
        library: the compiled library, if not the one that MASKRT_PLUGINS names or that was built
            here before.

    Raises:
        engine.BackendError: no TensorRT, nothing to build with, or a library that it refuses.
    """
    from plugins import library as compiled

    compiled.load(trt, library)
