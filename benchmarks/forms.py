"""How a command line says how a model is run: after an @, in words.

    model.onnx@openvino,bf16    model.onnx@cuda:1    model.onnx@backend=openvino,threads=2

Which options there are is the command's; what they may be is here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.backends import BACKENDS, DEVICES, MOST_THREADS
from engine.card import PRECISIONS
from engine.errors import OptionError

_VALUES = {
    "backend": "|".join(BACKENDS),
    "device": "|".join((*DEVICES, "cuda:[0-9]{1,3}")),
    "precision": "|".join(PRECISIONS),
    "threads": "[1-9][0-9]{0,3}",
    "commit": ".+",
}
"""The values that an option has, as a regular expression."""

_KINDS = ("backend", "device", "precision")
"""Options whose values say by themselves what they are."""


def _either(*words: str) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


_CHOICES = {
    "backend": _either(*BACKENDS),
    "device": _either(*DEVICES, "cuda:1"),
    "precision": _either(*PRECISIONS),
    "threads": f"threads=1 to threads={MOST_THREADS}",
    "commit": "commit=REVISION",
}
"""The same for a reader."""


@dataclass(frozen=True)
class Form:
    """A model, and how it is run as far as that was said.

    Attributes:
        text: as it was given.
        path: the model's.
        how: what stood after the @, as it was given; empty if nothing was said.
        options: by name, as `engine.Segmenter` takes them, and `commit`.
    """

    text: str
    path: Path
    how: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def parse(text: str, allowed: Sequence[str]) -> Form:
    """A model as it was given on a command line: MODEL, or MODEL@OPTION,OPTION.

    An option is `name=value`, or the value alone where it says by itself what it is.

    Paths may have an @ too. What is there as a whole is a path; else the path ends at the last @
    before which there is one, and where nothing is there, at the last @ of the last name.

    Args:
        text: as it was given.
        allowed: the options that the command has.

    Raises:
        OptionError: an empty text, a word that is no allowed option, a value that an option does
            not have, or two of one option.
    """
    if not text:
        raise OptionError("a model is given as an empty text; give the path of a file")
    path, how = _split(text)
    options: dict[str, Any] = {}
    for word in how.split(",") if how is not None else ():
        name, value = _option(word)
        wrong, mend = "", ""
        if name not in allowed:
            mend = f"give at most one each of {'; '.join(_CHOICES[one] for one in allowed)}"
        elif not _is_value(name, value):
            mend = f"give {_CHOICES[name]}"
        elif name in options:
            wrong, mend = f", a second {name}", "give one"
        if mend:
            raise OptionError(f"the model {text} has {word!r:.60} after its @{wrong}; {mend}")
        options[name] = int(value) if name == "threads" else value
    return Form(text, Path(path), how or "", options)


def check_threads(threads: int | None) -> None:
    """Refuse a `--threads` that backends cannot have; None is all cores.

    Raises:
        OptionError: below 1, or above MOST_THREADS.
    """
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise OptionError(
            f"--threads is {threads}; give 1 to {MOST_THREADS}, or leave it out for all cores"
        )


def _split(text: str) -> tuple[str, str | None]:
    """The path, and what stands after its @; None without one."""
    if os.path.exists(text):  # not Path.exists, which raises where a name is too long
        return text, None
    ends = [place.start() for place in re.finditer("@", text) if place.start()]
    # No option has a folder in its name: there the @ is in the name of one itself.
    ends = [end for end in ends if "/" not in re.split("[=,]", text[end + 1 :])[0]]
    if not ends:
        return text, None
    there = [end for end in ends if os.path.exists(text[:end])]
    end = (there or ends)[-1]
    return text[:end], text[end + 1 :]


def _option(word: str) -> tuple[str, str]:
    """An option's name, or an empty text, and its value."""
    name, equals, value = word.partition("=")
    if equals:
        return name, value
    return next((kind for kind in _KINDS if _is_value(kind, word)), ""), word


def _is_value(name: str, value: str) -> bool:
    fits = re.fullmatch(_VALUES[name], value) is not None
    return fits and not (name == "threads" and int(value) > MOST_THREADS)
