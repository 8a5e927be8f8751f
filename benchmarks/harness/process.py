"""The worker processes, from the side that asks."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.harness.contestants import Contestant
from benchmarks.harness.scenarios import Samples
from engine.errors import BackendError, MaskRTError, OptionError

ROOT = Path(__file__).resolve().parents[2]


class WorkerError(MaskRTError):
    """A contestant cannot be measured; the report, which has its name, goes on without it."""


class Worker:
    """A contestant's process. It ends with this one, however that ends.

    Args:
        contestant: what it runs.
        root: the checkout whose runtime it is.
    """

    def __init__(self, contestant: Contestant, root: Path = ROOT) -> None:
        self.contestant = contestant
        # A file, not a pipe: nobody reads while the worker works, and a full pipe would stop it.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py")), str(root)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """The contestant's."""
        return self.contestant.name

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """An answer of the worker.

        Raises:
            WorkerError: what it says is wrong, or that it died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"its process ended with {self._ended()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def run(self, scenario: str, settle: int = 0, **options: Any) -> Samples:
        """A scenario's function in the worker, after `settle` calls that are not counted."""
        return Samples(**self.ask("run", scenario=scenario, options=options, settle=settle))

    def _ended(self) -> str:
        """The exit code, and the last that was said."""
        code = self._process.wait()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()
        return f"{code} ({said[-1][:200] if said else 'it said nothing'})"

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()


def hash_of(commit: str | None) -> str | None:
    """The full hash of a commit, as branches and HEAD move; None: None.

    Raises:
        OptionError: there is no such commit.
        BackendError: there is no git here.
    """
    if commit is None:
        return None
    said = _git(commit, "rev-parse", "--verify", "--end-of-options", commit + "^{commit}")
    return said.decode().strip()


@contextmanager
def checkout(commit: str | None) -> Iterator[Path]:
    """This repository's files at a commit, in a folder that is gone afterwards; None: as they are.

    Raises:
        OptionError: there is no such commit.
        BackendError: there is no git here.
    """
    if commit is None:
        yield ROOT
        return
    archive = _git(commit, "archive", "--format=tar", "--end-of-options", commit)
    # Pythons before 3.10.12 and 3.11.4 have no filters; the files are this repository's own.
    safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, **safely)
        yield Path(folder)


def _git(commit: str, *arguments: str) -> bytes:
    """What git writes when it is asked about a commit."""
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise BackendError("commits are compared by git, which is not installed here") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise OptionError(
            f"commit={commit} cannot be read from the repository ({said[-1] if said else 'git'}); "
            "give one that git log shows"
        )
    return done.stdout
