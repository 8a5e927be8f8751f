"""`benchmarks/latency.py` as it is called: processes, reports, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from benchmarks.harness.contestants import Contestant
from benchmarks.harness.process import ROOT, Worker, WorkerError, checkout, hash_of
from benchmarks.harness.report import without_folders
from engine.errors import OptionError

SINGLE = ("--scenario", "single-stream", "--warm-up", "0.2")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "benchmarks/latency.py", *map(str, arguments)]


def latency(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"COLUMNS": "80", "TERM": "dumb"},
    )  # fmt: skip


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small one, so that calls are short."""
    path = tmp_path / "small.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    return path


def test_all_scenarios_and_reports(exported: Path, picture: Path, tmp_path: Path) -> None:
    """Two contestants, all scenarios, the three files; what is wrong is told beside them."""
    out = {kind: tmp_path / f"latency.{kind}" for kind in ("json", "html", "md")}
    (picture.parent / "broken.png").write_bytes(b"no picture")
    done = latency(
        exported, f"{exported}@threads=1", tmp_path / "nowhere.onnx", "--images", picture.parent,
        "--count", 6, "--rate", 20, "--streams", 2, "--warm-up", 0.2, "--json", out["json"],
        "--html", out["html"], "--markdown", out["md"], "--score-threshold", 0.01,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    text = out["json"].read_text()
    for folder in {str(tmp_path), str(exported.parent), str(Path.home()) + "/"} - {"/", "//"}:
        assert folder not in text
    report = json.loads(text)
    assert (report["schema"], report["version"]) == ("maskrt-latency", 1)
    names = [f"{exported.name}", f"{exported.name}@threads=1"]
    assert [one["name"] for one in report["contestants"]] == names
    first, second = report["contestants"]
    assert first["agreement"] is None
    assert first["objects"] == second["objects"]
    assert second["agreement"]["found_again"] == second["agreement"]["objects"] > 0
    assert second["agreement"]["box"] < 0.5
    assert len(report["errors"]) == 2
    assert "broken.png" in report["errors"][0]["message"]
    assert report["errors"][1] == {
        "contestant": "nowhere.onnx",
        "message": "the model nowhere.onnx does not exist; give the path of an .onnx file",
    }
    assert len(report["results"]) == 8
    for entry in report["results"]:
        assert entry["queries"] == 6
        assert entry["stage_sum_share"] == pytest.approx(1.0, abs=0.03)
        assert len(entry["samples"]["latencies"]) == len(entry["samples"]["starts"]) == 6
        for one in [entry["throughput"], *entry["latency"].values(), *entry["stages"].values()]:
            assert one["low"] is None or 0 <= one["low"] <= one["value"]
            assert one["high"] is None or one["value"] <= one["high"]
        assert sum(turn["queries"] for turn in entry["samples"]["turns"]) == 6
    assert [one["scenario"] for one in report["comparisons"]] == [
        "single stream", "multi stream", "offline", "server",
    ]  # fmt: skip
    for word in ("nowhere.onnx does not exist", "broken.png", "B / A", "network"):
        assert word in " ".join(done.stdout.split())
        assert word in out["html"].read_text()
    for shown in (" ".join(done.stdout.split()), out["html"].read_text(), out["md"].read_text()):
        assert "nowhere.onnx:" not in shown  # the message has the name
    assert "| network |" in out["md"].read_text()


def test_nothing_can_be_measured(exported: Path, tmp_path: Path) -> None:
    """A sentence for a device that is not there, a report without results, and exit code 1."""
    done = latency(
        f"{exported}@device=cuda:7", *SINGLE, "--count", 1, "--json", tmp_path / "r.json"
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["results"] == report["contestants"] == []
    (error,) = report["errors"]
    assert error["contestant"] == f"{exported.name}@device=cuda:7"
    assert "cuda" in error["message"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("m.onnx@depth=3",), "depth=3"),
        (("m.onnx@threads=99999999999999999999",), "give threads=1 to threads=1024"),
        (("m.onnx", "--seconds", "0"), "--seconds is 0"),
        (("m.onnx", "--rate", "nan"), "--rate is nan"),
        (("m.onnx", "--baseline", "nowhere.json"), "nowhere.json cannot be read"),
        (("m.onnx", "--html", "no/where.html"), "cannot write no/where.html"),
    ],
)
def test_options_that_are_wrong(arguments: tuple[str, ...], said: str) -> None:
    """One sentence, before anything is measured."""
    done = latency(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_baseline(exported: Path, picture: Path, tmp_path: Path) -> None:
    """A run that is slower than allowed fails with a line, after its reports were written."""
    some = (exported, *SINGLE, "--images", picture, "--count", 8)
    assert latency(*some, "--json", tmp_path / "old.json").returncode == 0
    older = json.loads((tmp_path / "old.json").read_text())
    for name in ("value", "low", "high"):
        older["results"][0]["latency"]["p50"][name] /= 10
    (tmp_path / "old.json").write_text(json.dumps(older))
    more = ("--baseline", tmp_path / "old.json", "--json", tmp_path / "new.json")
    done = latency(*some, *more)
    assert done.returncode == 1
    assert (tmp_path / "new.json").is_file()
    assert done.stderr.startswith(f"error: {exported.name}, single stream: p50 ")


def test_ctrl_c_reports_what_there_is(exported: Path, picture: Path, tmp_path: Path) -> None:
    """Exit code 130, and a report of the turns until then."""
    arguments = command(
        exported, exported, *SINGLE, "--images", picture, "--seconds", 60,
        "--json", tmp_path / "r.json",
    )  # fmt: skip
    with subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        for _ in range(600):  # until both workers have done more than open and warm up
            busy = [p.cpu_times().user for p in psutil.Process(process.pid).children()]
            if len(busy) == 2 and min(busy) > 3:
                break
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers too
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["interrupted"] is True
    assert len(report["results"]) == 2
    assert all(entry["turns"] >= 1 for entry in report["results"])


def test_a_worker_dies_with_who_asks() -> None:
    """Also in the midst of a long call."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from benchmarks.harness.contestants import Contestant\n"
        "from benchmarks.harness.process import Worker\n"
        "worker = Worker(Contestant('a', Path('a.onnx')))\n"
        "try: worker.ask('run', scenario='server', options=dict(count=2, rate=0))\n"
        "except Exception as error: print(worker.pid, flush=True)\n"
        "worker.ask('run', scenario='server', options=dict(count=9, rate=0.01))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE
    ) as parent:
        pid = int(parent.stdout.readline())
        worker = psutil.Process(pid)
        time.sleep(0.2)
        assert worker.is_running()
        parent.kill()
    worker.wait(timeout=5)


def test_a_worker_that_says_much_and_one_that_dies() -> None:
    """Output that nobody reads stops nothing; a death is told with the last that was said."""
    with Worker(Contestant("a", Path("a.onnx"))) as worker:
        with pytest.raises(WorkerError, match=r"^the model .* does not exist"):
            worker.ask("open", model="nowhere.onnx", opening={})
        for _ in range(3):
            with pytest.raises(WorkerError):
                worker.ask("run", scenario="x" * 300_000, options={})
        psutil.Process(worker.pid).kill()
        with pytest.raises(WorkerError, match=r"^its process ended with -9"):
            worker.ask("warm_up", most_seconds=1.0)


def test_a_commit(tmp_path: Path) -> None:
    """Its files lie in a folder for as long as they are needed; what is none is one sentence."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: no commits to compare")
    with checkout("HEAD") as folder:
        assert (folder / "engine" / "segmenter.py").is_file()
        assert folder != ROOT
    assert not folder.exists()
    for wrong in ("nosuchcommit", "--output=x", "--all", "0" * 40):
        with pytest.raises(OptionError, match="give one that git log shows"), checkout(wrong):
            pass
        with pytest.raises(OptionError, match=f"commit={wrong} cannot be read from the repository"):
            hash_of(wrong)


