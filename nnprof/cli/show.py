"""`nnprof show`: a Run as tables, CSV, Markdown or JSON."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nnprof

if TYPE_CHECKING:
    from nnprof.types import Measurement, Run


class Format(str, Enum):
    """What to print."""

    table = "table"
    csv = "csv"
    md = "md"
    json = "json"


def show(
    run: Annotated[Path, typer.Argument(help="A Run that nnprof bench wrote.", metavar="RUN.json")],
    ops: Annotated[bool, typer.Option("--ops", help="Show the time of each op.")] = False,
    batch: Annotated[
        list[int] | None, typer.Option(help="Only cells of this batch; may be repeated.")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.table,
) -> None:
    """Show a Run."""
    whole = nnprof.load(run)
    chosen = select(whole, batch or [])
    if output is Format.table:
        _print(chosen, ops)
        print_notes(whole)
    else:
        sys.stdout.write(_text(chosen, ops, output))


def _print(run: Run, ops: bool) -> None:
    if not ops:
        print_cells(run)
    for measurement in run.measurements if ops else ():
        print_ops(measurement, run)
        sys.stdout.write("\n")


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


def _text(run: Run, ops: bool, output: Format) -> str:
    from nnprof.profiler.report import rows
    from nnprof.text import json_lines

    if output is Format.json:
        return json_lines(rows.op_rows(run) if ops else rows.rows(run)) + "\n"
    cells, columns = (rows.op_rows(run), rows.OP_COLUMNS) if ops else (rows.rows(run), rows.COLUMNS)
    write = rows.as_csv if output is Format.csv else rows.as_markdown
    return write(cells, columns)


def print_cells(run: Run) -> None:
    """One line per cell."""
    from nnprof.profiler.report import rows
    from nnprof.terminal import Console

    console = Console()
    for line in rows.heading(run):
        console.say(line, "bold")
    console.print(rows.cell_table(run))
    for line in rows.conversion_lines(run):
        console.say(line)


def print_ops(measurement: Measurement, run: Run) -> None:
    """A cell's ops, its kinds of ops, and what they leave unexplained."""
    from nnprof.profiler.report import rows
    from nnprof.terminal import Console

    console, work = Console(), measurement.workload
    mark = "" if work.precision == "fp32" else f", {work.precision}"
    console.say(
        f"{work.model.name}{rows.file_mark(run, work.model)}, batch {work.batch}{mark}", "bold"
    )
    if measurement.ops is not None:
        console.print(rows.op_table(measurement, rows.roof(run)))
        for line in rows.limit_lines(run):
            console.say(line)
        console.print()
        console.print(rows.kind_table(measurement))
    for line in rows.residual_lines(measurement):
        console.say(line)


def print_notes(run: Run) -> None:
    """What counts as a tile, failures, warnings, and how the time was spent."""
    from nnprof.profiler.report import rows
    from nnprof.profiler.run import budget
    from nnprof.terminal import Console

    console = Console()
    for line in rows.batch_lines(run):
        console.say(line)
    for line in rows.failure_lines(run.failures):
        console.say(f"Failed: {line}", "red")
    for line in (*rows.check_lines(run), *rows.beside_lines(run)):
        console.say(f"Note: {line}", "yellow")
    for line in budget.left_out_lines(run):
        console.say(line, "yellow")
    for line in _summary(run):
        console.say(line)


def _summary(run: Run) -> list[str]:
    from nnprof.profiler.report import rows

    saved = rows.saved_line(run)
    drift = [rows.drift_line(run)] if run.study.plan.protocol == "loop" else []
    special = [*rows.accuracy_lines(run), *rows.idle_lines(run), *rows.energy_lines(run)]
    return [*special, *drift, *([saved] if saved else []), rows.timed_line(run)]
