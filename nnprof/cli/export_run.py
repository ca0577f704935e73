"""`nnprof export-run`: a Run, or two compared, in the form that another tool reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import nnprof
from nnprof.cli import deadlines, forms
from nnprof.cli.compare import Allow
from nnprof.cli.numbers import within
from nnprof.text import shell_word

_Run = Annotated[Path, typer.Argument(help="The Run; of two, the one before.", metavar="RUN.json")]
_After = Annotated[
    Path | None,
    typer.Argument(
        help="The Run after, for the verdicts of nnprof compare: junit, github-summary.",
        metavar="[AFTER.json]",
        show_default=False,
    ),
]
_Form = Annotated[
    str,
    forms.of_exports(
        "What to write: bencher, chrome, github-action-benchmark, github-summary, junit, "
        "model-explorer, onnx, openmetrics or parquet."
    ),
]
_Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="The file; for model-explorer and parquet a folder of files."
    ),
]
_Cell = Annotated[
    list[int] | None,
    typer.Option(
        help="Only this cell, counted from 1 as nnprof show lists them; repeatable.", min=1
    ),
]
_Onnx = Annotated[
    Path | None,
    typer.Option(metavar="FILE.onnx", help="For onnx: the network, where it has been moved."),
]
_FailOn = Annotated[
    float, typer.Option(help="Of two Runs: percent by which a cell must be SLOWER to fail.")
]


def export_run(
    run: _Run,
    form: _Form,
    output: _Output,
    after: _After = None,
    cell: _Cell = None,
    model: _Onnx = None,
    budget: deadlines.Asked = None,
    fail_on: _FailOn = 5.0,
    allow: Allow = None,
) -> None:
    """Write a Run for other tools: traces, CI reports, metrics, tables.

    Of two Runs the exit code is that of nnprof compare: 1 if a cell regressed, failed or is gone.
    """
    within("--fail-on", fail_on, 0, 1e6, "a percentage")
    written = nnprof.export_run(
        nnprof.load(run),
        form,
        output,
        after=nnprof.load(after) if after else None,
        cells=cell or (),
        model=model,
        budget_s=None if budget is None else deadlines.seconds("--budget", budget),
        beyond=fail_on / 100,
        allow=allow or (),
    )
    from nnprof.terminal import Console

    for line in written.left_out:
        Console(stderr=True).say(f"Left out: {line}")
    for path in written.paths:
        sys.stdout.write(f"Written: {shell_word(path)}\n")
    if written.worse:
        raise typer.Exit(1)
