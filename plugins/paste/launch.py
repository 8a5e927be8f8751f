"""The paste kernel from Python, on addresses that the caller has: no copy, no wait."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BackendError, OptionError
from plugins import library as compiled

RULES = {"centres": 0, "torchvision": 1, "detectron2": 2}
"""`engine.paste.RULES`, and their numbers in maskrt_paste.h."""
LARGEST_SIDE = 1 << 24
LARGEST_NUMBER = 2**31 - 1


@dataclass(frozen=True)
class Pasting:
    """What is pasted, and into what; checked once, used for any number of pictures.

    Attributes:
        masks: N, the rows of masks and boxes.
        cells: S, a mask's side.
        size: height and width of the picture.
        threshold: value that a pixel must exceed (detectron2: reach); rounded to fp32.
        rule: a name of `engine.paste.RULES`.
        packed: a bit a pixel in the place of a byte.
        half: the masks are fp16.

    Raises:
        OptionError: a value out of its range; the message has its name.
    """

    masks: int
    cells: int
    size: tuple[int, int]
    threshold: float
    rule: str
    packed: bool = False
    half: bool = False

    def __post_init__(self) -> None:
        side = f"from 0 to {LARGEST_SIDE}"
        checks = (
            ("masks", _whole(self.masks, 0, LARGEST_NUMBER), "a whole number from 0 on"),
            ("cells", _whole(self.cells, 1, LARGEST_SIDE), "a whole number from 1 on"),
            (
                "size",
                len(self.size) == 2 and all(_whole(n, 0, LARGEST_SIDE) for n in self.size),
                f"a height and a width, whole numbers {side}",
            ),
            ("threshold", not math.isnan(self.threshold), "a number"),
            ("rule", self.rule in RULES, f"one of {', '.join(RULES)}"),
        )
        for name, right, what in checks:
            if not right:
                raise OptionError(f"pasting: {name} is {getattr(self, name)!r}; give {what}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the output: uint8 [N, H, W], or uint32 [N, H, ceil(W / 32)] if packed."""
        height, width = self.size
        return self.masks, height, -(-width // 32) if self.packed else width

    @property
    def bytes(self) -> int:
        """Of the output."""
        return math.prod(self.shape) * (4 if self.packed else 1)


class PasteKernel:
    """`maskrt_paste` of the plugins' library.

    Args:
        library: the compiled library; by default the one that MASKRT_PLUGINS names or that was
            built before, or else it is built.

    Raises:
        BackendError: the library cannot be found, built or loaded, or is of a version without it.
    """

    def __init__(self, library: str | Path | None = None) -> None:
        path = Path(library) if library else compiled.find() or compiled.build()
        try:
            self._function = ctypes.CDLL(str(path)).maskrt_paste
        except (OSError, AttributeError) as error:
            raise BackendError(
                f"{path} has no paste kernel that can be loaded ({error}); build the plugins again "
                "(plugins.library.build)"
            ) from error
        number, address = ctypes.c_int, ctypes.c_void_p
        self._function.restype = number
        self._function.argtypes = (
            address, number, address, address, number, number, number, number, ctypes.c_float,
            number, number, address, address,
        )  # fmt: skip

    def enqueue(
        self,
        pasting: Pasting,
        masks: int,
        boxes: int,
        out: int,
        *,
        count: int = 0,
        stream: int = 0,
    ) -> None:
        """Enqueue on a stream of the calling thread's current device.

        Args:
            pasting: sizes, threshold and rule.
            masks: address of fp32 or fp16 [N, S, S].
            boxes: address of fp32 [N, 4], xyxy in the picture's pixels.
            out: address of `pasting.bytes` bytes, all of which are written.
            count: address of one int32 from which on masks have no pixels; 0 for N.
            stream: a CUDA stream's handle; 0 is the default one.

        Raises:
            OptionError: an address is 0 or not aligned, or the output has too many tiles.
            BackendError: CUDA refuses the launch.
        """
        if pasting.bytes == 0:
            return
        element = 2 if pasting.half else 4
        needed = {"masks": (masks, element), "boxes": (boxes, 4), "count": (count, 4)}
        needed["out"] = out, 4 if pasting.packed else 1
        for name, (address, multiple) in needed.items():
            if (address == 0 and name != "count") or address < 0 or address % multiple:
                raise OptionError(
                    f"pasting: the address of {name} is {address:#x}; give one on the device that "
                    f"is a multiple of {multiple}"
                )
        code = self._function(
            masks, pasting.half, boxes, count, pasting.masks, pasting.cells, *pasting.size,
            pasting.threshold, RULES[pasting.rule], pasting.packed, out, stream,
        )  # fmt: skip
        if code == 1:
            raise OptionError(
                f"pasting: {pasting.masks} masks into {pasting.size[1]} x {pasting.size[0]} are "
                "too many for one launch; paste some of them at a time"
            )
        if code:
            raise BackendError(
                f"the paste kernel cannot be launched (CUDA error {code}); check the GPU with "
                "nvidia-smi, and that the library was built for it"
            )


def _whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most
