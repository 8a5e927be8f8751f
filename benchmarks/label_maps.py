"""Label maps on the disk: PNG files whose values are classes, two folders of them matched by name.

A value is read as it is stored: of a palette its index, not its colour. OpenCV, which reads all
other pictures here, gives the colours; so Pillow does it.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from engine.errors import OptionError, PictureError
from engine.picture import unreadable

Labels = NDArray[np.uint8] | NDArray[np.uint16]

SHADES = {"L;2": 85, "L;4": 17}
"""By what Pillow multiplies the values of grey files of few bits, so that they reach 255."""


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as picture:
                picture.verify()  # check sums, which reading does not look at; it ends the picture
            with Image.open(path, formats=["PNG"]) as picture:
                return _labels(picture, path)
    except PictureError:  # which is a ValueError too
        raise
    except UnidentifiedImageError as error:
        raise PictureError(f"{path} is not a PNG; save label maps as 8- or 16-bit PNG") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path} has more pixels than are read; give parts of it") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreadable(path, error) from error
        raise PictureError(f"{path} is damaged ({error}); copy it again") from error


def _labels(picture: Image.Image, path: Path) -> Labels:
    if picture.mode not in ("1", "L", "P", "I", "I;16"):
        raise PictureError(
            f"{path} has colours or an alpha channel; give a PNG with one channel, the class of "
            "each pixel"
        )
    stored = str(picture.tile[0][3]) if picture.tile else ""
    values = np.asarray(picture)
    if picture.mode.startswith("I"):
        return values.astype(np.uint16)
    return values.astype(np.uint8) // np.uint8(SHADES.get(stored, 1))
