"""Writing so that nothing is lost: aside first, then renamed into place."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError


@contextmanager
def write_aside(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to write to; it takes `target`'s place when the block ends without an error.

    The path lies in the target's own folder (a rename across file systems is a copy) and keeps
    its suffix (OpenCV and others choose a format by it). After an error nothing is left of it,
    and an older file at `target` is as it was.

    Raises:
        OutputError: the folder does not exist or cannot be written, or the disk is full.
    """
    path = _file(target)
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
    except OSError as error:
        raise _refused(path, error) from error
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        # mkstemp makes files for the owner alone; a result is an ordinary file.
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o666 & ~umask)
        aside.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; nothing was changed there"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def write_together(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a folder to write several files to, which move to `target`'s when the block ends.

    `target` moves last: when it is there, everything that it needs is. After an error nothing is
    left; after a kill only a folder whose name begins with `.building-`.

    Raises:
        OutputError: the folder does not exist or cannot be written, or the disk is full.
    """
    path = _file(target)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as aside:
            yield Path(aside)
            for written in sorted(Path(aside).iterdir(), key=lambda p: p.name == path.name):
                written.replace(path.parent / written.name)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; give a path in a folder that exists, "
            "that you may write to and that has room"
        ) from error


def check_writable(target: str | os.PathLike[str]) -> None:
    """Say before the work, not after it, that its result could not be kept.

    Raises:
        OutputError: the folder does not exist or cannot be written.
    """
    path = _file(target)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _refused(path, error) from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; read piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _file(target: str | os.PathLike[str]) -> Path:
    path = Path(target)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; give the name of a file")
    return path


def _refused(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {error.strerror}; give a path in a folder that exists and that you "
        "may write to"
    )
