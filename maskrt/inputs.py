"""What a command is pointed at: one picture, a folder, a pattern, a video, or standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from engine.errors import OptionError
from engine.picture import MAX_FILE_BYTES, PictureSource
from engine.stream import read_video

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".npy", ".png", ".tif", ".tiff", ".webp"})
VIDEOS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})


@dataclass(frozen=True)
class Inputs:
    """Pictures to come.

    Attributes:
        names: of each, below the folder that all are in; of a video only its own.
        frames: each picture's source, in that order.
        is_video: whether they are a video's frames.
    """

    names: list[str]
    frames: Iterator[PictureSource]
    is_video: bool = False

    def name(self, index: int) -> str:
        """Of the picture or frame with this number, from 0."""
        return f"{self.names[0]}#{index:06d}" if self.is_video else self.names[index]

    def output(self, index: int) -> Path:
        """Of a PNG that is made of it: no two are the same."""
        if self.is_video:
            return Path(f"{Path(self.names[0]).stem}_{index:06d}.png")
        name = Path(self.names[index])
        alone = self._stems[name.with_suffix("")] == 1
        return name.with_suffix(".png") if alone else Path(f"{name}.png")

    @cached_property
    def _stems(self) -> Counter[Path]:
        """How many pictures share a name but for its suffix."""
        return Counter(Path(name).with_suffix("") for name in self.names)


def single(argument: str) -> PictureSource | None:
    """The one picture that is meant, or None if the argument means several."""
    if argument == "-":
        return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    path = Path(argument)
    several = path.is_dir() or path.suffix.lower() in VIDEOS
    if several or (not path.exists() and glob.has_magic(argument)):
        return None
    return path


def files(argument: str) -> dict[str, Path]:
    """A picture's file, or those of a folder or a pattern, by name.

    Raises:
        OptionError: there are none, or it is a video.
    """
    path = Path(argument)
    if path.is_file():
        return {path.name: path}
    inputs = several(argument)
    if inputs.is_video:
        raise OptionError(f"{argument} is a video; give a picture, a folder or a pattern")
    return dict(zip(inputs.names, (Path(str(frame)) for frame in inputs.frames), strict=True))


def several(argument: str) -> Inputs:
    """The pictures of a folder or a pattern by their names, or a video's frames.

    Raises:
        OptionError: there are none.
    """
    path = Path(argument)
    if path.suffix.lower() in VIDEOS and not path.is_dir():
        return Inputs([path.name], read_video(path), is_video=True)
    found = path.rglob("*") if path.is_dir() else map(Path, glob.iglob(argument, recursive=True))
    pictures = sorted(p for p in found if p.suffix.lower() in PICTURES and p.is_file())
    if not pictures:
        wrong = "has no pictures" if path.exists() or glob.has_magic(argument) else "does not exist"
        raise OptionError(
            f"{argument} {wrong}; give a folder or a pattern with files that end in "
            f"{', '.join(sorted(PICTURES))}"
        )
    root = path if path.is_dir() else Path(os.path.commonpath([p.parent for p in pictures]))
    return Inputs([p.relative_to(root).as_posix() for p in pictures], iter(pictures))
