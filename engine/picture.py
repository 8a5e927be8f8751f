"""A picture from anywhere, as the uint8 [H, W, 3] BGR array that the models take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import OptionError, PictureError

Picture: TypeAlias = NDArray[np.uint8]
PictureSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[Any]"

MAX_FILE_BYTES = 1 << 30
MAX_PIXELS = 1 << 29
COLORS = ("bgr", "rgb")


def read_picture(source: PictureSource, color: str = "bgr") -> Picture:
    """Bring a picture into the form that models take.

    Args:
        source: a path; the bytes of an encoded picture (anything that OpenCV decodes); or an
            array [H, W], [H, W, 1] or [H, W, 3] of uint8, or of uint16 that uses the whole
            range 0 to 65535.
        color: order of an array's channels, "bgr" as OpenCV gives it or "rgb". Encoded
            pictures know their own; their EXIF orientation is applied.

    Returns:
        uint8 [H, W, 3], BGR. The caller's own array where it has this form already.

    Raises:
        PictureError: it cannot be read, is cut short, or has another form.
        OptionError: `color` is neither.
    """
    check_color(color)
    if isinstance(source, np.ndarray):
        return _from_array(source, color)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), f"these {len(source)} bytes")
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return _decode(_read(path), str(path))
    raise PictureError(
        f"cannot read a picture from a {type(source).__name__}; give a path, the bytes of an "
        "encoded picture, or a numpy array"
    )


def check_color(color: str) -> None:
    """Refuse an order of channels that is none.

    Raises:
        OptionError: says so.
    """
    if color not in COLORS:
        raise OptionError(f'color is {color!r}; give "bgr" or "rgb"')


def unreadable(path: Path, error: OSError) -> PictureError:
    """What is said where the system does not give a file."""
    if isinstance(error, FileNotFoundError):
        return PictureError(f"no picture at {path}; check the path")
    return PictureError(f"cannot read {path}: {error.strerror}; check its permissions")


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise PictureError(f"{path} is a folder; give the path of a picture")
        if size > MAX_FILE_BYTES:
            raise PictureError(
                f"{path} has {size} bytes and at most {MAX_FILE_BYTES} are read; "
                "give a smaller picture"
            )
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def _decode(data: bytes, what: str) -> Picture:
    if not data:
        raise PictureError(f"{what} is empty; give an encoded picture")
    size = _size_in_header(data)
    if size is not None:
        _check_size(*size, what)
    if _is_cut_short(data):
        raise PictureError(f"{what} is cut short: the picture's end is missing; copy it again")
    # ANYDEPTH keeps 16 bits; COLOR makes three channels and applies the EXIF orientation.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise PictureError(
            f"{what} could not be decoded ({error.err}); save it again as PNG or JPEG"
        ) from error
    if picture is None:
        raise PictureError(
            f"{what} is not a picture that OpenCV can decode; give a PNG, JPEG, TIFF, WebP or BMP"
        )
    return _from_array(picture, "bgr", what)


def _from_array(array: NDArray[Any], color: str, what: str = "the picture") -> Picture:
    check_form(array.shape, array.dtype, what)
    return converted(array, color)


def check_form(shape: tuple[int, ...], dtype: Any, what: str) -> None:
    """Refuse an array that is no picture.

    Args:
        shape: the array's.
        dtype: the array's.
        what: to call it in the message.

    Raises:
        PictureError: says why.
    """
    form = f"{what} is {dtype} {list(shape)}"
    if dtype not in (np.uint8, np.uint16):
        raise PictureError(
            f"{form}; give uint8 (0 to 255) or uint16 (0 to 65535), "
            "for instance (picture * 255).astype('uint8') from floats in 0 to 1"
        )
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        hint = "picture[..., :3] drops an alpha channel" if len(shape) == 3 else "one at a time"
        raise PictureError(f"{form}; give [height, width] or [height, width, 3] ({hint})")
    _check_size(shape[0], shape[1], what)


def converted(array: NDArray[Any], color: str) -> Picture:
    """An array of the right form as uint8 [H, W, 3], BGR."""
    if array.dtype == np.uint16:
        array = (array // 257).astype(np.uint8)
    if array.ndim == 2 or array.shape[2] == 1:
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    elif color == "rgb":
        array = array[..., ::-1]
    return np.ascontiguousarray(array)


def _check_size(height: int, width: int, what: str) -> None:
    if height < 1 or width < 1:
        raise PictureError(f"{what} is {width} x {height} pixels; give one with pixels in it")
    if height * width > MAX_PIXELS:
        raise PictureError(
            f"{what} is {width} x {height} pixels and at most {MAX_PIXELS} in all are taken; "
            "give a smaller one or parts of it"
        )


# ---- what OpenCV does not tell: a size before it decodes, and that a file is cut short


def _size_in_header(data: bytes) -> tuple[int, int] | None:
    """Height and width as a PNG or JPEG header has them; None where that cannot be said."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = (int.from_bytes(data[k : k + 4], "big") for k in (16, 20))
        return height, width
    for marker, start, _ in _jpeg_segments(data):
        # Start of frame, of any coding; C4, C8 and CC are other things.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and start + 7 <= len(data):
            height, width = (int.from_bytes(data[start + k : start + k + 2], "big") for k in (3, 5))
            return height, width
    return None


def _is_cut_short(data: bytes) -> bool:
    """Whether a PNG or JPEG lacks its end; OpenCV fills what is missing with grey, silently."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" not in data
    if not data.startswith(b"\xff\xd8"):
        return False
    for marker, _, end in _jpeg_segments(data):
        if marker == 0xDA:  # after the scan's header an FF D9 can only be the picture's end
            return data.find(b"\xff\xd9", end) < 0
    return True


def _jpeg_segments(data: bytes) -> list[tuple[int, int, int]]:
    """Marker, start of its content (its length field) and end, up to the first scan."""
    segments: list[tuple[int, int, int]] = []
    if not data.startswith(b"\xff\xd8"):
        return segments
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append((marker, at + 2, at + 2 + length))
        if marker == 0xDA:
            break
        at += 2 + length
    return segments
