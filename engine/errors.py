"""The one family of errors. Every message says what is wrong, with the value, and what to do."""

from __future__ import annotations


class MaskRTError(Exception):
    """Anything that MaskRT refuses. The message is one sentence that a user can act on."""


def first_line(error: Exception) -> str:
    """Of another library's error, for a sentence of our own: short, and never empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


class PictureError(MaskRTError, ValueError):
    """A picture that cannot be read or is not in a form that can be segmented."""


class ModelError(MaskRTError, ValueError):
    """A model file that is not one, is damaged, or does not say what it is."""


class OptionError(MaskRTError, ValueError):
    """An argument or an option out of its range, or options that exclude each other."""


class OutputError(MaskRTError, OSError):
    """A result that cannot be written where it was asked for."""


class BackendError(MaskRTError, RuntimeError):
    """A backend that is not installed, or that failed while it ran a model."""
