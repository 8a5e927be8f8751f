"""`maskrt inspect`: what a model file says of itself, and whether it runs here. Needs no GPU."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from engine.backends import PLAN_SUFFIXES, open_backend
from engine.backends.bundle import choose
from engine.backends.trt import read_card, read_plan
from engine.card import Card
from engine.errors import BackendError
from engine.machine import Machine, misfits, this_machine
from maskrt.console import console

LONG = 8
"""Entries of a list that are shown; the JSON has all."""


def inspect(
    model: Annotated[Path, typer.Argument(help="An ONNX file, a plan, or a folder of them.")],
    json: Annotated[bool, typer.Option("--json", help="The card alone, as JSON.")] = False,
) -> None:
    """Show what a model is, what built it, and what keeps it from running on this machine."""
    machine = this_machine()
    if model.is_dir():
        _inspect_folder(model, machine)
        return
    is_plan = model.suffix in PLAN_SUFFIXES and model.is_file()
    card = read_card(model) if is_plan else _card_of_onnx(model)
    if json:
        typer.echo(card.to_json(indent=2))
        return
    console.print(_table(model, card))
    if is_plan:
        read_plan(model, card)
        _say(model, card, machine)


def _card_of_onnx(model: Path) -> Card:
    backend = open_backend(model, "onnxruntime")
    backend.close()
    return backend.card


def _inspect_folder(folder: Path, machine: Machine) -> None:
    plans = [p for p in sorted(folder.iterdir()) if p.suffix in PLAN_SUFFIXES and p.name[0] != "."]
    for plan in plans:
        _say(plan, read_card(plan), machine)
    try:
        console.print(f"on this machine {choose(folder, machine)} is run")
    except BackendError:
        console.print("on this machine none of them is run")


def _say(plan: Path, card: Card, machine: Machine) -> None:
    reasons = misfits(plan, card, machine)
    if not reasons:
        console.print(f"{plan} fits this machine ({machine.gpu}, {machine.capability})")
    for reason in reasons:
        console.print(f"does not run here: {reason}", markup=False)


def _table(model: Path, card: Card) -> Table:
    table = Table(title=str(model), show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in asdict(card).items():
        if isinstance(value, dict):
            for inner, text in value.items():
                table.add_row(f"{key}.{inner}", text or "-")
        elif isinstance(value, list) and len(value) > LONG:
            table.add_row(key, f"{', '.join(map(str, value[:LONG]))} and {len(value) - LONG} more")
        elif value not in ("", [], None):
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            table.add_row(key, shown)
    return table
