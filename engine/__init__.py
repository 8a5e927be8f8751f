"""MaskRT's runtime: what an application embeds. numpy, OpenCV and one backend, nothing else."""

from .card import Card, InstanceCard, ProposalCard
from .errors import (
    BackendError,
    MaskRTError,
    ModelError,
    OptionError,
    OutputError,
    PictureError,
)
from .results import Instances
from .segmenter import Segmenter

__all__ = [
    "BackendError",
    "Card",
    "InstanceCard",
    "Instances",
    "MaskRTError",
    "ModelError",
    "OptionError",
    "OutputError",
    "PictureError",
    "ProposalCard",
    "Segmenter",
]
