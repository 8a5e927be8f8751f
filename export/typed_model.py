"""An exported model in the precision that a plan is to have, its numbers checked on the CPU."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx

from engine import ModelError, Segmenter
from engine.card import Card, InstanceCard
from engine.picture import Picture
from export.calibration import overflowing
from export.detector_parity import compare_detections
from export.emulation import emulated
from export.model_file import save_onnx, set_card
from export.precision import to_typed
from export.verify import check_parity
from maskrt.console import console

# What is right, by precision. bf16 has eight bits: boxes tie more often than in fp16. In int8 a
# value between two steps flips a whole one.
DETECTIONS = {
    "fp32": (0.98, 0.02, 0.98), "fp16": (0.9, 0.1, 0.95), "bf16": (0.75, 0.1, 0.9),
    "int8": (0.75, 0.2, 0.9),
}  # fmt: skip
"""Share of detections that are the same, difference of scores, mean IoU of masks."""
WINDOWS = {"fp32": (0.01, 0.02), "fp16": (0.05, 0.1), "bf16": (0.05, 0.1), "int8": (0.2, 0.5)}
"""Largest differences of a window's score and of its mask's probabilities."""


def typed_model(
    graph: onnx.ModelProto, card: Card, precision: str, sample: Picture
) -> tuple[onnx.ModelProto, Card]:
    """The graph with the precision written into it, and its card.

    Prints what stays in fp32, and how far it is from fp32 on a picture: onnxruntime runs the typed
    graph itself, or for bf16 and int8, for which it has no right kernels, one that rounds alike.

    Args:
        graph: as it was exported, or typed before.
        card: its card.
        precision: "fp32", "fp16", "bf16" or "int8".
        sample: uint8 [H, W, 3], BGR; values that leave fp16's range on it stay in fp32.

    Raises:
        ModelError: the graph is typed otherwise, or too far off.
    """
    if card.precision != "fp32" and card.precision != precision:
        raise ModelError(
            f"the model is in {card.precision} already and --precision is {precision}; give the "
            f"fp32 file, or --precision {card.precision}"
        )
    if precision == card.precision:
        return graph, card
    large: dict[str, float] = {}
    if precision != "bf16":  # which has fp32's range
        large = overflowing(graph, sample)
    typed, report = to_typed(graph, precision, keep=set(large))
    card = replace(card, precision=precision, islands=report.islands)
    set_card(typed, card)
    console.print(
        f"{report.low_nodes} layers in {precision}, {len(report.islands)} kept in fp32 (the card "
        "lists them)"
    )
    if report.kept:
        console.print(f"beyond the range of fp16, so in fp32 too: {', '.join(report.kept)}")
    itself = precision == "fp16"
    runnable = typed if itself else emulated(typed)
    means = "typed graph on onnxruntime" if itself else "rounded alike on onnxruntime"
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "given.onnx", Path(folder) / "typed.onnx"
        for proto, path in zip((graph, runnable), paths, strict=True):
            save_onnx(proto, path)
        with Segmenter(paths[0]) as reference, Segmenter(paths[1]) as other:
            require_same(reference, other, sample, "given file", f"{precision} ({means})")
    return typed, card


def require_same(
    reference: Segmenter, other: Segmenter, sample: Picture, first: str, second: str
) -> None:
    """Print how far apart two forms of a model are on a picture, and refuse what is too far.

    Args:
        reference: what is right.
        other: what is compared with it.
        sample: uint8 [H, W, 3], BGR.
        first: what to call the reference.
        second: what to call the other.

    Raises:
        ModelError: says by how much.
    """
    precision = other.card.precision
    if isinstance(reference.card, InstanceCard):
        found = compare_detections(reference, other, sample)
        console.print(found.table(first, second))
        matched, score, masks = DETECTIONS[precision]
        found.require(matched=matched, score=score, masks=masks)
    else:
        windows = check_parity(reference.backend, other.backend, sample)
        console.print(windows.table(first, second))
        score, mask = WINDOWS[precision]
        windows.require(score=score, mask=mask, same_windows=0.95)
