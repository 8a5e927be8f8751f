"""What TensorRT's builder says while it works, for people: each message once, and a bar."""

from __future__ import annotations

import re
from typing import Any

from rich.progress import Progress, TaskID

NOT_FOR_USERS = (
    # Without a GPU the builder of TensorRT for RTX says so at every step, and goes on.
    "CUDA driver version is insufficient",
    "CUDA lazy loading is not enabled",
    # Our operators' bodies stand in a graph several times, and nobody queries their tensors.
    "the output tensors of this new instance will not be queryable",
    # The runtime's business.
    "has Int64 binding",
)


def logger(trt: Any, *, verbose: bool = False) -> Any:
    """An ILogger that keeps errors and warnings, readable, each once.

    Args:
        trt: the TensorRT that it is for.
        verbose: print everything to standard error as it comes, too.
    """
    import sys

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if verbose:
                print(f"[{str(severity).rpartition('.')[2]}] {message}", file=sys.stderr)
            if severity > trt.ILogger.WARNING or any(t in message for t in NOT_FOR_USERS):
                return
            kept = self.errors if severity <= trt.ILogger.ERROR else self.warnings
            text = readable(message)
            if text not in kept:
                kept.append(text)

    return Logger()


def readable(message: str) -> str:
    """A builder's message as one line, without where in TensorRT's sources it was written."""
    line = " ".join(message.split())
    line = re.sub(r"\[[\w/]+\.\w+:[^\]]*\]\s*|\b[\w/]+\.(?:cpp|hpp|h):\d+:\s*", "", line)
    line = re.sub(r"\W*In \w+ at /[\w/.]+(?::\d+\)?)?", "", line)
    return line.strip()[:400]


def monitor(trt: Any, progress: Progress) -> Any:
    """An IProgressMonitor that shows the build as one bar, and its present step as a second one."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.parents: dict[str, str | None] = {}
            self.whole = progress.add_task("waiting", total=None)
            self.part = progress.add_task("", total=None)

        def _task(self, parent: str | None) -> TaskID:
            return self.part if parent else self.whole

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            progress.reset(self._task(parent), total=steps, description=name)
            self.parents[name] = parent

        def step_complete(self, name: str, step: int) -> bool:
            progress.update(self._task(self.parents[name]), completed=step + 1)
            return True

        def phase_finish(self, name: str) -> None:
            task = self._task(self.parents[name])
            progress.update(task, completed=progress.tasks[task].total)
            progress.update(self.part, visible=task != self.whole)

    return Monitor()
