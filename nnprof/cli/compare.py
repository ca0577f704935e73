"""`nnprof compare`: two Runs, or two sides of a pair, cell by cell; it does not cry wolf."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import nnprof
from nnprof.cli import forms
from nnprof.cli.numbers import within

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
Form = Annotated[str, forms.fixed("How to print it.", "table", "csv", "md", "json")]


def compare(
    before: Before,
    after: After = None,
    fail_on: FailOn = 5.0,
    allow: Allow = None,
    output: Form = forms.TABLE,
) -> None:
    """Compare two Runs cell by cell; exit code 1 if a cell regressed, failed or is gone."""
    from nnprof.text import json_lines

    within("--fail-on", fail_on, 0, 1e6, "a percentage")
    runs = nnprof.load_sides(before) if after is None else (nnprof.load(before), nnprof.load(after))
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
