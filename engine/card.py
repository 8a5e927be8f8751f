"""What a model file says of itself, so that it runs the same wherever it is taken.

The card is JSON: in an ONNX file's metadata under `KEY`, and beside a TensorRT plan in
`<plan>.json`. It is read as data and checked field by field; nothing in it is ever evaluated.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from .errors import ModelError

KEY = "maskrt.card"
FORMAT = 1

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
TASKS = ("proposals", "instances")
RESIZE_RULES = ("bilinear", "area")
FRAMEWORKS = ("torchvision", "detectron2")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What every model's card says.

    Attributes:
        task: "proposals": class-agnostic masks with a score each, from the windows of a pyramid;
            "instances": boxes, classes and masks of a two-stage network.
        architecture: the model's name at export.
        labels: the name of each label; a proposal network has one.
        mask_size: side S of the masks that come out; 0 for a network without.
        mask_threshold: probability above which a pixel belongs to the object.
        score_threshold: default score that a result must reach, 0 to 1.
        top: default number of results.
        precision: "fp32", "fp16", "bf16" or "int8", of the layers that carry the work.
        islands: names of the graph's nodes that stay in fp32 all the same.
        built_by: what wrote the file, e.g. {"maskrt": "0.1.0", "torch": "2.13.0"}.
        weights_sha256: of the checkpoint's tensors.
        runtime: for a plan, what can run it (`engine.machine` reads it): flavour, version,
            platform, compute_capability, hardware_compatibility, plugins, and how it was built.
        plan_sha256: for a plan, of its bytes.
        format: the card's own version.
    """

    task: str
    architecture: str
    labels: list[str]
    mask_size: int
    mask_threshold: float
    score_threshold: float
    top: int
    precision: str
    built_by: dict[str, str]
    weights_sha256: str
    islands: list[str] = field(default_factory=list)
    runtime: dict[str, str] = field(default_factory=dict)
    plan_sha256: str = ""
    format: int = FORMAT

    OUTPUTS: ClassVar[frozenset[str]] = frozenset()
    """Of the graph, at least these."""

    @property
    def inputs(self) -> tuple[tuple[str, str, int], ...]:
        """Of the graph: name, numpy dtype and rank of each."""
        return ()

    def to_json(self, indent: int | None = None) -> str:
        """The card as JSON text."""
        return json.dumps(asdict(self), indent=indent)

    @classmethod
    def from_json(cls, text: str, source: str | Path) -> Card:
        """Read a card, every field checked.

        Args:
            text: JSON.
            source: the file it comes from, for the message.

        Raises:
            ModelError: not JSON, a field missing or of a wrong kind, or a newer format.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise _damaged(source, f"it is not JSON ({error})") from error
        if not isinstance(content, dict):
            raise _damaged(source, f"it is a {type(content).__name__}, not an object")
        if type(content.get("format")) is not int or content["format"] != FORMAT:
            raise ModelError(
                f"the card in {source} has format {content.get('format')!r} and this MaskRT "
                f"reads format {FORMAT}; export the model again, or install the MaskRT that did"
            )
        kinds: dict[str, Any] = {"proposals": ProposalCard, "instances": InstanceCard}
        task = content.get("task")
        if type(task) is not str or task not in kinds:
            raise _damaged(source, f"task is {task!r:.80} and should be one of {', '.join(TASKS)}")
        kind = kinds[task]
        for item in fields(kind):
            if item.name not in content:
                if item.default is MISSING and item.default_factory is MISSING:
                    raise _damaged(source, f"{item.name} is missing")
                continue
            problem = _problem(item.name, content[item.name])
            if problem:
                raise _damaged(source, f"{item.name} {problem}")
        known = {item.name for item in fields(kind)}
        card: Card = kind(**{key: value for key, value in content.items() if key in known})
        return card


def picture_names(pieces: int) -> tuple[str, ...]:
    """What a graph of that many pictures calls them."""
    return ("picture", *(f"picture_{k}" for k in range(2, pieces + 1)))


@dataclass(frozen=True, kw_only=True)
class ProposalCard(Card):
    """How to use a DeepMask graph.

    Attributes:
        patch: side of a window, in input pixels.
        stride: distance of two windows, in input pixels.
        halo: how far beyond a window the network looks, in input pixels.
        proposals: N, rows that one call of the graph gives.
        pieces: how many pictures one call takes: levels of a pyramid, or tiles of them.
        scales: the pyramid's default, as factors on the picture's size.
        resize: how a picture is made smaller: "bilinear" or "area".
        mask_nms: default IoU of two masks above which the lower score is dropped; 1 keeps all.
    """

    patch: int
    stride: int
    halo: int
    proposals: int
    scales: list[float]
    resize: str
    mask_nms: float
    pieces: int

    OUTPUTS = frozenset({"scores", "windows", "masks", "count", "piece"})

    @property
    def pictures(self) -> tuple[str, ...]:
        """The names of the graph's pictures."""
        return picture_names(self.pieces)

    @property
    def inputs(self) -> tuple[tuple[str, str, int], ...]:
        """Of the graph: name, numpy dtype and rank of each."""
        pictures = tuple((name, "uint8", 3) for name in self.pictures)
        return (*pictures, ("min_score", "float32", 1), ("owned", "int32", 1))