def test_a_commit_is_kept_as_its_hash(exported: Path, picture: Path, tmp_path: Path) -> None:
    """HEAD moves, and so do branches: the name says what was asked for, the field what that was."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: no commits to compare")
    said = subprocess.run(
        ["git", "-C", ROOT, "log", "-1", "--format=%H"], capture_output=True, text=True, check=True
    )
    head = said.stdout.strip()
    assert (hash_of("HEAD"), hash_of(head[:12]), hash_of(None)) == (head, head, None)
    with pytest.raises(OptionError, match="git log shows"):
        hash_of("HEAD:engine")  # a folder
    out = tmp_path / "r.json"
    done = latency(
        f"{exported}@commit=HEAD", f"{exported}@commit=nosuch", *SINGLE, "--images", picture,
        "--count", 1, "--json", out,
    )  # fmt: skip
    assert done.returncode == 1
    report = json.loads(out.read_text())
    (one,) = report["contestants"]
    assert (one["name"], one["commit"]) == (f"{exported.name}@commit=HEAD", head)
    (error,) = report["errors"]
    assert error["contestant"] == f"{exported.name}@commit=nosuch"
    assert "commit=nosuch cannot be read from the repository" in error["message"]


def test_reports_have_no_folders() -> None:
    """Of absolute paths the last name is left; others stay as they are."""
    for text, left in {
        "--json /home/me/a.json": "--json a.json",
        "--json=/home/me/a.json m/b.onnx": "--json=a.json m/b.onnx",
        "the model '/x/y z.onnx' is": "the model 'y z.onnx' is",
        "'/home/me/secret project/models/a b.onnx'": "'a b.onnx'",
        "file:///home/me/x.onnx and A.onnx:/home/me/x": "x.onnx and A.onnx:x",
        "../../home/me/x.onnx ../y": "x.onnx y",
        "out/demo/m.onnx, 1 / 2, and/or": "out/demo/m.onnx, 1 / 2, and/or",
        "~/models/a.onnx@threads=1": "a.onnx@threads=1",
        "see https://a.b/c/d or 3/4": "see https://a.b/c/d or 3/4",
    }.items():
        assert without_folders(text) == left
