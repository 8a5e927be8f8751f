"""Streams: every frame once, in order, with bounded memory, ended cleanly however they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import BackendError, Instances, OptionError, PictureError, Segmenter
from engine.stream import Frame, read_video, stream


def picture(k: int, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A flat one, its grey its number."""
    return np.full((*size, 3), k % 256, np.uint8)


def number(seen: np.ndarray) -> Instances:
    """Objects that tell the picture's number: its grey is their picture's height."""
    return Instances.empty((int(seen[0, 0, 0]), 1))


def numbers(found: list[Frame]) -> list[int]:
    return [frame.objects.size[0] for frame in found if frame.objects is not None]


def threads() -> int:
    return sum(t.name.startswith("maskrt") for t in threading.enumerate())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 25), st.integers(1, 6), st.integers(0, 1000))
def test_every_frame_once_and_in_order(count: int, in_flight: int, seed: int) -> None:
    """However long each takes, and whatever is in flight."""
    naps = np.random.default_rng(seed).uniform(0, 0.003, 256)

    def slow(seen: np.ndarray) -> Instances:
        time.sleep(naps[seen[0, 0, 0]])
        return number(seen)

    found = list(stream(slow, (picture(k) for k in range(count)), in_flight=in_flight))
    assert [frame.index for frame in found] == list(range(count))
    assert numbers(found) == list(range(count))
    assert threads() == 0


def test_what_is_in_flight_is_bounded() -> None:
    """A source is not read further ahead than twice `in_flight` and the frame in hand."""
    given_out = 0

    def source() -> Iterator[np.ndarray]:
        nonlocal given_out
        for k in range(100):
            given_out += 1
            yield picture(k)

    frames = stream(number, source(), in_flight=3)
    next(frames)
    time.sleep(0.2)
    assert given_out <= 1 + 3 + 3 + 1
    frames.close()
    assert threads() == 0


def test_work_overlaps() -> None:
    """Decoding, two frames' work and the caller's take less time together than in a row."""
    nap = 0.02

    def source() -> Iterator[np.ndarray]:
        for k in range(10):
            time.sleep(nap)
            yield picture(k)

    def slow(seen: np.ndarray) -> Instances:
        time.sleep(nap)
        return number(seen)

    taken = []
    for _ in range(3):  # the machine may have other work in one of them
        start = time.perf_counter()
        for _ in stream(slow, source()):
            time.sleep(nap)
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.75 * 3 * 10 * nap


def test_late_frames_are_dropped_where_that_was_chosen() -> None:
    """The newest frames are seen, in order, and dropped ones are counted by the index."""
    fast = (picture(k) for k in range(60))
    begun = threading.Event()

    def slow(seen: np.ndarray) -> Instances:
        begun.wait(1)
        time.sleep(0.005)
        return number(seen)

    frames = stream(slow, fast, in_flight=2, late="drop")
    time.sleep(0.05)
    begun.set()
    found = list(frames)
    indices = [frame.index for frame in found]
    assert indices == sorted(set(indices))
    assert indices[-1] == 59
    assert len(indices) < 60


def test_a_damaged_frame_does_not_end_a_stream(tmp_path: Path) -> None:
    """A file that is no picture, one that vanished, a size that changes, a failing backend."""
    cv2.imwrite(str(tmp_path / "a.png"), picture(7))
    (tmp_path / "b.png").write_bytes(b"nothing")
    files = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "gone.png", picture(9, (4, 5))]
    found = list(stream(number, files))
    assert [frame.error is None for frame in found] == [True, False, False, True]
    assert "is not a picture" in str(found[1].error)
    assert "no picture at" in str(found[2].error)
    assert numbers(found) == [7, 9]

    def fails(seen: np.ndarray) -> Instances:
        raise BackendError("out of memory")

    found = list(stream(fails, [picture(1), picture(2)]))
    assert [str(frame.error) for frame in found] == ["out of memory"] * 2
    assert found[0].picture is not None


def test_a_source_that_dies_is_an_error_after_its_frames() -> None:
    """What came before it has been given, and no thread is left."""

    def source() -> Iterator[np.ndarray]:
        yield picture(1)
        yield picture(2)
        raise PictureError("camera 0 gave no more")

    found: list[Frame] = []
    with pytest.raises(PictureError, match="gave no more"):
        found.extend(stream(number, source()))
    assert numbers(found) == [1, 2]
    assert threads() == 0


def test_ctrl_c_ends_it() -> None:
    """An interrupt where the caller works: the source is closed and the threads are gone."""
    closed = []

    def source() -> Iterator[np.ndarray]:
        try:
            for k in range(1000):
                yield picture(k)
        finally:
            closed.append(True)

    def interrupted() -> None:
        for frame in stream(number, source()):
            if frame.index == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    deadline = time.perf_counter() + 5
    while threads() and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert threads() == 0
    assert closed == [True]


def test_options_out_of_range() -> None:
    """They are refused at once, not at the first frame."""
    with pytest.raises(OptionError, match="in_flight is 0"):
        stream(number, [], in_flight=0)
    with pytest.raises(OptionError, match="late is 'skip'; choose one of block, drop"):
        stream(number, [], late="skip")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """30 frames of 64 x 48, each of one grey."""
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no MJPG video")
    for k in range(30):
        writer.write(picture(8 * k, (48, 64)))
    writer.release()
    return path


def test_a_video_file(video: Path) -> None:
    """All its frames, as they were written but for the coding's loss."""
    frames = list(read_video(video))
    assert len(frames) == 30
    assert all(abs(int(f[20, 20, 0]) - 8 * k) <= 3 for k, f in enumerate(frames))


def test_videos_that_cannot_be_read(video: Path, tmp_path: Path) -> None:
    """One that is not there, one that is none, and one that is cut short."""
    with pytest.raises(PictureError, match="cannot be opened"):
        list(read_video(tmp_path / "none.mp4"))
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(PictureError, match="cannot be opened"):
        list(read_video(tmp_path / "text.mp4"))
    data = video.read_bytes()
    short = tmp_path / "short.avi"
    short.write_bytes(data[: len(data) // 2])
    seen: list[np.ndarray] = []
    with pytest.raises(PictureError, match=r"ends after \d+ of 30 frames|cannot be opened"):
        seen.extend(read_video(short))
    assert len(seen) < 30


def test_a_segmenter_streams(exported: Path) -> None:
    """The same objects as frame by frame; the frames change their size."""
    photo = cv2.imread(str(Path(__file__).parents[2] / "maskrt" / "data" / "coins.png"))
    frames = [photo, photo[:200, :300], photo[50:]]
    with Segmenter(exported) as segment:
        for frame, given_frame in zip(segment.stream(frames, top=5), frames, strict=True):
            expected = segment(given_frame, top=5)
            np.testing.assert_array_equal(frame.objects.scores, expected.scores)
            np.testing.assert_array_equal(frame.objects.masks, expected.masks)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read on Linux")
def test_memory_is_flat_over_500_frames(exported: Path) -> None:
    """RSS drifts by less than 1 % from the 100th frame to the last."""

    def rss() -> int:
        return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])

    photo = cv2.imread(str(Path(__file__).parents[2] / "maskrt" / "data" / "coins.png"))
    small = cv2.resize(photo, (96, 76), interpolation=cv2.INTER_AREA)
    seen = []
    with Segmenter(exported) as segment:
        for frame in segment.stream((small for _ in range(500)), top=10, scales=[0.5, 1.0]):
            assert frame.objects is not None
            frame.objects.rle()
            seen.append(rss())
    early, late = np.median(seen[100:150]), np.median(seen[-50:])
    assert late < 1.01 * early, (early, late)
