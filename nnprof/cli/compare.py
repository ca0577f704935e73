"""`nnprof compare`: two Runs, cell by cell, with a verdict that does not cry wolf."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import nnprof
from nnprof.cli import forms
from nnprof.cli.numbers import within

Before = Annotated[Path, typer.Argument(help="The Run before.", metavar="A.json")]
After = Annotated[Path, typer.Argument(help="The Run after.", metavar="B.json")]
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
Form = Annotated[str, forms.fixed("How to print it.", "table", "md", "json")]


def compare(
    before: Before,
    after: After,
    fail_on: FailOn = 5.0,
    allow: Allow = None,
    output: Form = forms.TABLE,
) -> None:
    """Compare two Runs cell by cell; exit code 1 if a cell regressed, failed or is gone."""
    from nnprof.text import json_lines

    within("--fail-on", fail_on, 0, 1e6, "a percentage")
    found = nnprof.compare(nnprof.load(before), nnprof.load(after), allow=allow or ())
    if output == forms.JSON:
        sys.stdout.write(json_lines(found) + "\n")
    elif output == "md":
        from nnprof.profiler.report import comparison

        sys.stdout.write(comparison.comparison_markdown(found))
    else:
        from nnprof.profiler.report import shown

        shown.print_comparison(found)
    if found.is_worse(fail_on / 100, allow or ()):
        raise typer.Exit(1)
