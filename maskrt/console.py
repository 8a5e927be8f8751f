"""Where errors become text and an exit code, for every command and script alike."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from rich.console import Console

from engine.errors import MaskRTError

console = Console(highlight=False)
"""For what a command has to say; results for other programs go to files."""


def run(app: typer.Typer, arguments: Sequence[str]) -> None:
    """Run a typer app as this program.

    An error of our own family is one line on stderr and exit code 1; Ctrl-C is 130; anything
    else is a bug and keeps its traceback.
    """
    try:
        app(args=list(arguments), prog_name="maskrt")
    except MaskRTError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
