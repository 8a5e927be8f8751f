"""`maskrt segment` on many pictures: nothing that was found is lost, and the exit code tells."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine import Segmenter
from maskrt.segment import label_map

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "maskrt" / "data" / "coins.png"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "maskrt", "segment", *map(str, arguments)]


def run(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200", "TERM": "dumb"}
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, cwd=ROOT,
        env=environment, **more,
    )  # fmt: skip


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures of different sizes, one of them in a folder below, and a file that is none."""
    photo = cv2.imread(str(PHOTO))
    (tmp_path / "in" / "below").mkdir(parents=True)
    for name, part in (
        ("a.png", photo[:150, :200]),
        ("b.jpg", photo[100:, 80:]),
        ("b.png", photo[:101, :99]),
        ("below/c.png", photo[40:200]),
    ):
        cv2.imwrite(str(tmp_path / "in" / name), part)
    (tmp_path / "in" / "notes.txt").write_text("not a picture by its name")
    return tmp_path / "in"


def test_a_folder(exported: Path, folder: Path, tmp_path: Path) -> None:
    """A line, a drawing and a label map for each picture, as each gives alone."""
    out = tmp_path / "r.jsonl"
    done = run(folder, "--model", exported, "--json", out, "--drawn", tmp_path / "drawn",
               "--masks", tmp_path / "masks", "--image-id", 10)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = lines(out)
    assert [line["file_name"] for line in found] == ["a.png", "b.jpg", "b.png", "below/c.png"]
    assert [line["image_id"] for line in found] == [10, 11, 12, 13]
    written = ["a.png", "b.jpg.png", "b.png.png", "below/c.png"]
    for kind in ("drawn", "masks"):
        made = sorted(
            p.relative_to(tmp_path / kind).as_posix() for p in (tmp_path / kind).rglob("*.png")
        )
        assert made == written
    with Segmenter(exported) as segment:
        for line, name in zip(found, written, strict=True):
            objects = segment(folder / line["file_name"])
            assert line["annotations"] == objects.to_coco(line["image_id"])
            labels = cv2.imread(str(tmp_path / "masks" / name), cv2.IMREAD_UNCHANGED)
            assert labels.dtype == np.uint16
            np.testing.assert_array_equal(labels, label_map(objects))
            assert labels.shape == objects.size == (line["height"], line["width"])


def test_a_label_map_has_the_best_object_on_top(exported: Path) -> None:
    """Each pixel has the number of the best mask that covers it, 0 where none does."""
    with Segmenter(exported) as segment:
        found = segment(PHOTO, mask_nms=1.0, top=40)
    labels = label_map(found)
    masks = found.masks
    expected = np.where(masks.any(0), masks.argmax(0) + 1, 0)
    np.testing.assert_array_equal(labels, expected)


def test_a_pattern_a_video_and_standard_input(exported: Path, folder: Path, tmp_path: Path) -> None:
    """Every way of pointing at pictures."""
    done = run(f"{folder}/**/*.png", "--model", exported, "--json", tmp_path / "p.jsonl")
    assert done.returncode == 0, done.stderr
    assert [line["file_name"] for line in lines(tmp_path / "p.jsonl")] == [
        "a.png", "b.png", "below/c.png",
    ]  # fmt: skip
    video = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 5, (384, 303))
    for _ in range(3):
        writer.write(cv2.imread(str(PHOTO)))
    writer.release()
    done = run(video, "--model", exported, "--json", tmp_path / "v.jsonl", "--masks", tmp_path)
    assert done.returncode == 0, done.stderr
    names = [line["file_name"] for line in lines(tmp_path / "v.jsonl")]
    assert names == ["v.avi#000000", "v.avi#000001", "v.avi#000002"]
    assert (tmp_path / "v_000002.png").is_file()
    done = subprocess.run(
        command("-", "--model", exported, "--json", tmp_path / "s.json"), check=False, cwd=ROOT,
        input=PHOTO.read_bytes(), capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "s.json").read_text())) >= 20


