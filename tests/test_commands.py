"""The scripts and the `maskrt` command: they start anywhere, and mistakes are one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from maskrt.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = {"export": "to_onnx.py", "build": "to_trt.py", "train": "train.py"}


def _run(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "200", "TERM": "dumb"}
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    """`maskrt NAME --help` exits with 0 and shows its options."""
    done = _run("-m", "maskrt", name, "--help")
    assert done.returncode == 0, done.stderr
    assert any(option in done.stdout for option in ("--output", "--json", "--against"))


@pytest.mark.parametrize(("name", "script"), SCRIPTS.items())
def test_scripts_run_from_any_folder(tmp_path: Path, name: str, script: str) -> None:
    """`python export/SCRIPT` is the command of the same job, wherever it is started."""
    done = _run(ROOT / "export" / script, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"maskrt {name}" in done.stdout


@pytest.mark.parametrize("script", ["latency.py", "accuracy.py"])
def test_a_package_that_is_not_installed_is_told(script: str) -> None:
    """Where there is only Python itself."""
    done = _run("-S", f"benchmarks/{script}")
    assert done.returncode == 1
    assert done.stderr == (
        "error: the package typer is not installed; pip install 'maskrt[bench]'\n"
    )


def test_the_list_of_commands_imports_no_torch() -> None:
    """`maskrt --help` names every command and loads none of them."""
    code = (
        "import sys; sys.argv = ['maskrt', '--help']\n"
        "from maskrt.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules"
    )
    done = _run("-c", code)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("export", "deepmask", "--output", "x.onnx"), "there is no model 'deepmask'; choose"),
        (("export", "deepmask_vgg", "--output", "x.onnx"), "no weights are shipped for"),
        (
            ("export", "deepmask_small", "--weights", "no.pth", "--output", "x.onnx"),
            "no checkpoint at no.pth",
        ),
        (
            ("export", "deepmask_small", "--output", "x.onnx", "--top", "0"),
            "--top is 0; give a number",
        ),
        (("build", "no.onnx", "--output", "x.engine"), "the model no.onnx does not exist"),
        (("segment", "no.png", "--model", "no.onnx"), "the model no.onnx does not exist"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    """An error of our family is one line on stderr, exit code 1, and leaves no file."""
    done = _run("-m", "maskrt", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_unwritable_output_is_said_before_or_after_but_never_half(
    exported: Path, tmp_path: Path
) -> None:
    """A folder that does not exist, and a name that is a folder, are one line and no file."""
    for output in (tmp_path / "none" / "x.onnx", tmp_path):
        done = _run("-m", "maskrt", "export", "deepmask_small", "--output", output)
        assert (done.returncode, done.stderr[:20]) == (1, f"error: cannot write {output}"[:20])
    photo = tmp_path / "grey.png"
    cv2.imwrite(str(photo), np.full((40, 50), 90, np.uint8))
    segment = "-m", "maskrt", "segment", photo, "--model", exported
    for option, name, said in (
        ("--drawn", "x.txt", "give a name that ends in .png or .jpg"),
        ("--masks", "x.jpg", "give a name that ends in .png"),
        ("--json", "none/x.json", "give a path in a folder that exists"),
    ):
        done = _run(*segment, option, tmp_path / name)
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stdout == ""  # nothing was segmented for it
    assert [p.name for p in tmp_path.iterdir()] == ["grey.png"]


def test_segment_writes_what_was_asked_for(exported: Path, tmp_path: Path) -> None:
    """`maskrt segment` prints a table, and writes COCO results and a drawing when asked."""
    photo = tmp_path / "disc.png"
    picture = np.full((200, 220, 3), 40, np.uint8)
    cv2.circle(picture, (110, 100), 35, (190, 200, 210), -1, cv2.LINE_AA)
    cv2.imwrite(str(photo), picture)
    done = _run(
        "-m", "maskrt", "segment", photo, "--model", exported, "--json", tmp_path / "r.json",
        "--drawn", tmp_path / "d.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "objects in 220 x 200 pixels" in done.stdout
    assert (tmp_path / "r.json").exists()
    assert cv2.imread(str(tmp_path / "d.png")).shape == picture.shape


def test_verify_passes_a_model_and_refuses_another(exported: Path, tmp_path: Path) -> None:
    """A model agrees with itself; one whose scores are not the same is refused with the figures."""
    photo = ROOT / "maskrt" / "data" / "coins.png"
    command = ("-m", "maskrt", "verify", exported, "--images", photo, "--against")
    done = _run(*command, exported)
    assert done.returncode == 0, done.stderr
    assert "passed: 100.0%" in done.stdout
    graph = onnx.load(exported)
    for tensor in graph.graph.initializer:
        if "score" in tensor.name and tensor.name.endswith("weight"):
            array = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array * np.float32(0.3), tensor.name))
    onnx.save(graph, tmp_path / "worse.onnx")
    done = _run("-m", "maskrt", "verify", tmp_path / "worse.onnx", "--images", photo,
                "--against", exported)  # fmt: skip
    assert done.returncode == 1
    assert "differs:" in done.stderr
    (tmp_path / "none").mkdir()
    done = _run("-m", "maskrt", "verify", exported, "--images", tmp_path / "none",
                "--against", exported)  # fmt: skip
    assert done.returncode == 1
    assert "has no pictures" in done.stderr
