"""Runs printed to a terminal: cells, the ops of each, what to know of them; a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.padding import Padding

from nnprof.profiler.report import (
    comparison,
    lines,
    rows,
    shown_frames,
    shown_memory,
    shown_streams,
    shown_sustained,
)
from nnprof.profiler.report.names import file_mark
from nnprof.profiler.report.notes import note_lines
from nnprof.profiler.report.terminal import cell_table, heading, kind_table, op_table
from nnprof.profiler.run import budget
from nnprof.profiler.streamed import is_streamed
from nnprof.terminal import Console, styled
from nnprof.types import Measurement, Run

if TYPE_CHECKING:
    from nnprof.profiler.compare import Comparison


def print_cells_or_ops(run: Run, *, ops: bool) -> None:
    """One line per cell or, with `ops`, the ops of each cell."""
    if not ops:
        print_cells(run)
    for measurement in run.measurements if ops else ():
        print_ops(measurement, run)
        Console().print()


def print_cells(run: Run) -> None:
    """One line per cell."""
    console = Console()
    for line in heading(run):
        console.say(line, "bold")
    if not is_streamed(run):
        console.print(cell_table(run))
    for name, table in shown_streams.tables(run) if is_streamed(run) else ():
        console.say(name, "bold")
        console.print(table)
    for line in shown_streams.lines(run):
        console.say(line)
    for line in (*lines.conversion_lines(run), *lines.board_lines(run)):
        console.say(line)
    print_frames(run)
    shown_sustained.print_windows(run)


def print_frames(run: Run) -> None:
    """Of a Run whose tiles are cut from an image: what the whole image takes."""
    console = Console()
    for line in shown_frames.heading(run):
        console.print()
        console.say(line, "bold")
    if shown_frames.heading(run):
        console.print(shown_frames.table(run))
    for line in shown_frames.lines(run):
        console.say(line)


def print_ops(measurement: Measurement, run: Run) -> None:
    """A cell's ops, its kinds of ops, and what they leave unexplained."""
    console, work = Console(), measurement.workload
    mark = "" if work.precision == "fp32" else f", {work.precision}"
    console.say(f"{work.model.name}{file_mark(run, work.model)}, batch {work.batch}{mark}", "bold")
    if measurement.ops is not None:
        console.print(op_table(measurement, rows.roof(run)))
        for line in lines.limit_lines(run):
            console.say(line)
        console.print()
        console.print(kind_table(measurement))
    for line in lines.residual_lines(measurement):
        console.say(line)


def print_rest(run: Run) -> None:
    """What counts as a tile, failures, warnings, and how the time was spent."""
    console = Console()
    for line in lines.batch_lines(run):
        console.say(line)
    for line in lines.failure_lines(run.failures):
        console.say(f"Failed: {line}", "red")
    print_notes((*note_lines(run), *lines.beside_lines(run)))
    for line in budget.left_out_lines(run):
        console.say(line, "yellow")
    for line in _summary(run):
        console.say(line)


def _summary(run: Run) -> list[str]:
    saved = lines.saved_line(run)
    drift = [lines.drift_line(run)] if run.study.plan.protocol.startswith("loop") else []
    special = [*lines.accuracy_lines(run), *lines.idle_lines(run), *lines.energy_lines(run)]
    special += shown_memory.summary(run)
    return [*special, *drift, *([saved] if saved else []), lines.timed_line(run)]


def print_notes(notes: Sequence[str]) -> None:
    """Each note in a paragraph of its own, under one heading where there are several."""
    console = Console()
    if len(notes) == 1:
        console.say(f"Note: {notes[0]}", "yellow")
    elif notes:
        console.say("Notes, the most important first:", "yellow")
        for note in notes:
            console.print(Padding(styled(note, "yellow"), (0, 0, 0, 2), expand=False))


def print_comparison(found: Comparison) -> None:
    """One line per cell that both Runs have, and the verdicts in words."""
    console = Console()
    console.print(comparison.comparison_table(found))
    for line in comparison.comparison_lines(found):
        console.say(line)
