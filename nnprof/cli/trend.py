"""`nnprof trend`: cells over many Runs: what changed at once, and what slowly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import nnprof
from nnprof.cli import forms
from nnprof.text import json_lines

Runs = Annotated[
    list[Path], typer.Argument(help="Runs of the same cells, in any order.", metavar="RUN.json...")
]
Form = Annotated[str, forms.of_rows("How to print it; json has every point.")]


def trend(runs: Runs, output: Form = forms.TABLE) -> None:
    """Show cells over many Runs: first, last, steps, and slow drifts; it judges nothing."""
    found = nnprof.trend([nnprof.load(path) for path in runs], [path.stem for path in runs])
    if output == forms.JSON:
        sys.stdout.write(json_lines(found) + "\n")
        return
    from nnprof.profiler.report import shown_trend

    shown_trend.print_trend(found, output)
