"""`nnprof show`: a Run as tables, CSV, Markdown or JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nnprof
from nnprof.cli import forms, grids

if TYPE_CHECKING:
    from nnprof.types import Run


def show(
    run: Annotated[Path, typer.Argument(help="A Run that nnprof bench wrote.", metavar="RUN.json")],
    ops: Annotated[bool, typer.Option("--ops", help="Show the time of each op.")] = False,
    batch: Annotated[
        list[int] | None, typer.Option(help="Only cells of this batch; may be repeated.")
    ] = None,
    grid: grids.Axes = None,
    figure: grids.Figure = None,
    kind: grids.Kind = None,
    where: grids.Where = None,
    output: Annotated[str, forms.of_rows("How to print it.")] = forms.TABLE,
) -> None:
    """Show a Run."""
    wanted = grids.asked(grid, figure, kind, where)
    if wanted:
        grids.refuse_batch(batch)
        grids.write(wanted, output, nnprof.load(run))
        return
    whole = nnprof.load(run)
    chosen = select(whole, batch or [])
    if output == forms.TABLE:
        from nnprof.profiler.report import shown

        shown.print_cells_or_ops(chosen, ops=ops)
        shown.print_rest(whole)
    else:
        sys.stdout.write(_text(chosen, ops, output))


def select(run: Run, batches: list[int]) -> Run:
    """Only the cells of these batches; all where none is named.

    Raises:
        UsageError: the Run has none of them.
    """
    from msgspec.structs import replace

    from nnprof.errors import UsageError

    if not batches:
        return run
    kept = replace(
        run,
        measurements=tuple(m for m in run.measurements if m.workload.batch in batches),
        failures=tuple(f for f in run.failures if f.workload.batch in batches),
    )
    if not kept.measurements and not kept.failures:
        known = sorted({cell.workload.batch for cell in run.study.cells})
        raise UsageError("No cell has such a batch.", f"Batches: {', '.join(map(str, known))}.")
    return kept


def _text(run: Run, ops: bool, output: str) -> str:
    from nnprof.profiler.report import rows
    from nnprof.profiler.report.forms import written

    found, columns = (rows.op_rows(run), rows.OP_COLUMNS) if ops else (rows.rows(run), rows.COLUMNS)
    return written(output, found, columns)
