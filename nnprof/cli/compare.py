"""`nnprof compare`: two Runs, or two sides of a pair, cell by cell; it does not cry wolf."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import nnprof
from nnprof.cli import forms, grids
from nnprof.cli.numbers import within
from nnprof.errors import UsageError

Before = Annotated[Path, typer.Argument(help="The Run before.", metavar="A.json")]
After = Annotated[
    Path | None,
    typer.Argument(
        help="The Run after. Nothing: what A alternated with in nnprof bench --paired.",
        metavar="[B.json]",
        show_default=False,
    ),
]
FailOn = Annotated[
    float, typer.Option(help="Percent by which a cell must be SLOWER for exit code 1.")
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        help="A condition that may differ, such as version, or missing: cells that are gone; "
        "repeatable."
    ),
]
Across = Annotated[
    bool,
    typer.Option(
        "--across",
        help="How many times faster the first Run is, as a grid, whatever else differs: two "
        "devices, runtimes or precisions. With --grid or --figure.",
    ),
]
Form = Annotated[str, forms.fixed("How to print it.", "table", "csv", "md", "json")]


def compare(
    before: Before,
    after: After = None,
    fail_on: FailOn = 5.0,
    allow: Allow = None,
    across: Across = False,
    grid: grids.Axes = None,
    figure: grids.Figure = None,
    kind: grids.Kind = None,
    where: grids.Where = None,
    output: Form = forms.TABLE,
) -> None:
    """Compare two Runs cell by cell; exit code 1 if a cell regressed, failed or is gone."""
    from nnprof.text import json_lines

    within("--fail-on", fail_on, 0, 1e6, "a percentage")
    wanted = grids.asked(grid, figure, kind, where)
    _require_both(wanted, allow, across=across)
    runs = nnprof.load_sides(before) if after is None else (nnprof.load(before), nnprof.load(after))
    if wanted:
        grids.write(wanted, output, *runs)
        return
    found = nnprof.compare(*runs, allow=allow or ())
    if output == forms.JSON:
        sys.stdout.write(json_lines(found) + "\n")
    elif output in ("md", "csv"):
        from nnprof.profiler.report import comparison

        written = {"md": comparison.comparison_markdown, "csv": comparison.comparison_csv}
        sys.stdout.write(written[output](found))
    else:
        from nnprof.profiler.report import shown

        shown.print_comparison(found)
    if found.is_worse(fail_on / 100, allow or ()):
        raise typer.Exit(1)


def _require_both(wanted: grids.Asked | None, allow: Sequence[str] | None, *, across: bool) -> None:
    """Refuse a grid of verdicts, and a comparison across all conditions that is no grid.

    Raises:
        UsageError: one is asked for without the other, or `--allow` with them.
    """
    if across and not wanted:
        raise UsageError(
            "--across gives a grid, and none is asked for.",
            "Add --grid ROWS,COLUMNS, such as --grid neurons,fc, or --figure 14.",
        )
    if wanted and not across:
        raise UsageError("A grid of two Runs has ratios and no verdicts.", "Add --across.")
    if across and allow:
        raise UsageError("--across allows and lists all that differs.", "Leave --allow out.")
