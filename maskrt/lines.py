"""Results as lines of JSON, one a picture: what is on disk is whole, whenever the program ends."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from engine.errors import OptionError, OutputError


class Lines:
    """A file of JSON lines that grows by whole lines.

    Args:
        path: of the file.
        resume: go on with the file that is there; what it lacks the end of a line for, as a
            crash leaves it, is cut off.

    Attributes:
        done: the names of the pictures that it has results of; those with an error are not done.

    Raises:
        OptionError: the file is there and it is not to be resumed, or it has other lines.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        self.done: set[str] = set()
        if path.exists() and not resume:
            raise OptionError(
                f"{path} is there already; give --resume to go on with it, or another name"
            )
        try:
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - closed by close()
            if resume:
                self._read()
        except OSError as error:
            raise self._failed(error) from error

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                content = json.loads(line)
                name = content["file_name"]
            except (ValueError, KeyError, TypeError) as error:
                raise OptionError(
                    f"line {number} of {self.path} is not one of maskrt segment; give another file"
                ) from error
            if "error" not in content:
                self.done.add(name)
            whole += len(line)
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)

    def write(self, content: dict[str, Any]) -> None:
        """Add a line; it is on its way to the disk when this returns.

        Raises:
            OutputError: the disk is full: the lines before are kept, and no part of this one.
        """
        data = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        before = self._file.tell()
        try:
            written = self._file.write(data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._file.truncate(before)
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write {self.path}: {error.strerror}; what it has is kept, and --resume goes on"
        )

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
