"""`--grid`, `--kind` and `--where`: what commands ask of a grid, and how they print it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

import nnprof
from nnprof.cli import forms
from nnprof.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnprof import Grid, Run

Axes = Annotated[
    str | None,
    typer.Option(
        "--grid",
        metavar="ROWS,COLUMNS",
        help="Two parameters of a family, or batch: a grid of tiles/ms over them, "
        "such as neurons,fc.",
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(help="With --grid: ms/tile of this kind of op, such as conv or gemm."),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE,…",
        help="With --grid: the value of another parameter that varies; repeatable.",
    ),
]


def axes(text: str) -> tuple[str, str]:
    """The two parameters of `--grid`.

    Raises:
        UsageError: there are not two.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) != 2 or not all(words):
        raise UsageError(
            f"--grid {text} does not name two parameters.",
            "Write --grid ROWS,COLUMNS, such as --grid neurons,fc.",
        )
    return words[0], words[1]


def chosen(where: Sequence[str] | None) -> dict[str, str]:
    """The values of `--where`, by parameter.

    Raises:
        UsageError: one of them is not written as it should be, or says two things.
    """
    found: dict[str, str] = {}
    for word in (part.strip() for words in where or () for part in words.split(",")):
        name, equals, value = (part.strip() for part in word.partition("="))
        if not (name and equals and value):
            raise UsageError(
                f"--where {word} chooses nothing.", "Write --where NAME=VALUE, such as depth=20."
            )
        if name in found:
            raise UsageError(f"--where says {name} twice.", "Say it once.")
        found[name] = value
    return found


def require_grid(
    grid: str | None,
    kind: str | None,
    where: Sequence[str] | None,
    batch: Sequence[int] | None = None,
) -> None:
    """Refuse options that only a grid has, and one that a grid has under another name.

    Raises:
        UsageError: one of them is given without `--grid`, or `--batch` with it.
    """
    for option, given in (("--kind", kind), ("--where", where)):
        if given and not grid:
            raise UsageError(
                f"{option} is about a grid, and there is none.",
                "Add --grid ROWS,COLUMNS, such as --grid neurons,fc.",
            )
    if grid and batch:
        raise UsageError(
            "--batch chooses lines of a table, not cells of a grid.",
            f"Write --where batch={batch[0]} instead.",
        )


def show(run: Run, names: tuple[str, str], kind: str, where: dict[str, str], output: str) -> None:
    """Print the grid of a Run."""
    from nnprof.profiler.report.terminal import heading

    write(nnprof.grid_of_run(run, *names, kind, where), output, heading(run)[:1])


def write(grid: Grid, output: str, heading: Sequence[str]) -> None:
    """Print a grid in the form that was asked for; `heading` is for the table."""
    from nnprof.profiler.report import shown_grid
    from nnprof.profiler.report.forms import written

    if output == forms.TABLE:
        shown_grid.print_grid(grid, heading)
    else:
        sys.stdout.write(written(output, shown_grid.grid_rows(grid), shown_grid.COLUMNS))
