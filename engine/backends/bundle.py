"""A folder with several forms of one model: the one that is best for this machine."""

from __future__ import annotations

import logging
from pathlib import Path

from ..card import Card
from ..errors import BackendError, ModelError
from ..files import sha256_of
from ..machine import Machine, misfits
from . import PLAN_SUFFIXES
from .trt import read_card

log = logging.getLogger(__name__)

FASTEST_FIRST = ("int8", "fp16", "bf16", "fp32")


def choose(folder: Path, machine: Machine, *, plans_too: bool = True) -> Path:
    """The plan that fits and was built for this GPU, or else any that fits, or else the ONNX file.

    Of several, the one in the lowest precision. Why plans were passed over is logged.

    Args:
        folder: plans with their cards, compiled plugins, an ONNX file.
        machine: what it is for.
        plans_too: False for the ONNX file in any case.

    Raises:
        ModelError: there is no model, or there are several different ones.
        BackendError: no plan fits and there is no ONNX file.
    """
    # What begins with a dot is being written, or was left by a build that was killed.
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    plans: dict[Path, Card] = {}
    for path in files if plans_too else []:
        if path.suffix in PLAN_SUFFIXES:
            try:
                plans[path] = read_card(path)
            except ModelError as error:
                log.warning("left out: %s", error)
    graphs = [path for path in files if path.suffix == ".onnx"]
    stripped = {card.runtime.get("stripped") for card in plans.values()}
    graphs = [path for path in graphs if path.name not in stripped]
    if len({card.weights_sha256 for card in plans.values()}) > 1 or len(graphs) > 1:
        raise ModelError(
            f"{folder} has several models ({', '.join(p.name for p in (*plans, *graphs))}); give "
            "one file, or a folder for each model"
        )
    if not plans and not graphs:
        raise ModelError(f"{folder} has neither a plan nor an .onnx file; give a model")
    reasons = {path: misfits(path, card, machine) for path, card in plans.items()}
    fitting = [path for path in plans if not reasons[path]]
    told = "; ".join(reason for listed in reasons.values() for reason in listed)
    if plans and not machine.capability:
        told = "no NVIDIA GPU can be used here"
    if fitting:
        chosen = min(fitting, key=lambda path: _rank(plans[path], machine))
        log.info("of %s, %s fits this machine best", folder, chosen.name)
        return chosen
    if not graphs:
        raise BackendError(f"no plan in {folder} fits, and it has no .onnx file: {told}")
    if told:
        log.warning("%s is run instead of a plan: %s", graphs[0], told)
        digest = sha256_of(graphs[0])
        if all(card.runtime.get("source_sha256", digest) != digest for card in plans.values()):
            log.warning("%s is not the file that the plans were built from", graphs[0])
    return graphs[0]


def _rank(card: Card, machine: Machine) -> tuple[bool, int]:
    told = card.runtime
    made_for_it = told.get("hardware_compatibility", "none") == "none"
    made_for_it &= told.get("compute_capability") == machine.capability
    return not made_for_it, FASTEST_FIRST.index(card.precision)
