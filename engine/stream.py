"""Frames one after the other: decoding, the network and finishing overlap, the order is kept.

One thread reads and decodes, two run the segmenter, and the caller takes results when it wants
them. What is in flight is bounded, so that memory is; a source that is faster than everything
behind it waits, or its oldest frames are dropped.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .errors import MaskRTError, OptionError, PictureError
from .large import AnyPicture, AnySource, open_picture
from .picture import Picture
from .results import Instances

LATE = ("block", "drop")
WORKERS = 2
"""While one waits for the network, the other prepares the next frame or finishes the last one."""


@dataclass(frozen=True)
class Frame:
    """One frame of a stream and what was found in it.

    Attributes:
        index: of the frame in its source, from 0; dropped ones are counted.
        picture: uint8 [H, W, 3], BGR, or one on the disk; None if it could not be read.
        objects: what was found; None after an error.
        error: why there are none: a damaged frame does not end a stream.
    """

    index: int
    picture: AnyPicture | None
    objects: Instances | None
    error: MaskRTError | None = None


def read_video(source: str | Path | int) -> Iterator[Picture]:
    """The frames of a video file or a camera: uint8 [H, W, 3], BGR.

    Args:
        source: a file that OpenCV can decode, or a camera's number.

    Raises:
        PictureError: it cannot be opened, ends before its time, or the camera stops answering.
    """
    what = f"camera {source}" if isinstance(source, int) else str(source)
    video = cv2.VideoCapture(source if isinstance(source, int) else str(source))
    try:
        if not video.isOpened():
            raise PictureError(f"{what} cannot be opened; check that it is there and a video")
        told = 0 if isinstance(source, int) else int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        seen = 0
        while True:
            there, frame = video.read()
            if not there:
                break
            seen += 1
            yield np.ascontiguousarray(frame, np.uint8)
        if isinstance(source, int):
            raise PictureError(f"{what} gave no more after {seen} frames; check its cable")
        if seen < told - 1:  # the count is the container's, and may be one too many
            raise PictureError(f"{what} ends after {seen} of {told} frames; copy the file again")
    finally:
        video.release()


class _Reader(threading.Thread):
    """Reads and decodes ahead of everybody, at most `room` frames."""

    def __init__(self, frames: Iterable[AnySource], color: str, room: int, late: str) -> None:
        super().__init__(name="maskrt-reader", daemon=True)
        self._frames, self._color, self._room, self._late = frames, color, room, late
        self._ready: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._stopped = self._ended = False
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            for index, source in enumerate(self._frames):
                if not self._put(self._decoded(index, source)):
                    return
        except BaseException as error:  # raised again where the results are taken
            self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _decoded(self, index: int, source: AnySource) -> Frame:
        try:
            return Frame(index, open_picture(source, self._color), None)
        except PictureError as error:
            return Frame(index, None, None, error)

    def _put(self, frame: Frame) -> bool:
        with self._changed:
            if self._late == "drop":
                if len(self._ready) >= self._room:
                    self._ready.popleft()
            else:
                self._changed.wait_for(lambda: len(self._ready) < self._room or self._stopped)
            self._ready.append(frame)
            self._changed.notify_all()
            return not self._stopped

    def take(self, *, wait: bool) -> Frame | None:
        """The next frame; None if there is none now, or with `wait`, none any more.

        Raises:
            whatever the source raised, after its last frame.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._ready or self._ended)
            if self._ready:
                frame = self._ready.popleft()
                self._changed.notify_all()
                return frame
            if wait and self._failure is not None:
                raise self._failure
            return None

    def stop(self) -> None:
        """End reading; a source that hangs does not keep the caller."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.join(timeout=5)
        close = getattr(self._frames, "close", None)
        if close is not None and not self.is_alive():
            close()


def stream(
    segment: Callable[[AnyPicture], Instances],
    frames: Iterable[AnySource],
    *,
    color: str = "bgr",
    in_flight: int = 4,
    late: str = "block",
) -> Iterator[Frame]:
    """Segment frames, in order.

    Args:
        segment: called from two threads.
        frames: whatever `open_picture` takes.
        color: of arrays.
        in_flight: how many frames are decoded ahead, and how many are being segmented, at most.
        late: "block": the source waits for what is behind it; "drop": the oldest frame that
            nobody has begun with makes room for a new one, as a live camera wants it.

    Raises:
        OptionError: an option out of its range.
    """
    if in_flight < 1:
        raise OptionError(f"in_flight is {in_flight}; give 1 or more")
    if late not in LATE:
        raise OptionError(f"late is {late!r}; choose one of {', '.join(LATE)}")
    return _stream(segment, _Reader(frames, color, in_flight, late), in_flight)


def _stream(
    segment: Callable[[AnyPicture], Instances], reader: _Reader, in_flight: int
) -> Iterator[Frame]:
    def work(frame: Frame) -> Frame:
        if frame.picture is None:
            return frame
        try:
            return Frame(frame.index, frame.picture, segment(frame.picture))
        except MaskRTError as error:
            return Frame(frame.index, frame.picture, None, error)

    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="maskrt-stream")
    pending: deque[Future[Frame]] = deque()
    reader.start()
    try:
        while True:
            while len(pending) < in_flight:
                # Only with nothing in flight is there time to wait for the source.
                frame = reader.take(wait=not pending)
                if frame is None:
                    break
                pending.append(pool.submit(work, frame))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        reader.stop()
        pool.shutdown(wait=True, cancel_futures=True)
