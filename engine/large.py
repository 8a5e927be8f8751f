"""Pictures that stay on the disk: what is asked for is read, and nothing is kept."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .errors import PictureError
from .picture import (
    Picture,
    PictureSource,
    check_color,
    check_form,
    converted,
    missing_picture,
    read_picture,
)
from .stages import stage

WHOLE = 1 << 26
"""Pixels up to which a picture or a level of it is held in memory whole: 200 MB."""


class LargePicture:
    """A picture that is read part by part.

    Args:
        array: what has a shape, a dtype and slices, as `engine.picture.read_picture` takes arrays:
            a memory map, or an array of zarr or HDF5.
        color: "bgr" or "rgb", the order of its channels.

    Raises:
        PictureError: the array has another form.
        OptionError: `color` is neither.
    """

    def __init__(self, array: Any, color: str = "bgr") -> None:
        check_color(color)
        check_form(array.shape, array.dtype, "the picture")
        self._array, self._color = array, color

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height and width in pixels, and 3 channels."""
        height, width = self._array.shape[:2]
        return int(height), int(width), 3

    def part(self, top: int, bottom: int, left: int, right: int) -> Picture:
        """The pixels of some rows and columns: uint8 [bottom - top, right - left, 3], BGR.

        Raises:
            PictureError: they cannot be read.
        """
        try:
            part = np.array(self._array[top:bottom, left:right])
        except OSError as error:
            raise PictureError(
                f"rows {top} to {bottom} of the picture cannot be read: {error}; check its file"
            ) from error
        _let_go(self._array)
        return converted(part, self._color)


AnyPicture: TypeAlias = "Picture | LargePicture"


@stage("decode")
def open_picture(source: PictureSource | Any, color: str = "bgr") -> AnyPicture:
    """A picture as `read_picture` takes it, read whole or, where it is large, by parts.

    Args:
        source: as `read_picture` takes it; one that was opened before; the path of a `.npy` file,
            which is mapped into memory; and any array that has a shape, a dtype and slices.
        color: order of an array's channels.

    Raises:
        PictureError: it cannot be read, or has another form.
        OptionError: `color` is neither "bgr" nor "rgb".
    """
    if isinstance(source, LargePicture):
        return source
    if isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() == ".npy":
        source = _mapped(Path(source))
    on_disk = isinstance(source, np.memmap) or (
        not isinstance(source, np.ndarray)
        and all(hasattr(source, name) for name in ("shape", "dtype", "__getitem__"))
    )
    if not on_disk:
        return read_picture(source, color)
    large = LargePicture(source, color)
    height, width, _ = large.shape
    return large if height * width > WHOLE else large.part(0, height, 0, width)


def part_of(picture: AnyPicture, top: int, bottom: int, left: int, right: int) -> Picture:
    """Some rows and columns of a picture, uint8 [bottom - top, right - left, 3]."""
    if isinstance(picture, LargePicture):
        return picture.part(top, bottom, left, right)
    return picture[top:bottom, left:right]


def _mapped(path: Path) -> np.memmap[Any, Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise missing_picture(path) from error
    except (OSError, ValueError, EOFError) as error:
        raise PictureError(f"{path} is not a whole .npy file ({error}); save it again") from error
    assert isinstance(array, np.memmap)
    return array


def _let_go(array: Any) -> None:
    """Give back a map's pages, which the system would count as ours until it needs them."""
    if not isinstance(array, np.memmap) or array.mode == "c":
        return  # what was written to a private copy is in its pages alone
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, mmap.mmap) and hasattr(array, "madvise"):
        array.madvise(mmap.MADV_DONTNEED)
