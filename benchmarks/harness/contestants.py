"""What is measured: a model, and how it is run."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from benchmarks import forms

OPTIONS = ("backend", "device", "threads", "precision", "commit")


@dataclass(frozen=True)
class Contestant:
    """A model file and how it is opened.

    Attributes:
        name: as it is called in reports; no two are the same.
        model: the file.
        backend, device, threads, precision: as `engine.Segmenter` takes them.
        commit: of this repository, whose runtime is measured: a revision, which branches and HEAD
            are too, and in reports its full hash; None for the one at hand.
    """

    name: str
    model: Path
    backend: str | None = None
    device: str | None = None
    threads: int | None = None
    precision: str | None = None
    commit: str | None = None

    @property
    def opening(self) -> dict[str, str | int | None]:
        """What `Segmenter` is opened with."""
        return {name: getattr(self, name) for name in OPTIONS if name != "commit"}

    def to_json(self) -> dict[str, Any]:
        """For a report: what was chosen, and nothing of this machine's folders."""
        return {
            "name": self.name, "model": self.model.name, "commit": self.commit,
            "opening": self.opening,
        }  # fmt: skip


def parse(texts: list[str]) -> list[Contestant]:
    """Contestants as a command line names them: MODEL, MODEL@openvino,bf16 or MODEL@threads=2.

    Args:
        texts: one each; the same text twice is a comparison of a model with itself.

    Raises:
        OptionError: as of `benchmarks.forms.parse`.
    """
    given = [forms.parse(text, OPTIONS) for text in texts]
    found: dict[str, Contestant] = {}
    for form, label in zip(given, _labels([form.path for form in given]), strict=True):
        name = label + (f"@{form.how}" if form.how else "")
        # Whatever files are called: one may itself be called "m.onnx #2".
        free = chain([name], (f"{name} #{number}" for number in count(2)))
        name = next(one for one in free if one not in found)
        found[name] = Contestant(name, form.path, **form.options)
    return list(found.values())


def told(error: Mapping[str, str | None]) -> str:
    """One of a report's errors in a line: whose it is, if it is anybody's and does not say so."""
    name, message = error["contestant"], error["message"] or ""
    # A whole word: "m" is in many a message.
    said = name is None or re.search(rf"(?<!\S){re.escape(name)}(?![^\s:;,])", message)
    return message if said else f"{name}: {message}"


def _labels(paths: list[Path]) -> list[str]:
    """Files' names, behind those of as many folders as tell different files of one name apart."""
    # Links are not followed: what they are called may be what tells. The first part is the root.
    whole = [Path(os.path.abspath(path)).parts[1:] for path in paths]
    ends = Counter(parts[-k:] for parts in set(whole) for k in range(1, len(parts) + 1))
    labels = []
    for parts in whole:
        alone = (parts[-k:] for k in range(1, len(parts)) if ends[parts[-k:]] == 1)
        labels.append("/".join(next(alone, parts)))
    return labels
