"""A backend without a network, for tests: implements `engine.backends.Backend`.

What a test wants the graph to answer is a function of its inputs. MaskRT's own tests use it, and
those of an application can, to run on machines without a model.
"""

from __future__ import annotations

from collections.abc import Callable

from ..card import Card
from ..errors import BackendError
from . import Tensors


class FakeBackend:
    """Answers with `answer(inputs)`.

    Args:
        card: what the model claims to be.
        answer: the graph: named input arrays to named output arrays.
    """

    name = "fake"

    def __init__(self, card: Card, answer: Callable[[Tensors], Tensors]) -> None:
        self.card = card
        self._answer = answer
        self.closed = False

    def run(self, inputs: Tensors) -> Tensors:
        """What `answer` says.

        Raises:
            BackendError: after `close`.
        """
        if self.closed:
            raise BackendError("this model is closed; open it again")
        return self._answer(inputs)

    def close(self) -> None:
        """Remember it: `closed` is True afterwards."""
        self.closed = True
