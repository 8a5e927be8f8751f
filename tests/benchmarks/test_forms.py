"""How a model is run, as command lines say it after an @."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.forms import Form, parse
from engine.errors import OptionError

ALL = ("backend", "device", "precision", "threads", "commit")


@pytest.mark.parametrize(
    ("how", "options"),
    [
        ("openvino,bf16", {"backend": "openvino", "precision": "bf16"}),
        ("cuda:1", {"device": "cuda:1"}),
        ("cpu,onnxruntime", {"backend": "onnxruntime", "device": "cpu"}),
        ("backend=openvino,threads=2", {"backend": "openvino", "threads": 2}),
        ("device=cuda,precision=int8", {"device": "cuda", "precision": "int8"}),
        ("threads=1024", {"threads": 1024}),
        ("commit=origin/main,cpu", {"commit": "origin/main", "device": "cpu"}),
    ],
)
@pytest.mark.parametrize("path", ["a.onnx", "x@y/a.onnx", "/x@y/z@w/a", "x@cpu/a.onnx"])
def test_options_are_words_and_values(path: str, how: str, options: dict[str, Any]) -> None:
    """In any order, behind any path; whether it is there does not matter."""
    text = f"{path}@{how}"
    assert parse(text, ALL) == Form(text, Path(path), how, options)
    assert parse(path, ALL) == Form(path, Path(path))


@pytest.mark.parametrize("name", ["a@cuda", "a@b@c.onnx", "x@y/m.onnx", "x@cpu/y@cpu/m@cpu"])
def test_what_is_there_is_meant(name: str, tmp_path: Path) -> None:
    """A file is a file, whatever it and its folders are called; options may still follow."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert parse(str(path), ALL).path == path
    assert parse(str(path), ALL).options == {}
    form = parse(f"{path}@threads=3", ALL)
    assert (form.path, form.how, form.options) == (path, "threads=3", {"threads": 3})


def test_a_revision_may_have_an_at(tmp_path: Path) -> None:
    """As git's own have: the path that is there ends before it."""
    path = tmp_path / "m.onnx"
    path.touch()
    for revision in ("HEAD@{1}", "@", "@~2"):
        form = parse(f"{path}@commit={revision},cpu", ALL)
        assert (form.path, form.options) == (path, {"commit": revision, "device": "cpu"})


CHOICES = (
    "give at most one each of onnxruntime, openvino or tensorrt; cpu, cuda or cuda:1; fp32, fp16, "
    "bf16 or int8; threads=1 to threads=1024; commit=REVISION"
)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("fast", f"'fast' after its @; {CHOICES}"),
        ("depth=3", f"'depth=3' after its @; {CHOICES}"),
        ("", f"'' after its @; {CHOICES}"),
        ("cpu,", f"'' after its @; {CHOICES}"),
        ("=cpu", f"'=cpu' after its @; {CHOICES}"),
        ("cuda:x", f"'cuda:x' after its @; {CHOICES}"),
        ("cpu:1", f"'cpu:1' after its @; {CHOICES}"),
        ("openvino,onnxruntime", "'onnxruntime' after its @, a second backend; give one"),
        ("device=cpu,cuda", "'cuda' after its @, a second device; give one"),
        ("threads=1,threads=1", "'threads=1' after its @, a second threads; give one"),
        ("backend=bf16", "'backend=bf16' after its @; give onnxruntime, openvino or tensorrt"),
        ("threads=0", "'threads=0' after its @; give threads=1 to threads=1024"),
        ("threads=1025", "'threads=1025' after its @; give threads=1 to threads=1024"),
        ("threads=none", "'threads=none' after its @; give threads=1 to threads=1024"),
        ("threads=\u0663", "'threads=\u0663' after its @; give threads=1 to threads=1024"),
        ("threads=" + "9" * 5000, "9 after its @; give threads=1 to threads=1024"),
        ("commit=", "'commit=' after its @; give commit=REVISION"),
    ],
)
def test_mistakes_are_one_sentence(how: str, says: str) -> None:
    """What was given, what is wrong with it, and what there is."""
    with pytest.raises(OptionError) as caught:
        parse(f"m.onnx@{how}", ALL)
    assert str(caught.value).startswith("the model m.onnx@")
    assert str(caught.value).endswith(says)


def test_an_option_that_a_command_does_not_have() -> None:
    """It is refused with those that it has."""
    with pytest.raises(OptionError, match=r"has 'commit=HEAD' after its @; give .* or cuda:1$"):
        parse("m.onnx@commit=HEAD", ("backend", "device"))
    with pytest.raises(OptionError, match="give the path of a file"):
        parse("", ALL)


@given(st.text(st.sampled_from("m@/,=:.1cpu"), min_size=1, max_size=12))
def test_any_text_is_a_form_or_refused(text: str) -> None:
    """Nothing else is raised, and nothing that was given is lost."""
    try:
        form = parse(text, ALL)
    except OptionError:
        return
    path = text.removesuffix(f"@{form.how}") if form.how else text
    assert form.path == Path(path)
    assert bool(form.how) == bool(form.options)
    assert not form.how or not os.path.exists(text)
