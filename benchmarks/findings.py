"""What a model finds on a COCO-format set: COCO results with the set's own categories."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.progress import track

from benchmarks.accuracy_report import Outcome
from benchmarks.coco_scores import COUNTS
from benchmarks.coco_set import COCO_KEYPOINTS, CocoSet
from engine import Card, InstanceCard, ModelError, ProposalCard, Segmenter
from maskrt.console import console

DETECTIONS = 100
"""Of a picture at most: what COCO's AP looks at."""


def found(
    segmenter: Segmenter,
    some: CocoSet,
    name: str,
    score_threshold: float = 0.0,
    mask_nms: float = 1.0,
) -> tuple[Outcome, list[dict[str, Any]]]:
    """Run a model over a set's pictures.

    Args:
        segmenter: the model.
        some: a set whose pictures can be read.
        name: what to call the model.
        score_threshold: results score at least this.
        mask_nms: of proposals; 1 keeps all.

    Returns:
        The outcome, whose metrics have the kinds that can be scored, without numbers yet; and the
        results of all pictures in COCO's format. Those of labels that the set does not have are
        left out, as COCO does not look at them.

    Raises:
        ModelError: a model whose labels are none of the set's categories.
        BackendError: the backend failed.
        PictureError: a picture that the model does not take.
    """
    card = segmenter.card
    kinds, notes = _kinds(card, some)
    options: dict[str, Any] = {"score_threshold": score_threshold, "top": DETECTIONS}
    ids: list[int | None] = [some.categories[0]["id"]]
    if isinstance(card, ProposalCard):
        most = COUNTS[-1] if card.pieces == 1 else min(COUNTS[-1], card.proposals)
        options |= {"top": most, "mask_nms": mask_nms}
        if card.proposals < COUNTS[-1]:
            of = "a picture" if card.pieces > 1 else "a level of the pyramid"
            notes.append(f"gives at most {card.proposals} proposals for {of}")
    else:
        assert isinstance(card, InstanceCard)
        ids = category_ids(card, some)
        notes += _unknown(ids, some)
    results: list[dict[str, Any]] = []
    for image in track(some.images, description=escape(name), console=console):
        objects = segmenter(some.picture(image), **options)
        for result, label in zip(objects.to_coco(image["id"]), objects.labels, strict=True):
            category = ids[label]
            if category is not None:
                results.append({**result, "category_id": category})
    outcome = Outcome(
        name, task=card.task, architecture=card.architecture, precision=card.precision,
        backend=segmenter.backend.name, weights_sha256=card.weights_sha256, results=len(results),
        notes=notes, metrics={kind: {} for kind in kinds},
    )  # fmt: skip
    return outcome, results


def _kinds(card: Card, some: CocoSet) -> tuple[list[str], list[str]]:
    """What can be scored, and a note for what cannot."""
    kinds, notes = ["boxes"], []
    if card.mask_size and some.has_masks:
        kinds.append("masks")
    elif card.mask_size:
        notes.append("masks were not scored: the set has none")
    if isinstance(card, InstanceCard) and card.keypoints:
        if len(card.keypoints) == some.keypoints == COCO_KEYPOINTS:
            kinds.append("keypoints")
        else:
            notes.append(
                f"keypoints were not scored: the model has {len(card.keypoints)}, the set "
                f"{some.keypoints}, and OKS is defined for COCO's {COCO_KEYPOINTS}"
            )
    return kinds, notes


def category_ids(card: InstanceCard, some: CocoSet) -> list[int | None]:
    """The set's category of each of the model's labels: by name, else by the card's ids.

    Sets number the same categories differently (COCO's 80 have ids up to 90, many copies count
    from 1), so ids are looked at only where no name is known.

    Returns:
        An id for each label; None where the set has no such category.

    Raises:
        ModelError: it has none of them.
    """
    names = {category["name"].casefold(): category["id"] for category in some.categories}
    ids = [names.get(label.casefold()) for label in card.labels]
    if not any(k is not None for k in ids):
        there = set(names.values())
        told = card.category_ids or range(1, len(card.labels) + 1)
        ids = [k if k in there else None for k in told]
    if not any(k is not None for k in ids):
        raise ModelError(
            f"the model finds {', '.join(card.labels[:3])}... and {some.annotations} has none of "
            "these categories, by name or id; give a set with the model's categories"
        )
    return ids


def _unknown(ids: list[int | None], some: CocoSet) -> list[str]:
    """A note on categories of the set that the model cannot find."""
    asked = {one["category_id"] for one in some.objects}
    missed = [c["name"] for c in some.categories if c["id"] in asked - set(ids)]
    if not missed:
        return []
    return [f"knows nothing of {', '.join(missed[:5])}{', ...' * (len(missed) > 5)}: AP 0 there"]
