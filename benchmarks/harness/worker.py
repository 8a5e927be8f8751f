"""A contestant in a process of its own: its threads and its memory are nobody else's.

Started as `python worker.py ROOT`, ROOT being the checkout whose runtime is measured. It reads a
request of JSON from each line of standard input, and writes an answer to what was standard output.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks, who then ends this
    # Libraries that print would write into the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path[0] = sys.argv[1]
    served = _Served()
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        request = json.loads(requests.get())
        try:
            answer = getattr(served, request.pop("do"))(**request)
        except Exception as error:  # whatever it is, the report says so and goes on
            answer = {"error": str(error) or type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _listen(requests: queue.SimpleQueue[str]) -> None:
    """Hand requests on. Standard input ends when who asks has died, in the midst of a call too."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


class _Served:
    """What can be asked for."""

    def __init__(self) -> None:
        self._scenarios = _beside("scenarios")
        self._once: Callable[[int], dict[str, float]] = lambda k: {}
        self._segmenter: Any = None

    def open(self, model: str, opening: dict[str, Any]) -> dict[str, Any]:
        """Open a model; how long that takes counts the import."""
        start = time.perf_counter()
        from engine import Segmenter

        self._segmenter = Segmenter(model, **{k: v for k, v in opening.items() if v is not None})
        card = self._segmenter.card
        told = {name: getattr(card, name) for name in ("task", "architecture", "precision")}
        name = self._segmenter.backend.name
        return {"seconds": time.perf_counter() - start, "backend": name, "card": told}

    def pictures(self, paths: list[str], output: str, options: dict[str, Any]) -> dict[str, Any]:
        """What is segmented, and what is made of the results; what is found in each picture."""
        measured = _measured()

        def once(k: int) -> dict[str, float]:
            with measured() as seconds:
                found = self._segmenter(paths[k % len(paths)], **options)
                if output != "none" and found.has_masks:
                    _ = found.rle() if output == "rle" else found.masks
            return dict(seconds)

        self._once = once
        answers = []
        for path in paths:
            found = self._segmenter(path, **options)
            rows = {"boxes": found.boxes, "scores": found.scores, "labels": found.labels}
            answers.append({name: values.tolist() for name, values in rows.items()})
        return {"answers": answers}

    def warm_up(self, most_seconds: float) -> dict[str, Any]:
        """Run until times are steady."""
        calls, steady = self._scenarios.warm_up(self._once, most_seconds)
        return {"calls": calls, "steady": steady}

    def run(self, scenario: str, options: dict[str, Any], settle: int = 0) -> dict[str, Any]:
        """A scenario's function, and what happened.

        Args:
            scenario: the function's name.
            options: its arguments but for the first.
            settle: calls before it that are not told: another process has had the caches.
        """
        for k in range(settle):
            self._once(options.get("first", 0) + k)
        return asdict(getattr(self._scenarios, scenario)(self._once, **options))


def _beside(name: str) -> Any:
    """A module of this folder, whatever the checkout has under its name."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"maskrt_harness_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _measured() -> Any:
    try:
        from engine.stages import measured
    except ImportError:  # a commit from before there were stages

        @contextmanager
        def measured() -> Any:
            seconds: dict[str, float] = {}
            start = time.perf_counter()
            yield seconds
            seconds["other"] = time.perf_counter() - start

    return measured


if __name__ == "__main__":
    main()
