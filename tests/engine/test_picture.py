"""Pictures from anywhere: what is good is read the same from everywhere, what is bad is said."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine import OptionError, PictureError
from engine.picture import read_picture

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
SMOOTH = cv2.GaussianBlur(COLOUR, (0, 0), 5)


def _jpeg(*options: int) -> bytes:
    return cv2.imencode(".jpg", SMOOTH, list(options))[1].tobytes()


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def _with_segment(jpeg: bytes, content: bytes) -> bytes:
    """The JPEG with an APP1 segment behind its first marker."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def _exif(orientation: int) -> bytes:
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32 [4, 4, 3]"),
        (np.zeros((4, 4), bool), "bool [4, 4]"),
        (np.zeros((2, 4, 4, 3), np.uint8), "uint8 [2, 4, 4, 3]"),
        (np.zeros((4, 4, 4), np.uint8), "drops an alpha channel"),
        (np.zeros(7, np.uint8), "uint8 [7]"),
        (np.zeros((0, 9, 3), np.uint8), "9 x 0 pixels"),
        (np.zeros((9, 0), np.uint8), "0 x 9 pixels"),
    ],
)
def test_arrays_of_another_form_are_refused(array: np.ndarray, says: str) -> None:
    """A wrong type, shape or size is one sentence that has the value in it."""
    with pytest.raises(PictureError) as error:
        read_picture(array)
    assert says in str(error.value)
    assert "give" in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    """No file, a folder, an empty file and text in the dress of a JPEG are one sentence each."""
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("this is not a photograph")
    for name, says in (
        ("none.jpg", "no picture at"),
        ("", "is a folder"),
        ("empty.png", "is empty"),
        ("text.jpg", "is not a picture that OpenCV can decode"),
    ):
        with pytest.raises(PictureError, match=says):
            read_picture(tmp_path / name)
    with pytest.raises(PictureError, match="from a int"):
        read_picture(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("thumbnail", [b"", b"a thumbnail \xff\xd8 that has ended \xff\xd9"])
def test_a_truncated_jpeg_is_refused(progressive: int, thumbnail: bytes) -> None:
    """A JPEG cut anywhere is refused, whatever its coding, and whatever is in its header."""
    whole = _jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    whole = _with_segment(whole, thumbnail) if thumbnail else whole
    assert read_picture(whole).shape == (40, 60, 3)
    for part in (0.05, 0.3, 0.6, 0.9):
        with pytest.raises(PictureError, match="cut short"):
            read_picture(whole[: int(len(whole) * part)])
    with pytest.raises(PictureError, match="cut short"):
        read_picture(whole[:-2])


def test_a_truncated_png_is_refused() -> None:
    """A PNG without its end is refused."""
    whole = _png(COLOUR)
    for part in (0.2, 0.5, 0.99):
        with pytest.raises(PictureError, match="cut short"):
            read_picture(whole[: int(len(whole) * part)])


def test_a_huge_size_is_refused_before_memory_is_taken() -> None:
    """A header that claims ten thousand million pixels is believed and refused."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    end = b"\0\0\0\0IEND\xaeB`\x82"
    with pytest.raises(PictureError, match="100000 x 100000 pixels and at most"):
        read_picture(b"\x89PNG\r\n\x1a\n" + chunk + end)
    broadcast = np.broadcast_to(np.uint8(0), (100_000, 100_000))
    with pytest.raises(PictureError, match="100000 x 100000 pixels"):
        read_picture(broadcast)


@pytest.mark.parametrize("size", [(1, 1), (10, 30_000), (30_000, 10)])
def test_odd_sizes_are_pictures(size: tuple[int, int]) -> None:
    """One pixel and a long strip are read like any picture."""
    assert read_picture(np.zeros(size, np.uint8)).shape == (*size, 3)


def test_a_path_its_text_and_its_bytes_are_the_same(tmp_path: Path) -> None:
    """However an encoded picture comes, its pixels are the same."""
    path = tmp_path / "x.png"
    path.write_bytes(_png(COLOUR))
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes())):
        np.testing.assert_array_equal(read_picture(source), COLOUR)


def test_grey_pictures_get_three_channels() -> None:
    """Grey, as [H, W], [H, W, 1] or a grey file, is the same value in each channel."""
    grey = COLOUR[..., 0]
    expected = np.repeat(grey[..., None], 3, 2)
    for source in (grey, grey[..., None], _png(grey)):
        np.testing.assert_array_equal(read_picture(source), expected)


def test_sixteen_bits_are_scaled_over_their_whole_range() -> None:
    """65535 becomes 255 and 0 stays 0, from arrays and from files."""
    deep = np.array([[0, 257, 32896, 65535]], np.uint16).repeat(3, 0)
    for source in (deep, _png(deep)):
        np.testing.assert_array_equal(read_picture(source)[0, :, 0], [0, 1, 128, 255])


def test_files_with_alpha_lose_it() -> None:
    """An RGBA file gives its colours."""
    alpha = np.dstack([COLOUR, np.full((40, 60), 255, np.uint8)])
    np.testing.assert_array_equal(read_picture(_png(alpha)), COLOUR)


def test_rgb_arrays_are_turned_round() -> None:
    """color="rgb" reverses the channels; another word is refused."""
    np.testing.assert_array_equal(read_picture(COLOUR, "rgb"), COLOUR[..., ::-1])
    with pytest.raises(OptionError, match="'hsv'"):
        read_picture(COLOUR, "hsv")


def test_exif_orientation_is_respected() -> None:
    """A photo that says it lies on its side is stood up."""
    plain = _jpeg()
    turned = read_picture(_with_segment(plain, _exif(6)))
    np.testing.assert_array_equal(turned, np.rot90(read_picture(plain), -1))


def test_the_callers_array_is_left_alone() -> None:
    """An array that has the right form is used as it is; no array is written to."""
    assert read_picture(COLOUR) is COLOUR
    before = COLOUR.copy()
    read_picture(COLOUR, "rgb")[:] = 0
    np.testing.assert_array_equal(COLOUR, before)
