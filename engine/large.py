"""Pictures that stay on the disk: what is asked for is read, and nothing is kept."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeGuard, cast

import numpy as np

from .errors import PictureError
from .picture import (
    Picture,
    PictureSource,
    check_color,
    check_form,
    converted,
    read_picture,
    unreadable,
)
from .stages import stage

WHOLE = 1 << 26
"""Pixels up to which a picture on the disk is read at once, and a level of one in memory made at
once: 200 MB."""


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

    def __init__(self, array: Sliceable, color: str = "bgr") -> None:
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
        except Exception as error:  # each library of arrays has errors of its own
            raise PictureError(
                f"rows {top} to {bottom} of the picture cannot be read: {error}; check its file"
            ) from error
        _let_go(self._array)
        return converted(part, self._color)


class Sliceable(Protocol):
    """An array that may lie on the disk: of zarr, HDF5 and their like."""

    @property
    def shape(self) -> Any:
        """As numpy has it."""

    @property
    def dtype(self) -> Any:
        """As numpy has it."""

    def __getitem__(self, key: Any) -> Any:
        """Rows and columns, by two slices."""


AnyPicture: TypeAlias = "Picture | LargePicture"
AnySource: TypeAlias = "PictureSource | LargePicture | Sliceable"


@stage("decode")
def open_picture(source: AnySource, color: str = "bgr") -> AnyPicture:
    """A picture as `read_picture` takes it, read whole or, where it is large, by parts.

    Args:
        source: as `read_picture` takes it; one that was opened before; the path of a `.npy` file,
            which is mapped into memory; and any array that has a shape, a dtype and slices.
        color: order of an array's channels.

    Raises:
        PictureError: it cannot be read, or has another form.
        OptionError: `color` is neither "bgr" nor "rgb".
    """
    check_color(color)
    if isinstance(source, LargePicture):
        return source  # it knows its own order
    if isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() == ".npy":
        source = _mapped(Path(source))
    if not _is_on_disk(source):
        return read_picture(cast(PictureSource, source), color)
    large = LargePicture(source, color)
    height, width, _ = large.shape
    return large if height * width > WHOLE else large.part(0, height, 0, width)


def part_of(picture: AnyPicture, top: int, bottom: int, left: int, right: int) -> Picture:
    """Some rows and columns of a picture, uint8 [bottom - top, right - left, 3]."""
    if isinstance(picture, LargePicture):
        return picture.part(top, bottom, left, right)
    return picture[top:bottom, left:right]


def _is_on_disk(source: Any) -> TypeGuard[Sliceable]:
    if isinstance(source, np.ndarray):
        return isinstance(source, np.memmap)
    return all(hasattr(source, name) for name in ("shape", "dtype", "__getitem__"))


def _mapped(path: Path) -> np.memmap[Any, Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, PermissionError) as error:
        raise unreadable(path, error) from error
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise PictureError(f"{path} is not a whole .npy file ({error}); save it again") from error
    if not isinstance(array, np.memmap):
        raise PictureError(f"{path} holds several arrays; give a .npy file with one picture")
    return array


def _let_go(array: Any) -> None:
    """Give back a map's pages, which the system would count as ours until it needs them."""
    if not isinstance(array, np.memmap) or array.mode == "c":
        return  # what was written to a private copy is in its pages alone
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, mmap.mmap) and hasattr(array, "madvise"):
        array.madvise(mmap.MADV_DONTNEED)
