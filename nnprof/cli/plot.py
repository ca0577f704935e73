"""`nnprof plot`: trainings by epoch or by what a study varies, or a grid of one Run or of two."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import nnprof
from nnprof.cli import drawn, grids
from nnprof.errors import UsageError
from nnprof.text import plain


def plot(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Folders that nnprof train wrote, or a folder of such folders; with --grid or "
            "--figure a Run, or two for how many times faster the first is.",
            metavar="FOLDER…|RUN.json…",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .svg, .png or .pdf to write.")],
    grid: grids.Axes = None,
    figure: grids.Figure = None,
    kind: grids.Kind = None,
    where: grids.Where = None,
    predictions: drawn.Predictions = False,
    against: drawn.Against = None,
    of: drawn.Of = None,
    cell: drawn.Cells = None,
) -> None:
    """Draw trainings by epoch, or over what a study varies (mean and range of seeds); or a grid."""
    wanted = grids.asked(grid, figure, kind, where)
    trainings = drawn.asked(against, of, cell, predictions=predictions)
    _require_alike(sources, wanted)
    if wanted:
        drawn.refuse_with_grid(trainings)
        runs = [nnprof.load(path) for path in sources]
        notes = nnprof.plot_grid(wanted.of(*runs), output, runs)
    else:
        notes = trainings.draw(sources, output)
    for note in notes:
        sys.stderr.write(f"nnprof: {plain(note)}\n")
    sys.stdout.write(f"{plain(str(output))}\n")


def _require_alike(sources: list[Path], wanted: grids.Asked | None) -> None:
    """Refuse Runs without a grid, folders with one, and more than two Runs.

    Raises:
        UsageError: the sources are not what is to be drawn.
    """
    files = [path for path in sources if path.suffix == ".json"]
    if wanted is None:
        if files:
            raise UsageError(
                f"{files[0]} is a Run, which is drawn as a grid.",
                "Add --grid ROWS,COLUMNS, such as --grid neurons,fc, or --figure 12.",
            )
        return
    folders = [path for path in sources if path.is_dir()]
    if folders:
        raise UsageError(f"{folders[0]} is a folder, and a grid is of Runs.", "Give a RUN.json.")
    if len(sources) > 2:
        raise UsageError(
            f"A grid is of one Run, or of two; here are {len(sources)}.", "Give one or two."
        )
