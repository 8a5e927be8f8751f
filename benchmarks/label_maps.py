"""Label maps on the disk: PNG files whose values are classes, two folders of them matched by name.

A value is read as it is stored. Other readers turn a palette's numbers into its colours, and the
values of a file with 1, 2 or 4 bits into shades of 255: labels are lost that way.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import OptionError, PictureError
from engine.picture import MAX_FILE_BYTES, MAX_PIXELS, unreadable

Labels = NDArray[np.uint8] | NDArray[np.uint16]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, PALETTE = 0, 3
"""PNG's colour types with one number for each pixel (PNG specification, section 11.2.1)."""


def maps_in(folder: Path) -> dict[str, Path]:
    """The PNG files that lie in a folder, by their stems.

    Raises:
        OptionError: no folder, none in it, or two with one stem.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png")
    except OSError as error:
        raise OptionError(f"cannot read the folder {folder}: {error.strerror}") from error
    found: dict[str, Path] = {}
    for path in files:
        if path.name.startswith("."):  # what a system or an interrupted write left
            continue
        if path.stem in found:
            raise OptionError(
                f"{folder} has {found[path.stem].name} and {path.name}; keep one of them"
            )
        found[path.stem] = path
    if not found:
        raise OptionError(f"{folder} has no PNG files; give a folder of label maps")
    return found


def read_labels(path: Path) -> Labels:
    """The labels of a map.

    Args:
        path: a PNG with one channel, grey or with a palette, of up to 16 bits.

    Returns:
        uint8 or uint16 [H, W]: the numbers in the file; of a palette, its indices.

    Raises:
        PictureError: it cannot be read, is no PNG, is damaged, or has colours.
    """
    data = _bytes(path)
    if not data.startswith(SIGNATURE):
        raise PictureError(f"{path} is not a PNG; save label maps as 8- or 16-bit PNG")
    parts: dict[bytes, list[bytes]] = {}
    for kind, content in _chunks(data, path):
        parts.setdefault(kind, []).append(content)
    if b"IEND" not in parts or [len(part) for part in parts.get(b"IHDR", [])] != [13]:
        raise PictureError(f"{path} is cut short; copy it again")
    header = parts[b"IHDR"][0]
    width, height, depth, kind = struct.unpack(">IIBB", header[:10])
    if kind not in (GREY, PALETTE):
        raise PictureError(
            f"{path} has colours or an alpha channel; give a PNG with one channel, the class of "
            "each pixel"
        )
    if height * width > MAX_PIXELS:
        raise PictureError(f"{path} is {width} x {height} pixels; at most {MAX_PIXELS} are read")
    # A palette's indices are stored as shades are: without the palette they are read as they are.
    plain = header[:9] + bytes([GREY]) + header[10:]
    picture = _decoded(_png(plain, b"".join(parts.get(b"IDAT", []))), path)
    # OpenCV spreads the values of less than 8 bits over 0 to 255.
    return picture // (255 // (2**depth - 1)) if depth < 8 else picture


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PictureError(f"{path} has more than {MAX_FILE_BYTES} bytes, which are not read")
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def _chunks(data: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each part of a PNG, up to its end or to where it is cut off.

    Raises:
        PictureError: a part's check sum is not that of its content.
    """
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            return
        if zlib.crc32(memoryview(data)[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise PictureError(f"{path} is damaged (a check sum is wrong); copy it again")
        yield name, data[at + 8 : end]
        at = end + 4


def _png(header: bytes, pixels: bytes) -> bytes:
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + name + content
        + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))
        for name, content in parts
    )  # fmt: skip


def _decoded(data: bytes, path: Path) -> Any:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PictureError(f"{path} could not be decoded ({error.err}); save it again") from error
    if picture is None or picture.ndim != 2:
        raise PictureError(f"{path} could not be decoded; save it again as PNG")
    return picture
