"""`nnprof diff`: where the time of one network differs between two Runs, by ONNX node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import nnprof
from nnprof.cli import forms
from nnprof.errors import UsageError

A = Annotated[Path, typer.Argument(help="A Run, with op times.", metavar="A.json")]
B = Annotated[
    Path | None,
    typer.Argument(
        help="Another one of the same network. Nothing: the other side of a pair, or the second "
        "precision in A.",
        metavar="[B.json]",
        show_default=False,
    ),
]
Batch = Annotated[
    list[int] | None,
    typer.Option(
        help="Only cells of this batch; repeatable.", min=1, show_default="the largest of both"
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        metavar="OF_A,OF_B",
        help="Where a Run has several: that of each side, such as fp32,int8; of two Runs one "
        "word stands for both.",
    ),
]
Form = Annotated[str, forms.fixed("How to print it.", "table", "csv", "md", "json")]


def diff(
    a: A,
    b: B = None,
    batch: Batch = None,
    precision: Precision = None,
    output: Form = forms.TABLE,
) -> None:
    """Line two Runs of one network up on its ONNX nodes: where they differ, and in what."""
    from nnprof.profiler.report import shown_diff
    from nnprof.text import json_lines

    first, second = _runs(a, b)
    found = nnprof.diff(first, second, batches=batch or (), precisions=_sides(precision, b))
    chosen = found.cells if batch else shown_diff.largest(found)
    if output == forms.JSON:
        sys.stdout.write(json_lines(found) + "\n")
    elif output == "csv":
        sys.stdout.write(shown_diff.diff_csv(found.cells))
    elif output == "md":
        sys.stdout.write(shown_diff.diff_markdown(found, chosen))
    else:
        shown_diff.print_diff(found, chosen)


def _runs(a: Path, b: Path | None) -> tuple[nnprof.Run, nnprof.Run | None]:
    first = nnprof.load(a)
    if b is not None:
        return first, nnprof.load(b)
    return nnprof.load_sides(a) if first.study.paired else (first, None)


def _sides(precision: str | None, b: Path | None) -> tuple[str, str] | None:
    if precision is None:
        return None
    words = [word.strip() for word in precision.split(",")]
    if b and len(words) == 1:
        words *= 2
    if len(words) != 2 or not all(words):
        raise UsageError(
            f"--precision {precision} is not one for each side.", "Write --precision fp32,int8."
        )
    return words[0], words[1]
