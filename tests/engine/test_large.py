"""Pictures that are read and resized by parts: the same pixels, in little memory."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import SeeingNetwork, card, instance_card

import engine.fit
import engine.large
import engine.prepare
from engine import OptionError, PictureError, Segmenter
from engine.backends.fake import FakeBackend
from engine.fit import fitted, pillow_bilinear
from engine.large import LargePicture, open_picture
from engine.prepare import Level, Resized
from engine.resample import resize_part

SIDES = st.integers(1, 60)


class OnDisk:
    """An array that can only be sliced, as those of zarr and HDF5; it counts what is asked for."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.largest = 0

    def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
        part = self._array[where]
        self.largest = max(self.largest, part.size)
        return part


def grain(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["bilinear", "area"]), st.integers(0, 99))
def test_resizing_is_opencvs(
    height: int, width: int, tall: int, wide: int, rule: str, seed: int
) -> None:
    """Within one level of 255, which is OpenCV's own rounding, at every pixel."""
    if rule == "area":
        tall, wide = min(tall, height), min(wide, width)
    picture = grain(height, width, seed)
    how = cv2.INTER_AREA if rule == "area" else cv2.INTER_LINEAR
    expected = cv2.resize(picture, (wide, tall), interpolation=how)
    found = resize_part(picture, (tall, wide), (0, tall), (0, wide), rule)
    assert np.abs(found.astype(int) - expected).max() <= 1


@settings(max_examples=100, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 99))
def test_resizing_is_pillows(height: int, width: int, tall: int, wide: int, seed: int) -> None:
    """Pillow rounds after the columns too: two roundings against one."""
    picture = grain(height, width, seed)
    expected = pillow_bilinear(picture, (tall, wide))
    found = resize_part(picture, (tall, wide), (0, tall), (0, wide), "triangle")
    assert np.abs(found.astype(int) - expected).max() <= 2


@settings(max_examples=200, deadline=None)
@given(
    SIDES, SIDES, SIDES, SIDES, st.sampled_from(["bilinear", "area", "triangle"]), st.data(),
)  # fmt: skip
def test_a_part_is_cut_out_of_the_whole(
    height: int, width: int, tall: int, wide: int, rule: str, data: st.DataObject
) -> None:
    """Whatever the part and however few rows are read at a time."""
    picture = OnDisk(grain(height, width))
    rows = sorted([data.draw(st.integers(0, tall - 1)), data.draw(st.integers(1, tall))])
    columns = sorted([data.draw(st.integers(0, wide - 1)), data.draw(st.integers(1, wide))])
    rows[1], columns[1] = max(rows[1], rows[0] + 1), max(columns[1], columns[0] + 1)
    whole = resize_part(picture._array, (tall, wide), (0, tall), (0, wide), rule)
    part = resize_part(LargePicture(picture), (tall, wide), tuple(rows), tuple(columns), rule)
    np.testing.assert_array_equal(part, whole[slice(*rows), slice(*columns)])


