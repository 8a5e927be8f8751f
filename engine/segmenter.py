"""Segmenter: a model file in, masks on pictures out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from .backends import Backend, open_backend
from .card import Card, InstanceCard, ProposalCard
from .detector import detect
from .large import AnyPicture, AnySource, open_picture
from .options import check_options
from .proposer import propose
from .results import Instances
from .stream import Frame, read_video, stream


class Segmenter:
    """Finds the objects of a picture with an exported model.

    A segmenter may be called from several threads at once.

    Args:
        model: path of an ONNX file that MaskRT exported, of a TensorRT plan that it built, of a
            folder with both (the plan that fits this machine best, or else the ONNX file, which is
            logged), or an open backend.
        backend: "onnxruntime", "openvino" or "tensorrt", or None for the one that the file's type
            asks for.
        device: "cpu", "cuda" or "cuda:1"; None for the CPU, and for plans the first GPU. A device
            that is not there is an error, never another device.
        threads: for the network's layers; None for all cores.
        precision: "bf16" lets openvino compute its layers in bf16; boxes, scores and their ranking
            stay in fp32. None for what the file has.

    Raises:
        ModelError: the file is not a model, has no card, or a damaged one.
        BackendError: the backend is not installed or lacks the device, or the plan does not fit
            this machine; what mends it is in the message.
        OptionError: an unknown backend or device.

    Example:
        >>> from engine import Segmenter
        >>> objects = Segmenter("out/demo/deepmask_small.onnx")("photo.jpg")
        >>> objects.boxes.shape, objects.masks.shape
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Backend,
        *,
        backend: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        precision: str | None = None,
    ) -> None:
        if isinstance(model, (str, os.PathLike)):
            self.backend = open_backend(model, backend, device, threads, precision)
        else:
            self.backend = model

    @property
    def card(self) -> Card:
        """What the model says of itself, its defaults included."""
        return self.backend.card

    @property
    def labels(self) -> list[str]:
        """The name of each label that results have."""
        return list(self.card.labels)

    def __call__(
        self,
        picture: AnySource,
        *,
        color: str = "bgr",
        scales: Sequence[float] | None = None,
        score_threshold: float | None = None,
        mask_nms: float | None = None,
        top: int | None = None,
        slices: int | None = None,
        overlap: int | None = None,
    ) -> Instances:
        """Segment one picture. What is left out is as the model's card has it.

        Args:
            picture: a path, the bytes of an encoded picture, or a uint8 (uint16) array
                [H, W], [H, W, 1] or [H, W, 3]. Large ones stay where they are and are read by parts
                if they are a `.npy` file, a memory map, or an array of zarr or HDF5.
            color: "bgr" or "rgb", the order of an array's channels.
            scales: the pyramid, as factors on the picture's size; DeepMask alone.
            score_threshold: results score at least this, 0 to 1.
            mask_nms: a mask whose IoU with a better one is above this is dropped; 1 keeps all;
                DeepMask alone.
            top: how many results at most, the best first.
            slices: side of the slices, in pixels, that a detector is given beside the whole
                picture, for small objects in large pictures; None for the whole picture alone.
            overlap: an object of up to so many pixels that a slice's edge cuts is whole in the
                next slice; None for a quarter of a slice.

        Raises:
            PictureError: the picture cannot be read, or is too large for a scale.
            OptionError: an option out of its range, or one that the model does not have.
            BackendError: the backend failed.
        """
        card = self.card
        check_options(
            card, scales=scales, score_threshold=score_threshold, mask_nms=mask_nms, top=top,
            slices=slices, overlap=overlap,
        )  # fmt: skip
        score_threshold = card.score_threshold if score_threshold is None else score_threshold
        top = card.top if top is None else top
        bgr = open_picture(picture, color)
        if isinstance(card, ProposalCard):
            return propose(
                self.backend, card, bgr, scales=scales, score_threshold=score_threshold,
                mask_nms=mask_nms, top=top,
            )  # fmt: skip
        assert isinstance(card, InstanceCard)
        return detect(
            self.backend, card, bgr, score_threshold=score_threshold, top=top, side=slices,
            overlap=overlap,
        )  # fmt: skip

    def batch(self, pictures: Iterable[AnySource], **options: Any) -> list[Instances]:
        """Segment several pictures of any sizes: each gives what it gives alone.

        Args:
            pictures: as in a call.
            options: those of a call.
        """
        return [self(picture, **options) for picture in pictures]

    def stream(
        self,
        frames: Iterable[AnySource] | str | os.PathLike[str] | int,
        *,
        color: str = "bgr",
        in_flight: int = 4,
        late: str = "block",
        **options: Any,
    ) -> Iterator[Frame]:
        """Segment a video file, a camera or any pictures, in order, decoding ahead.

        Close the iterator, or use it up, to end its threads. A damaged frame is a `Frame` with an
        error; frames may change their size.

        Args:
            frames: a video's path, a camera's number, or pictures as in a call.
            color: as in a call.
            in_flight: frames decoded ahead, and frames being segmented, at most.
            late: "block" or "drop": whether a source that is too fast waits or loses frames.
            options: the others of a call.

        Raises:
            PictureError: the source cannot be opened or ends before its time; what came before it
                has been given.
            OptionError: an option out of its range.
        """
        check_options(self.card, **options)
        if isinstance(frames, (str, os.PathLike, int)):
            frames = read_video(frames if isinstance(frames, int) else Path(frames))

        def one(picture: AnyPicture) -> Instances:
            return self(picture, **options)

        return stream(one, frames, color=color, in_flight=in_flight, late=late)

    def close(self) -> None:
        """Give back what the backend holds."""
        self.backend.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
