"""What is measured: a model, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.forms import kind_of
from engine.errors import OptionError

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
        OptionError: an option that there is not, or a number that is none.
    """
    found: list[Contestant] = []
    for text in texts:
        path, _, options = text.partition("@")
        chosen: dict[str, str] = {}
        for option in filter(None, options.split(",")):
            name, equals, value = option.partition("=")
            if not equals:  # a word that says by itself what it is
                name, value = kind_of(option) or "", option
            if name not in OPTIONS or not value:
                raise OptionError(
                    f"{text} has the option {option!r}; write MODEL@openvino,bf16 or "
                    f"MODEL@name=value,name=value with names among {', '.join(OPTIONS)}"
                )
            chosen[name] = value
        threads = chosen.pop("threads", None)
        if threads is not None and not (threads.isdecimal() and int(threads) > 0):
            raise OptionError(f"{text} has {threads} threads; give a whole number from 1 on")
        name = Path(path).name + (f"@{options}" if options else "")
        twins = sum(one.name.partition(" #")[0] == name for one in found)
        found.append(
            Contestant(
                f"{name} #{twins + 1}" if twins else name, Path(path),
                threads=None if threads is None else int(threads), **chosen,
            )
        )  # fmt: skip
    return found
