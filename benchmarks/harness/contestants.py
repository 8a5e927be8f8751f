"""What is measured: a model, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass
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
        commit: of this repository, whose runtime is measured; None for the one at hand.
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
    found: list[Contestant] = []
    for text in texts:
        form = forms.parse(text, OPTIONS)
        name = form.path.name + (f"@{form.how}" if form.how else "")
        twins = sum(one.name.partition(" #")[0] == name for one in found)
        name = f"{name} #{twins + 1}" if twins else name
        found.append(Contestant(name, form.path, **form.options))
    return found