@dataclass(frozen=True, kw_only=True)
class InstanceCard(Card):
    """How to use a Faster, Mask or Keypoint R-CNN graph.

    Attributes:
        framework: "torchvision" or "detectron2": whose rules for resizing and pasting hold.
        smallest_side: what the picture's shorter side is resized to ...
        largest_side: ... unless that makes the longer one larger than this.
        canvas: height and width of the graph's only input size; [] if it takes any.
        category_ids: the id of each label in the data set, for COCO results.
        keypoints: the name of each keypoint; [] for a network without.
    """

    framework: str
    smallest_side: int
    largest_side: int
    canvas: list[int]
    category_ids: list[int]
    keypoints: list[str] = field(default_factory=list)

    OUTPUTS = frozenset({"boxes", "scores", "classes", "count"})

    @property
    def inputs(self) -> tuple[tuple[str, str, int], ...]:
        """Of the graph: name, numpy dtype and rank of each."""
        return (("picture", "uint8", 3), ("size", "int64", 1))


def _damaged(source: str | Path, why: str) -> ModelError:
    return ModelError(f"the card in {source} is damaged: {why}; export the model again")


def _is_int(low: int, high: int) -> Any:
    return (
        lambda v: type(v) is int and low <= v <= high,
        f"should be a whole number from {low} to {high}",
    )


def _is_share(v: Any) -> bool:
    return type(v) in (int, float) and 0 <= v <= 1


def _is_strings(v: Any) -> bool:
    return isinstance(v, dict) and all(type(k) is str and type(w) is str for k, w in v.items())


def _is_scales(v: Any) -> bool:
    return (
        isinstance(v, list)
        and 0 < len(v) <= 64
        and all(type(s) in (int, float) and math.isfinite(s) and 0.001 <= s <= 64 for s in v)
    )


def _is_canvas(v: Any) -> bool:
    whole = isinstance(v, list) and all(type(k) is int and 32 <= k <= 16384 for k in v)
    return whole and len(v) in (0, 2)


def _is_ids(v: Any) -> bool:
    return isinstance(v, list) and all(type(k) is int for k in v)


def _is_names(v: Any) -> bool:
    return isinstance(v, list) and all(type(k) is str for k in v)


def _is_labels(v: Any) -> bool:
    return isinstance(v, list) and len(v) > 0 and all(type(label) is str for label in v)


_CHECKS: dict[str, Any] = {
    "task": (lambda v: v in TASKS, f"should be one of {', '.join(TASKS)}"),
    "architecture": (lambda v: type(v) is str, "should be a string"),
    "labels": (_is_labels, "should be a list of at least one string"),
    "patch": _is_int(16, 4096),
    "stride": _is_int(1, 1024),
    "halo": _is_int(0, 4096),
    "mask_size": _is_int(0, 4096),
    "proposals": _is_int(1, 100_000),
    "pieces": _is_int(1, 64),
    "scales": (_is_scales, "should be a list of 1 to 64 factors from 0.001 to 64"),
    "resize": (lambda v: v in RESIZE_RULES, f"should be one of {', '.join(RESIZE_RULES)}"),
    "mask_threshold": (
        lambda v: type(v) in (int, float) and 0 < v < 1,
        "should lie between 0 and 1, both excluded",
    ),
    "score_threshold": (_is_share, "should lie between 0 and 1"),
    "mask_nms": (_is_share, "should lie between 0 and 1"),
    "top": _is_int(1, 1_000_000),
    "framework": (lambda v: v in FRAMEWORKS, f"should be one of {', '.join(FRAMEWORKS)}"),
    "smallest_side": _is_int(1, 16384),
    "largest_side": _is_int(1, 16384),
    "canvas": (_is_canvas, "should be [] or a height and a width from 32 to 16384"),
    "category_ids": (_is_ids, "should be a list of whole numbers"),
    "keypoints": (_is_names, "should be a list of strings"),
    "precision": (lambda v: v in PRECISIONS, f"should be one of {', '.join(PRECISIONS)}"),
    "islands": (_is_names, "should be a list of strings"),
    "built_by": (_is_strings, "should map names to versions"),
    "weights_sha256": (lambda v: type(v) is str, "should be a string"),
    "runtime": (_is_strings, "should map names to strings"),
    "plan_sha256": (lambda v: type(v) is str, "should be a string"),
    "format": (lambda v: v == FORMAT, f"should be {FORMAT}"),
}


def _problem(name: str, value: Any) -> str:
    """What is wrong with a field's value, or an empty string."""
    holds, rule = _CHECKS[name]
    return "" if holds(value) else f"is {value!r:.80} and {rule}"
