"""Pickles of numpy arrays, as detectron2's zoo has them, read without running what is in them.

A pickle is a program: it names functions, and unpickling calls them. Here a name is looked up in a
short list, in which the only functions are two of our own, and any other name ends the reading.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.errors import ModelError


def read_arrays(path: Path) -> dict[str, Any]:
    """The dict in a pickle; arrays become tensors.

    Raises:
        ModelError: not a pickle, a damaged one, or one that holds more than arrays and plain
            values.
    """
    try:
        with path.open("rb") as file:
            # latin1: how arrays that Python 2 pickled keep their bytes
            content = _Reader(file, encoding="latin1").load()
    except _Refused as error:
        raise ModelError(
            f"{path} is not a checkpoint of arrays and plain values alone (it asks for {error}); "
            "nothing of it was run: do not use it"
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise ModelError(
            f"{path} is not a pickle of arrays or is damaged ({type(error).__name__}: "
            f"{str(error)[:120]}); give a detectron2 .pkl or a .pth file"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(
            f"{path} holds a {type(content).__name__}, not a dict of arrays; give a detectron2 "
            ".pkl or a .pth file"
        )
    return {str(key): _tensors(value) for key, value in content.items()}


class _Refused(pickle.UnpicklingError):
    """A name that is not in the list."""


def _array(kind: type, shape: tuple[int, ...], code: object) -> np.ndarray:
    """As numpy's `_reconstruct`: an empty array, whose content pickle sets afterwards."""
    if kind is not np.ndarray or shape != (0,):
        raise _Refused(f"an array of shape {shape!r}")
    return np.ndarray((0,), np.int8)


def _scalar(dtype: np.dtype, data: object = b"") -> Any:
    """As numpy's `scalar`."""
    raw = data.encode("latin1") if isinstance(data, str) else data
    if dtype.kind not in "biuf" or not isinstance(raw, bytes):
        raise _Refused(f"a number of type {dtype}")
    return np.frombuffer(raw, dtype)[0].item()


def _bytes(text: str, encoding: str) -> bytes:
    """`_codecs.encode`, which is how protocol 2 writes bytes."""
    if encoding != "latin1":
        raise _Refused(f"the encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _bytes,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.multiarray", name): function
        for core in ("core", "_core")
        for name, function in (("_reconstruct", _array), ("scalar", _scalar))
    },
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for."""
        if (module, name) not in _ALLOWED:
            raise _Refused(f"{module}.{name}")
        return _ALLOWED[module, name]


def _tensors(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        # torch has no big-endian numbers and few unsigned ones
        native = value.astype(value.dtype.newbyteorder("="), copy=True)
        unsigned = native.dtype.kind == "u" and native.dtype.itemsize > 1
        return torch.from_numpy(native.astype(np.int64) if unsigned else native)
    if isinstance(value, dict):
        return {str(key): _tensors(inner) for key, inner in value.items()}
    return value
