"""Writing aside: all of a file or nothing of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import OutputError
from engine.files import check_writable, write_aside, write_together


def test_a_whole_file_takes_the_place(tmp_path: Path) -> None:
    """After the block the file is there with ordinary permissions, and nothing beside it."""
    target = tmp_path / "x.json"
    target.write_text("old")
    with write_aside(target) as aside:
        assert aside.suffix == ".json"
        aside.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(28, "No space")])
def test_an_error_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    """An error, Ctrl-C or a full disk inside the block changes nothing."""
    target = tmp_path / "x"
    target.write_text("old")
    expected = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), write_aside(target) as aside:  # noqa: PT012
        aside.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A folder that does not exist and a target that is a folder are refused at once."""
    for target in (tmp_path / "none" / "x", tmp_path):
        with pytest.raises(OutputError, match="cannot write"), write_aside(target):
            pytest.fail("the block must not run")
        with pytest.raises(OutputError, match="cannot write"):
            check_writable(target)
    check_writable(tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_files_that_belong_together_come_together(tmp_path: Path) -> None:
    """The target is the last to come; before, and after an error, nothing is seen of any."""
    target = tmp_path / "a.plan"
    with pytest.raises(ZeroDivisionError), write_together(target) as folder:
        (folder / "a.plan").write_text(str(1 // 0))
    assert not list(tmp_path.iterdir())
    seen = []
    with write_together(target) as folder:
        for name in ("a.plan", "z.json", "b.so"):
            (folder / name).write_text(name)
        seen = [p.name for p in tmp_path.iterdir()]
    assert len(seen) == 1
    assert seen[0].startswith(".building-")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.plan", "b.so", "z.json"]
    for place in (tmp_path, tmp_path / "none" / "a.plan"):
        with pytest.raises(OutputError, match="cannot write"), write_together(place):
            pass
