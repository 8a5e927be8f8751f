"""How good label maps are: pixel accuracy, mean accuracy, mean IoU, and the IoU of each class.

    python benchmarks/semantic.py PREDICTED TRUTH --classes names.txt --json out/semantic.json

PREDICTED and TRUTH are folders of PNG files with one channel of up to 16 bits, whose values are
classes (of a palette: its indices); a.png is compared with a.png. `semantic_scores.py` defines the
scores, of all pixels together. Pixels whose true label is `--ignore` do not count.

A map without a partner, of another size than it, with colours, with a label that is no class, or
that cannot be read is named and left out; then the exit code is 1. The JSON's fields are in
`benchmarks/semantic_report.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

try:
    import numpy as np
    import typer
    from numpy.typing import NDArray
    from rich.progress import track

    from benchmarks.label_maps import Labels, maps_in, read_labels
    from benchmarks.semantic_report import Outcome, report, shown
    from benchmarks.semantic_scores import IGNORED, confusion
    from engine import MaskRTError, OptionError, PictureError
    from engine.files import check_writable, write_aside
    from maskrt.console import console, run_script
except ModuleNotFoundError as error:
    sys.exit(f"error: the package {error.name} is not installed; pip install 'maskrt[bench]'")

MOST_CLASSES = 4096
"""So that the table of who was taken for whom has 128 MB at most."""
MOST_LABEL = 65535
PIXELS = 1 << 22
"""That are counted at a time: a large picture's would take its memory many times over."""


def main(
    predicted: Annotated[Path, typer.Argument(help="Folder of the label maps to score.")],
    truth: Annotated[Path, typer.Argument(help="Folder of the true ones.")],
    classes: Annotated[
        str | None,
        typer.Option(help="How many, or a file with a name a line; left out: as many as occur."),
    ] = None,
    ignore: Annotated[
        int, typer.Option(help="True label of pixels that do not count; -1: all count.")
    ] = IGNORED,
    output: Annotated[
        Path | None, typer.Option("--json", help="File to write the figures to.")
    ] = None,
) -> None:
    """Score label maps against the true ones."""
    if not -1 <= ignore <= MOST_LABEL:
        raise OptionError(f"--ignore is {ignore}; give a label from 0 to {MOST_LABEL}, or -1")
    count, names = (None, None) if classes is None else parsed(classes)
    if output is not None:
        check_writable(output)
    ours, theirs = maps_in(predicted), maps_in(truth)
    stems = track(sorted(ours | theirs), description="scoring", console=console)
    outcome = scored(ours, theirs, stems, count, None if ignore < 0 else ignore)
    for stem, why in outcome.left_out:
        console.print(f"left out: {stem}: {why}", markup=False)
    if not outcome.maps:
        raise PictureError(
            f"none of {len(outcome.left_out)} maps can be scored; see above, "
            f"and whether {predicted} and {truth} belong together"
        )
    if output is not None:  # first: whatever the terminal does, the file is there
        with write_aside(output) as aside:
            given = {"predicted": str(predicted), "truth": str(truth)}
            aside.write_text(report(outcome, names, given), encoding="utf-8")
    for part in shown(outcome, names):
        console.print(part)
    if output is not None:
        console.print(f"wrote {output}", markup=False)
    if outcome.left_out:
        every = outcome.maps + len(outcome.left_out)
        raise PictureError(f"{len(outcome.left_out)} of {every} maps were left out; see above")


def parsed(classes: str) -> tuple[int, list[str] | None]:
    """What `--classes` says: how many there are, and their names.

    Args:
        classes: a number, or the path of a text file with a name a line, label 0's first.

    Raises:
        OptionError: no such file, an empty line, or a number out of range.
    """
    if classes.lstrip("-").isdecimal():
        count, names = int(classes), None
    else:
        try:
            names = Path(classes).read_text(encoding="utf-8-sig").rstrip().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise OptionError(
                f"cannot read --classes {classes}: {why}; give a number or a text file"
            ) from error
        names = [name.strip() for name in names]
        if "" in names:
            raise OptionError(
                f"line {names.index('') + 1} of {classes} is empty; give a name a line, label 0's "
                "first"
            )
        count = len(names)
    if not 1 <= count <= MOST_CLASSES:
        raise OptionError(f"--classes {classes} are {count}; give 1 to {MOST_CLASSES}")
    return count, names


def scored(
    predicted: dict[str, Path],
    truth: dict[str, Path],
    stems: Iterable[str],
    classes: int | None = None,
    ignored: int | None = IGNORED,
) -> Outcome:
    """Count the pixels of all maps that have a partner, a pair in memory at a time.

    Args:
        predicted: files by stem.
        truth: the same.
        stems: those to score.
        classes: how many; None for one more than the highest label that counts.
        ignored: the label of pixels that do not count; None if all do.
    """
    most = classes or 1
    outcome = Outcome(np.zeros((most, most), np.int64), ignored)
    for stem in stems:
        try:
            for name, files in (("predicted", predicted), ("true", truth)):
                if stem not in files:
                    raise PictureError(f"there is no {name} map of this name")
            pair = read_labels(truth[stem]), read_labels(predicted[stem])
            counts = counted(*pair, classes, ignored)
        except MaskRTError as error:
            outcome.left_out.append((stem, str(error)))
        else:
            outcome.add(counts)
    return outcome


def counted(
    truth: Labels, found: Labels, classes: int | None, ignored: int | None
) -> NDArray[np.int64]:
    """The `confusion` of one picture, by strips.

    Args:
        truth: [H, W].
        found: [H, W].
        classes: how many; None for one more than the highest label that counts.
        ignored: the label of pixels that do not count; None if all do.

    Returns:
        int64 [classes, classes].

    Raises:
        OptionError: maps of two sizes, or with labels that are no classes.
    """
    if truth.shape != found.shape:
        (true_height, true_width), (height, width) = truth.shape, found.shape
        raise OptionError(
            f"the predicted map is {width} x {height} pixels and the true one {true_width} x "
            f"{true_height}; give maps of one size"
        )
    if classes is None:
        classes = min(1 + _highest(truth, found, ignored), MOST_CLASSES)
    rows = max(1, PIXELS // truth.shape[1])
    counts = np.zeros((classes, classes), np.int64)
    for top in range(0, len(truth), rows):
        strip = slice(top, top + rows)
        counts += confusion(truth[strip], found[strip], classes, ignored)
    return counts


def _highest(truth: Labels, found: Labels, ignored: int | None) -> int:
    """Of the labels that count, 0 where none does.

    A found label that is the ignored one is not taken for a class: where it matters it is refused.
    """
    counts = np.ones(truth.shape, bool) if ignored is None else truth != ignored
    highest = truth.max(where=counts, initial=0)
    if ignored is not None:
        counts &= found != ignored
    return max(int(highest), int(found.max(where=counts, initial=0)))


if __name__ == "__main__":
    run_script(main)