def test_few_rows_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a band of results needs, and no more."""
    picture = OnDisk(grain(400, 50))
    monkeypatch.setattr("engine.resample.BAND", 3 * 50 * 4 * 10)
    resize_part(LargePicture(picture), (100, 25), (0, 100), (0, 25), "area")
    assert picture.largest <= 50 * 3 * (10 * 4 + 2)


@pytest.mark.parametrize("form", ["memory map", "file", "array"])
def test_a_large_picture_gives_what_it_gives_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """The bright rectangle is found where it is, though the picture is never read whole."""
    picture = np.zeros((300, 260, 3), np.uint8)
    picture[130:170, 90:150] = 255
    path = tmp_path / "picture.npy"
    np.save(path, picture)
    on_disk = OnDisk(picture)
    source = {"memory map": np.load(path, mmap_mode="r"), "file": path, "array": on_disk}[form]
    segmenter = Segmenter(FakeBackend(card(proposals=900), SeeingNetwork(card(proposals=900))))
    expected = segmenter(picture, scales=[0.5, 1.2], top=5)
    for module in (engine.large, engine.prepare):
        monkeypatch.setattr(module, "WHOLE", 1000)
    assert isinstance(open_picture(source), LargePicture)
    found = segmenter(source, scales=[0.5, 1.2], top=5)
    assert len(found) == len(expected) == 5
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.01)
    assert found.size == (300, 260)


def test_a_small_one_is_read_at_once(tmp_path: Path) -> None:
    """Then it is an array like any other, and resized by OpenCV."""
    picture = grain(30, 20)
    np.save(tmp_path / "a.npy", picture)
    opened = open_picture(tmp_path / "a.npy", "rgb")
    assert isinstance(opened, np.ndarray)
    np.testing.assert_array_equal(opened, picture[..., ::-1])
    level = Level(30, 20, 1.0, 1.0)
    np.testing.assert_array_equal(
        Resized(opened, level, "area").part((3, 9), (2, 20)), opened[3:9, 2:20]
    )


@pytest.mark.parametrize("framework", ["torchvision", "detectron2"])
@pytest.mark.parametrize("canvas", [[], [64, 96]])
def test_a_detector_is_given_a_large_picture_resized(
    monkeypatch: pytest.MonkeyPatch, framework: str, canvas: list[int]
) -> None:
    """Its graph could not hold the picture; what it gets is within rounding of the usual."""
    card = instance_card(framework=framework, canvas=canvas)
    picture = cv2.GaussianBlur(grain(150, 240), (0, 0), 3)
    size = (50, 80)
    large = fitted(LargePicture(picture), size, card)
    monkeypatch.setattr(engine.fit, "WHOLE", 1000)
    np.testing.assert_array_equal(fitted(picture, size, card), large)
    if framework == "detectron2":
        expected = pillow_bilinear(picture, size)
    else:
        expected = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR)
    assert large.shape == ((*canvas, 3) if canvas else (50, 80, 3))
    assert np.abs(large[:50, :80].astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "give uint8"),
        (np.zeros((4, 4, 4), np.uint8), "drops an alpha channel"),
        (np.zeros((0, 4, 3), np.uint8), "pixels in it"),
        (np.broadcast_to(np.uint8(0), (1 << 16, 1 << 16, 3)), "at most"),
    ],
)
def test_what_is_no_picture(array: np.ndarray, message: str) -> None:
    """As for arrays in memory."""
    with pytest.raises(PictureError, match=message):
        open_picture(OnDisk(array))


class _Planted:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must not run",)


def test_damaged_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence; what is pickled in a file is never run."""
    path = tmp_path / "a.npy"
    with pytest.raises(PictureError, match="no picture at"):
        open_picture(path)
    path.write_bytes(b"")
    with pytest.raises(PictureError, match="not a whole"):
        open_picture(path)
    np.save(path, grain(30, 20))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PictureError, match="not a whole"):
        open_picture(path)
    np.save(path, np.array([_Planted()]), allow_pickle=True)
    with pytest.raises(PictureError, match="not a whole"):
        open_picture(path)
    path.write_bytes(pickle.dumps(_Planted()))
    with pytest.raises(PictureError, match="not a whole"):
        open_picture(path)
    assert "must not run" not in capsys.readouterr().out
    with pytest.raises(OptionError, match="color is"):
        open_picture(OnDisk(grain(3, 3)), "bgra")


def test_a_file_that_cannot_be_read_any_more() -> None:
    """One sentence that says which rows."""

    class Broken(OnDisk):
        def __getitem__(self, where: object) -> np.ndarray:
            raise OSError("input/output error")

    with pytest.raises(PictureError, match="rows 0 to 3 of the picture cannot be read: input"):
        open_picture(Broken(grain(3, 3)))


def test_other_numpy_files(tmp_path: Path) -> None:
    """Several arrays under the name of one; a header that claims more than there can be."""
    path = tmp_path / "a.npy"
    np.savez(tmp_path / "b.npz", a=grain(3, 3))
    (tmp_path / "b.npz").rename(path)
    with pytest.raises(PictureError, match="holds several arrays"):
        open_picture(path)
    np.save(path, grain(3, 3))
    path.write_bytes(path.read_bytes().replace(b"(3, 3, 3)", b"(%d, 3, 3)" % 2**70))
    with pytest.raises(PictureError, match="not a whole"):
        open_picture(path)


