"""`--grid`, `--figure`, `--kind`, `--where`: how commands are asked for a grid, and print it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

import nnprof
from nnprof.cli import forms
from nnprof.errors import UsageError
from nnprof.text import plain

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
        help="With --grid or --figure: the value of another parameter that varies; repeatable.",
    ),
]
Figure = Annotated[
    int | None,
    typer.Option(
        help="The grid of a figure of Mattsson 2016: 10 to 36; docs/figures.md lists them.",
        show_default=False,
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


class Asked(NamedTuple):
    """A grid that was asked for, by its parameters or by a figure's number."""

    axes: tuple[str, str]
    kind: str
    where: dict[str, str]
    figure: int | None

    def of(self, *runs: Run) -> Grid:
        """That grid of one Run, or of two against each other."""
        if self.figure is not None:
            return nnprof.figure_grid(self.figure, runs, self.where)
        if len(runs) == 1:
            return nnprof.grid_of_run(*runs, *self.axes, self.kind, self.where)
        return nnprof.grid_across(runs[0], runs[1], *self.axes, self.kind, self.where)


def asked(
    grid: str | None, figure: int | None, kind: str | None, where: Sequence[str] | None
) -> Asked | None:
    """The grid that the options mean; None where they mean none.

    Raises:
        UsageError: they do not go together, or one is not written as it should be.
    """
    if grid and figure is not None:
        raise UsageError("--figure is a grid already.", "Leave --grid or --figure out.")
    if kind and figure is not None:
        raise UsageError("--figure says which kind of op it shows.", "Leave --kind out.")
    if grid:
        return Asked(axes(grid), kind or "", chosen(where), None)
    if figure is not None:
        return Asked(("", ""), "", chosen(where), figure)
    for option, given in (("--kind", kind), ("--where", where)):
        if given:
            raise UsageError(
                f"{option} is about a grid, and there is none.",
                "Add --grid ROWS,COLUMNS, such as --grid neurons,fc.",
            )
    return None


def refuse_batch(batch: Sequence[int] | None) -> None:
    """Refuse an option of `show` that a grid has under another name.

    Raises:
        UsageError: it is given.
    """
    if batch:
        raise UsageError(
            "--batch chooses lines of a table, not cells of a grid.",
            f"Write --where batch={batch[0]} instead.",
        )


def write(wanted: Asked, output: str, *runs: Run) -> None:
    """Print a grid of one Run, or of two, in the form that was asked for."""
    from nnprof.profiler.report import shown_grid
    from nnprof.profiler.report.forms import written

    grid = wanted.of(*runs)
    if output == forms.TABLE:
        shown_grid.print_grid(grid, runs)
    else:
        sys.stdout.write(written(output, shown_grid.grid_rows(grid), shown_grid.COLUMNS))
        for note in grid.notes:
            sys.stderr.write(f"nnprof: {plain(note)}\n")