def test_what_is_damaged_is_told_and_the_rest_is_kept(
    exported: Path, folder: Path, tmp_path: Path
) -> None:
    """A line says why, the others have their results, and the exit code is 1; then it goes on."""
    whole = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "r.jsonl"
    done = run(folder, "--model", exported, "--json", out)
    assert done.returncode == 1
    assert "is cut short" in done.stdout
    assert done.stderr == "error: 1 could not be segmented; see above\n"
    assert ["error" in line for line in lines(out)] == [False, True, False, False]
    assert run(folder, "--model", exported, "--json", out).returncode == 1, "it is there already"
    (folder / "b.jpg").write_bytes(whole)
    done = run(folder, "--model", exported, "--json", out, "--resume")
    assert done.returncode == 0, done.stderr
    assert "in 1 pictures; 3 were done before" in done.stdout
    assert lines(out)[4]["file_name"] == "b.jpg"
    assert lines(out)[4]["image_id"] == 1


def test_a_killed_run_has_whole_lines_and_is_resumed(exported: Path, tmp_path: Path) -> None:
    """Half a line, as a crash may leave it, is cut off; nothing is segmented twice."""
    (tmp_path / "in").mkdir()
    photo = cv2.imread(str(PHOTO))
    for k in range(30):
        cv2.imwrite(str(tmp_path / "in" / f"{k:02d}.png"), photo[: 200 + k])
    out = tmp_path / "r.jsonl"
    arguments = (tmp_path / "in", "--model", exported, "--json", out)
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.perf_counter() + 60
    while time.perf_counter() < deadline and (
        not out.exists() or out.read_bytes().count(b"\n") < 3
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = lines(out)
    assert 3 <= len(before) < 30
    with out.open("ab") as file:
        file.write(b'{"file_name": "29.png", "annot')
    done = run(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    after = lines(out)
    assert after[: len(before)] == before
    assert [line["file_name"] for line in after] == [f"{k:02d}.png" for k in range(30)]


def test_a_full_disk_keeps_what_was_written(exported: Path, folder: Path, tmp_path: Path) -> None:
    """Here by a limit of the file's size: whole lines are kept, the rest is told."""
    out = tmp_path / "r.jsonl"

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    done = run(folder, "--model", exported, "--json", out, preexec_fn=small_files)
    assert done.returncode == 1, done.stdout
    assert "what it has is kept, and --resume goes on" in done.stderr
    kept = lines(out)
    assert 1 <= len(kept) < 4
    done = run(folder, "--model", exported, "--json", out, "--resume")
    assert done.returncode == 0, done.stderr
    assert len(lines(out)) == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nothing-here", "--model", "M"), "no picture at nothing-here"),
        (("none/*.png", "--model", "M"), "none/*.png has no pictures"),
        (("none.mp4", "--model", "M"), "none.mp4 cannot be opened"),
        (("P", "--model", "M", "--resume"), "--resume is for several pictures"),
        (("F", "--model", "M", "--resume"), "--resume goes on with --json's file"),
        (("P", "--model", "M", "--scales", "1,a"), "--scales is '1,a'"),
        (("P", "--model", "M", "--slices", "100"), "deepmask_small has no slices"),
    ],
)
def test_mistakes(exported: Path, folder: Path, arguments: tuple, says: str) -> None:
    """One sentence on stderr, exit code 1."""
    real = {"M": exported, "P": PHOTO, "F": folder}
    done = run(*(real.get(one, one) for one in arguments))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_another_programs_file_is_not_resumed(exported: Path, folder: Path, tmp_path: Path) -> None:
    """Lines that are not ours are left alone."""
    out = tmp_path / "notes.txt"
    out.write_text("dear diary\n")
    done = run(folder, "--model", exported, "--json", out, "--resume")
    assert done.returncode == 1
    assert "line 1 of" in done.stderr
    assert out.read_text() == "dear diary\n"