def test_what_was_written_to_a_private_map_is_kept(tmp_path: Path) -> None:
    """A copy-on-write map has it in its pages alone, which are not given back."""
    np.save(tmp_path / "a.npy", np.zeros((50, 50, 3), np.uint8))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="c")
    mapped[:] = 7
    large = LargePicture(mapped)
    for _ in range(2):
        assert (large.part(0, 50, 0, 50) == 7).all()


def test_levels_of_a_large_picture_are_means_of_areas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a small one, where the card says so; enlarged ones are bilinear."""
    picture = grain(300, 260)
    for size in ((60, 52), (120, 52), (330, 300)):
        level = Level(*size, size[0] / 300, size[1] / 260)
        for rule in ("area", "bilinear"):
            expected = engine.prepare.resize(picture, level, rule)
            found = Resized(LargePicture(picture), level, rule).part((0, size[0]), (0, size[1]))
            assert np.abs(found.astype(int) - expected).max() <= 1


def test_streams_take_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, an array on the disk, and one that was opened before, in order."""
    monkeypatch.setattr(engine.large, "WHOLE", 1000)
    picture = grain(60, 70)
    np.save(tmp_path / "a.npy", picture)
    network = SeeingNetwork(card(proposals=900))
    sources = [tmp_path / "a.npy", OnDisk(picture), LargePicture(OnDisk(picture)), picture]
    with Segmenter(FakeBackend(card(proposals=900), network)) as segmenter:
        frames = list(segmenter.stream(sources, scales=[1.0]))
        assert [frame.error for frame in frames] == [None] * 4
        assert len({frame.objects.boxes.tobytes() for frame in frames}) == 1
        with pytest.raises(OptionError, match="no slices"):
            next(segmenter.stream(sources, slices=100))


def test_finishing_takes_little_memory() -> None:
    """Masks that fill a picture of 100 million pixels, 60 of them, compared and kept."""
    size = 10_000

    def everywhere(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = 60
        windows = np.stack([np.arange(rows) // 8, np.arange(rows) % 8], 1).astype(np.int32)
        return {
            "scores": np.linspace(0.9, 0.5, rows, dtype=np.float32), "windows": windows,
            "masks": np.ones((rows, 56, 56), np.float32), "count": np.array([rows], np.int32),
            "piece": np.zeros(rows, np.int32),
        }  # fmt: skip

    few = card(proposals=60, top=20, mask_nms=0.6, patch=160, mask_size=56)
    picture = LargePicture(np.broadcast_to(np.uint8(9), (size, size, 3)))
    tracemalloc.start()
    found = Segmenter(FakeBackend(few, everywhere))(picture, scales=[0.02])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) > 2
    assert peak < 400e6  # one of them has 64 million pixels


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory that Linux counts")
def test_400_million_pixels_in_two_gigabytes(exported: Path, tmp_path: Path) -> None:
    """A memory map of 20,000 x 20,000 pixels: bright discs far apart are found, each once."""
    script = """
import sys
from pathlib import Path
import numpy as np
from engine import Segmenter
model, path = sys.argv[1:]
found = Segmenter(model)(path, scales=[0.05, 0.07, 0.1], top=20)
# Not getrusage, which begins with the parent's peak.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(len(found), int(status["VmHWM"].split()[0]) // 1024)
for box in found.boxes.tolist():
    print(*box)
"""
    path = tmp_path / "large.npy"
    picture = np.lib.format.open_memmap(path, "w+", np.uint8, (20_000, 20_000, 3))
    centres = [(3000, 4000), (9000, 16000), (19000, 2000), (15000, 12000)]
    picture[:] = 60
    rows, columns = np.mgrid[-500:500, -500:500]
    disc = rows**2 + columns**2 < 500**2
    for row, column in centres:
        picture[row - 500 : row + 500, column - 500 : column + 500][disc] = 210
    del picture
    done = subprocess.run(
        [sys.executable, "-c", script, exported, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    boxes = np.array([line.split() for line in lines], float)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    for row, column in centres:
        near = np.linalg.norm(middles - [column, row], axis=1) < 150
        assert near.sum() == 1, (row, column, boxes)
    print(first)
    # 530 MB; with the map's pages kept it would be 1,660.
    assert int(first.split()[1]) < 800, first
