"""Label maps on the disk: read as they were written, or refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.label_maps import maps_in, read_labels
from engine import OptionError, PictureError

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _png(
    path: Path, rows: list[bytes], width: int, depth: int, kind: int, more: bytes = b""
) -> Path:
    """A PNG of raw rows, of any depth and colour type, with other parts before its pixels."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(
        SIGNATURE + _chunk(b"IHDR", header) + more + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    )
    return path


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_labels_are_read_as_they_were_written(tmp_path: Path, kind: Any) -> None:
    """All 8 or 16 bits of them."""
    labels = np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, (31, 17)).astype(kind)
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), labels)
    found = read_labels(path)
    assert found.dtype == kind
    assert (found == labels).all()


@pytest.mark.parametrize("kind", [0, 3])
@pytest.mark.parametrize(
    ("depth", "row", "labels"),
    [(1, b"\xa5", [1, 0, 1, 0, 0, 1, 0, 1]), (2, b"\x1b", [0, 1, 2, 3]), (4, b"\x3f", [3, 15]),
     (8, b"\0\2\1", [0, 2, 1])],
)  # fmt: skip
def test_indices_of_a_palette_are_labels(
    tmp_path: Path, kind: int, depth: int, row: bytes, labels: list[int]
) -> None:
    """And so are few bits: no colours, no shades, whatever is transparent."""
    palette = _chunk(b"PLTE", bytes(range(48))) if kind == 3 else b""
    more = palette + _chunk(b"tRNS", b"\0\1")
    path = _png(tmp_path / "a.png", [row], len(labels), depth, kind, more)
    assert read_labels(path).tolist() == [labels]


def test_what_is_no_label_map_on_the_disk_is_refused(tmp_path: Path) -> None:
    """Colours, alpha, other formats, damaged and missing files, each in one sentence."""
    colours = np.zeros((4, 4, 3), np.uint8)
    for name, pixels in {
        "grey.png": np.zeros((40, 40), np.uint8), "rgb.png": colours, "photo.jpg": colours,
        "rgba.png": np.zeros((4, 4, 4), np.uint8),
    }.items():  # fmt: skip
        cv2.imwrite(str(tmp_path / name), pixels)
    (tmp_path / "photo.jpg").rename(tmp_path / "jpg.png")
    data = (tmp_path / "grey.png").read_bytes()
    (tmp_path / "short.png").write_bytes(data[:-20])
    at = data.index(b"IDAT") + 8
    (tmp_path / "bad.png").write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    (tmp_path / "head.png").write_bytes(SIGNATURE)
    _png(tmp_path / "few.png", [b"\0"], 30, 8, 0)
    huge = _png(tmp_path / "huge.png", [b"\0"], 1 << 30, 8, 0)
    for name, says in {
        "rgb.png": "has colours", "rgba.png": "alpha channel", "jpg.png": "is not a PNG",
        "short.png": "is damaged", "bad.png": "is damaged", "head.png": "is not a PNG",
        "few.png": "is damaged", huge.name: "more pixels", "none.png": "no picture at",
    }.items():  # fmt: skip
        with pytest.raises(PictureError) as caught:
            read_labels(tmp_path / name)
        assert says in str(caught.value).partition("(")[0]
        assert "\n" not in str(caught.value)


def test_folders_without_maps_are_refused(tmp_path: Path) -> None:
    """None, no folder, or two of one name; what is hidden is none."""
    (tmp_path / ".a.png").touch()
    for folder, says in ((tmp_path, "has no PNG files"), (tmp_path / "none", "No such file")):
        with pytest.raises(OptionError, match=says):
            maps_in(folder)
    for name in ("a.png", "a.PNG"):
        (tmp_path / name).touch()
    if len(list(tmp_path.glob("a.*"))) == 2:  # not where case does not count
        with pytest.raises(OptionError, match=r"has a\.PNG and a\.png"):
            maps_in(tmp_path)
