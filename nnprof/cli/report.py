"""`nnprof report`: Runs as one HTML page, from the verdict to where each number comes from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import nnprof
from nnprof.cli import deadlines
from nnprof.errors import NnprofError, UsageError
from nnprof.text import plain


def report(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Runs that nnprof bench wrote; a cost model, to hold against them; folders of "
            "trainings.",
            metavar="RUN.json… [MODEL] [FOLDER…]",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .html to write.")],
    budget: deadlines.Asked = None,
) -> None:
    """Write Runs as one HTML file that needs no network: verdict, figures, tables, provenance."""
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{output} is no name of a page.", "Let it end in .html.")
    folders = [path for path in sources if path.is_dir()]
    models, runs = _told_apart([path for path in sources if not path.is_dir()])
    if len(models) > 1:
        raise UsageError("Two cost models were given.", "Name one.")
    page = nnprof.write_report(
        runs,
        output,
        model=models[0] if models else None,
        trainings=folders,
        budget_s=None if budget is None else deadlines.seconds("--budget", budget),
    )
    if page.missing:
        names = ", ".join(one.title.lower() for one in page.missing)
        sys.stderr.write(f"nnprof: not shown: {names}. The end of the page says what each takes.\n")
    sys.stdout.write(f"{plain(str(output))}\n")


def _told_apart(files: list[Path]) -> tuple[list[nnprof.CostModel], list[Path]]:
    """The cost models, published ones by name, and the Runs."""
    found = {path: _as_model(path) for path in files}
    models = [model for model in found.values() if model is not None]
    return models, [path for path, model in found.items() if model is None]


def _as_model(path: Path) -> nnprof.CostModel | None:
    """The cost model; None for a Run, and for what reading it as one explains."""
    try:
        return nnprof.load_cost_model(path)
    except NnprofError:
        return None
