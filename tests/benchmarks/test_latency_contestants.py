"""What latency.py measures: how contestants are asked for, and what they are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.contestants import parse, told


def test_contestants() -> None:
    """Options after an @; one that comes twice has a number, and a name of its own."""
    one, two, three = parse(["m/a.onnx", "m/a.onnx", "b.onnx@backend=openvino,threads=2"])
    (words,) = parse(["b.onnx@openvino,cuda:1,bf16,threads=2,commit=HEAD"])
    assert (words.backend, words.device, words.precision) == ("openvino", "cuda:1", "bf16")
    assert words.commit == "HEAD"
    assert (one.name, two.name) == ("a.onnx", "a.onnx #2")
    assert three.opening == {
        "backend": "openvino", "device": None, "threads": 2, "precision": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["x/m.onnx", "y/m.onnx"], ["x/m.onnx", "y/m.onnx"]),
        (["/u/x/m.onnx", "/u/y/m.onnx@cpu", "n.onnx"], ["x/m.onnx", "y/m.onnx@cpu", "n.onnx"]),
        (["x/m.onnx", "./x/m.onnx@cpu", "z/../x/m.onnx"], ["m.onnx", "m.onnx@cpu", "m.onnx #2"]),
        (["a/x/m.onnx", "b/x/m.onnx", "y/m.onnx"], ["a/x/m.onnx", "b/x/m.onnx", "y/m.onnx"]),
        (["/m.onnx", "/x/m.onnx", "/y/x/m.onnx"], ["m.onnx", "x/m.onnx", "y/x/m.onnx"]),
        (["x/m.onnx", "y/m.onnx"] * 2, ["x/m.onnx", "y/m.onnx", "x/m.onnx #2", "y/m.onnx #2"]),
        (["m #1.onnx"] * 3, ["m #1.onnx", "m #1.onnx #2", "m #1.onnx #3"]),
        (["m", "m", "m #2", "m"], ["m", "m #2", "m #2 #2", "m #3"]),
        (["m #2", "m", "m"], ["m #2", "m", "m #3"]),
    ],
)
def test_names_tell_contestants_apart(models: list[str], names: list[str]) -> None:
    """No two are the same; of different files of one name, the folders that differ are told."""
    assert [one.name for one in parse(models)] == names


@given(st.lists(st.from_regex(r"(/?[ab]/){0,3}m( #[12])?(@cpu)?", fullmatch=True), max_size=8))
def test_names_are_unique(models: list[str]) -> None:
    """Whatever files are called, and nothing of the machine but the folders that differ."""
    names = [one.name for one in parse(models)]
    assert len(set(names)) == len(models)
    assert not any(name.startswith("/") for name in names)


@pytest.mark.parametrize(
    ("contestant", "message", "line"),
    [
        (None, "there is no picture", "there is no picture"),
        ("cut.onnx", "cut.onnx is not an ONNX model", "cut.onnx is not an ONNX model"),
        ("m.onnx@cpu", "its process ended with -9", "m.onnx@cpu: its process ended with -9"),
        ("m.onnx@cpu", "m.onnx is none", "m.onnx@cpu: m.onnx is none"),
        ("m", "the memory is full", "m: the memory is full"),
        (
            "m.onnx #2",
            "cannot read m.onnx #2: it is a folder",
            "cannot read m.onnx #2: it is a folder",
        ),
    ],
)
def test_an_error_says_once_whose_it_is(contestant: str | None, message: str, line: str) -> None:
    """A message often names the model; the others have the contestant in front."""
    assert told({"contestant": contestant, "message": message}) == line
