"""One family of errors, and nothing in it that a stranger could not catch."""

from __future__ import annotations

import inspect

import pytest

import engine
from engine import MaskRTError, errors

FAMILY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


def test_the_family_is_public() -> None:
    """Every class of engine.errors is a name of the engine, and there is no other error."""
    assert {kind.__name__ for kind in FAMILY} == {n for n in engine.__all__ if n.endswith("Error")}
    assert len(FAMILY) == 6
    assert all(getattr(engine, kind.__name__) is kind for kind in FAMILY)


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_each_derives_from_the_family_and_a_builtin(kind: type[Exception]) -> None:
    """An error is a MaskRTError, and the builtin that a caller who knows nothing would catch."""
    assert issubclass(kind, MaskRTError)
    assert kind.__doc__
    if kind is not MaskRTError:
        builtin = {"OutputError": OSError, "BackendError": RuntimeError}
        assert kind.__bases__ == (MaskRTError, builtin.get(kind.__name__, ValueError))
    assert str(kind("what is wrong; what to do")) == "what is wrong; what to do"
