"""Where the time of a call goes: stages are marked in the runtime and measured when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

STAGES = ("decode", "prepare", "upload", "network", "download", "finish", "paste")
"""In the order that a picture takes. A CPU's network has no upload and no download; a GPU's are the
copies to and from pinned memory, while what the device transfers is in the network's time."""
OTHER = "other"


class Stages:
    """Seconds by stage. What lies inside another stage is counted there alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open = [OTHER]
        self._since = perf_counter()

    def switch(self) -> None:
        """Count the time since the last switch for the stage that is open."""
        now = perf_counter()
        name = self._open[-1]
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """A stage is open while the block runs."""
        self.switch()
        self._open.append(name)
        try:
            yield
        finally:
            self.switch()
            self._open.pop()


_asked: ContextVar[Stages | None] = ContextVar("maskrt_stages", default=None)


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """The seconds of each stage of what runs in the block, in this thread; they sum to its time.

    Yields:
        Names of `STAGES`, and "other" for what is none of them; complete after the block.
    """
    stages = Stages()
    token = _asked.set(stages)
    try:
        yield stages.seconds
    finally:
        stages.switch()
        _asked.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """The block is a stage, if anybody measures."""
    stages = _asked.get()
    if stages is None:
        yield
        return
    with stages.inside(name):
        yield
