"""PyramidRoiAlign in ONNX: its schema and its attributes; the bodies are in `bodies.py`.

RoIAlign: He et al., Mask R-CNN (2017), section 3. The level of a region: Lin et al., Feature
Pyramid Networks (2017), equation 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnx.defs import OpSchema

from engine.errors import OptionError
from plugins import DOMAIN

NAME = "PyramidRoiAlign"
MOST_LEVELS = 8


@dataclass(frozen=True)
class RoiAlignAttributes:
    """What a PyramidRoiAlign node is told.

    Attributes:
        output_size: S, side of what comes out.
        sampling_ratio: samples along each axis of a bin; 0 for as many as it has cells.
        aligned: whether half a cell is subtracted from the regions' coordinates (detectron2's
            ROIAlignV2) or not, and regions are at least one cell large (torchvision's default).
        strides: of the levels, finest first, in picture pixels; one for the C4 case.
        finest_level: what the first of them is called in the formula, 2 for P2.
        canonical_size, canonical_level: a region of this many pixels belongs to this level.
        eps_ratio, eps_level: floor(level + log2(sqrt(area) / size + eps_ratio) + eps_level):
            torchvision adds 1e-6 as the second, detectron2 1e-8 as the first.

    Raises:
        OptionError: a value out of its range; the message has its name.
    """

    output_size: int
    sampling_ratio: int
    aligned: bool
    strides: tuple[int, ...] = (4, 8, 16, 32)
    finest_level: int = 2
    canonical_size: float = 224.0
    canonical_level: int = 4
    eps_ratio: float = 0.0
    eps_level: float = 1e-6

    def __post_init__(self) -> None:
        def whole(value: object, low: int, high: int) -> bool:
            return type(value) is int and low <= value <= high

        strides = self.strides
        checks = (
            ("output_size", whole(self.output_size, 1, 256), "a whole number from 1 to 256"),
            ("sampling_ratio", whole(self.sampling_ratio, 0, 16), "a whole number from 0 to 16"),
            ("aligned", type(self.aligned) is bool, "True or False"),
            (
                "strides",
                1 <= len(strides) <= MOST_LEVELS
                and all(whole(s, 1, 4096) for s in strides)
                and list(strides) == sorted(set(strides)),
                f"1 to {MOST_LEVELS} rising whole numbers",
            ),
            ("finest_level", whole(self.finest_level, 0, 16), "a whole number from 0 to 16"),
            (
                "canonical_size",
                math.isfinite(self.canonical_size) and self.canonical_size > 0,
                "a number above 0",
            ),
            ("canonical_level", whole(self.canonical_level, 0, 16), "a whole number from 0 to 16"),
            ("eps_ratio", 0 <= self.eps_ratio < 0.1, "a number from 0 to 0.1"),
            ("eps_level", 0 <= self.eps_level < 0.1, "a number from 0 to 0.1"),
        )
        for name, right, rule in checks:
            if not right:
                raise OptionError(f"{NAME}: {name} is {getattr(self, name)!r}; give {rule}")

    def check_levels(self, levels: int) -> None:
        """Raise OptionError unless there is a stride for each level."""
        if levels != len(self.strides):
            raise OptionError(
                f"{NAME}: strides is {self.strides}, and there are {levels} levels; give as many"
            )

    def for_node(self) -> dict[str, float | int | list[int]]:
        """The attributes as an ONNX node has them."""
        return {
            "output_size": self.output_size,
            "sampling_ratio": self.sampling_ratio,
            "aligned": int(self.aligned),
            "strides": list(self.strides),
            "finest_level": self.finest_level,
            "canonical_size": float(self.canonical_size),
            "canonical_level": self.canonical_level,
            "eps_ratio": float(self.eps_ratio),
            "eps_level": float(self.eps_level),
        }


def schema(levels: int | None = None) -> OpSchema:
    """The contract: the ONNX checker refuses nodes that do not keep it once it is registered.

    Args:
        levels: to name the inputs of so many levels one by one; any number of them if not given.
    """
    kinds = OpSchema.AttrType
    attributes = {
        "output_size": kinds.INT, "sampling_ratio": kinds.INT, "aligned": kinds.INT,
        "strides": kinds.INTS, "finest_level": kinds.INT, "canonical_size": kinds.FLOAT,
        "canonical_level": kinds.INT, "eps_ratio": kinds.FLOAT, "eps_level": kinds.FLOAT,
    }  # fmt: skip
    text = "[B, C, H, W] of each level, finest first"
    features = [OpSchema.FormalParameter(f"features{k}", "T", text) for k in range(levels or 0)]
    if levels is None:
        option = OpSchema.FormalParameterOption.Variadic
        features = [
            OpSchema.FormalParameter("features", "T", text, param_option=option, min_arity=1)
        ]
    return OpSchema(
        NAME,
        DOMAIN,
        1,
        doc="RoIAlign of each region on the pyramid level that fits its size.",
        inputs=[
            OpSchema.FormalParameter("boxes", "tensor(float)", "[B, R, 4] xyxy in picture pixels"),
            *features,
        ],
        outputs=[OpSchema.FormalParameter("regions", "T", "[B, R, C, S, S]")],
        type_constraints=[("T", ["tensor(float)", "tensor(float16)"], "of the features")],
        attributes=[
            OpSchema.Attribute(name, kind, required=True) for name, kind in attributes.items()
        ],
    )
