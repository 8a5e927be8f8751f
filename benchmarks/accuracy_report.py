"""What `benchmarks/accuracy.py` has to say: tables to read, JSON to keep.

The JSON (`format` "maskrt.accuracy", `version` 1; a field that changes its meaning counts the
version up):

    format, version
    made        date (UTC), platform, versions {maskrt, pycocotools, numpy, python}
    set         annotations, images (paths), pictures, objects, crowds (as scored),
                left_out [{image_id, file_name, error}]
    settings    score_threshold, mask_nms, limit, threads
    models      in the order given, each
        model           as it was given
        error           null, or the sentence why there are no numbers
        task            "proposals" or "instances"
        architecture, backend, precision, weights_sha256
        results         how many there were
        notes           what was not scored, and limits that matter
        metrics         {"boxes" | "masks" | "keypoints": {name: 0 to 1, or null where the set
                        has no object to measure it on}}; the names are in benchmarks/coco_scores.py
        loss            the same less: the first model's number minus this one's, so that above 0
                        is worse; null for the first, and where it has no such number
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.coco_scores import Scores
from benchmarks.coco_set import CocoSet
from benchmarks.made import made

FORMAT, VERSION = "maskrt.accuracy", 1

COLUMNS = {
    ("proposals", "boxes"): (
        "AR@10", "AR@100", "AR@1000", "AUC", "AUC_small", "AUC_medium", "AUC_large",
    ),
    ("instances", "boxes"): (
        "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR@100",
    ),
    ("instances", "keypoints"): ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR"),
}  # fmt: skip
for _task in ("proposals", "instances"):
    COLUMNS[_task, "masks"] = COLUMNS[_task, "boxes"]
HEADLINE = {"proposals": "AUC", "instances": "AP"}
"""The number whose loss has a column."""


@dataclass
class Outcome:
    """A model and its numbers; the fields are those of the JSON, above."""

    model: str
    error: str | None = None
    task: str = ""
    architecture: str = ""
    backend: str = ""
    precision: str = ""
    weights_sha256: str = ""
    results: int = 0
    notes: list[str] = field(default_factory=list)
    metrics: dict[str, Scores] = field(default_factory=dict)
    loss: dict[str, Scores] | None = None


def losses(outcomes: list[Outcome]) -> list[Outcome]:
    """The outcomes with what each loses against the first, where both have a number."""
    first, *others = outcomes
    return [first, *(_against(first, other) for other in others)]


def _against(first: Outcome, other: Outcome) -> Outcome:
    if first.error or other.error or first.task != other.task:
        return other
    loss: dict[str, Scores] = {}
    for kind in other.metrics:
        if kind in first.metrics:
            was, now = first.metrics[kind], other.metrics[kind]
            loss[kind] = {name: _less(was[name], now[name]) for name in now}
    return replace(other, loss=loss)


def _less(was: float | None, now: float | None) -> float | None:
    return None if was is None or now is None else was - now


def shown(outcomes: list[Outcome], some: CocoSet) -> Iterator[Table | Text]:
    """What to print: what ran, with a line for each note and error, and a table for each kind.

    A kind that any model has results of; a row for each model that has.
    """
    names = [outcome.model.rpartition("/")[2] for outcome in outcomes]
    if len(set(names)) < len(names):
        names = [outcome.model for outcome in outcomes]
    table = _table("models", ("runs on", "precision", "results"))
    for outcome, name in zip(outcomes, names, strict=True):
        results = "none: see below" if outcome.error else str(outcome.results)
        table.add_row(Text(name), outcome.backend, outcome.precision, results)
    yield table
    for outcome, name in zip(outcomes, names, strict=True):
        yield from (Text(f"{name}: {said}") for said in (outcome.error, *outcome.notes) if said)
    of = f"{len(some.images)} pictures, {len(some.objects)} objects"
    for (task, kind), columns in COLUMNS.items():
        headline = HEADLINE[task]
        table = _table(f"{task}, {kind}: {of}", (*columns, f"loss of_{headline}"))
        for outcome, name in zip(outcomes, names, strict=True):
            if outcome.task == task and kind in outcome.metrics:
                loss = (outcome.loss or {}).get(kind, {}).get(headline)
                numbers = [_number(outcome.metrics[kind][column]) for column in columns]
                table.add_row(Text(name), *numbers, "" if loss is None else f"{loss:+.4f}")
        if table.rows:
            yield table


def _table(title: str, columns: Iterable[str]) -> Table:
    """A table whose first column, the models' names, gives way in a narrow terminal."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", overflow="fold")
    for column in columns:
        table.add_column(column.replace("_", "\n"), justify="right", no_wrap=True)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def report(
    outcomes: list[Outcome],
    some: CocoSet,
    left_out: list[tuple[dict[str, Any], str]],
    settings: dict[str, Any],
) -> str:
    """The JSON text described above."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "made": made("maskrt", "pycocotools", "numpy"),
        "set": {
            "annotations": str(some.annotations),
            "images": str(some.folder),
            "pictures": len(some.images),
            "objects": len(some.objects),
            "crowds": sum(bool(one.get("iscrowd")) for one in some.objects),
            "left_out": [
                {"image_id": image["id"], "file_name": image["file_name"], "error": why}
                for image, why in left_out
            ],
        },
        "settings": settings,
        "models": [asdict(outcome) for outcome in outcomes],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
