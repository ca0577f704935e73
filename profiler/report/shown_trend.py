"""Cells over many Runs: a line for each with a sparkline, and each step and drift in a sentence."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from nnprof.profiler import series
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.forms import TABLE, written
from nnprof.profiler.report.names import labels
from nnprof.terminal import Console, Table, styled

if TYPE_CHECKING:
    from nnprof.profiler.trend import CellTrend, Step, Trend

COLUMNS = (
    *("network", "batch", "precision", "machine", "runs", "first_ms", "last_ms", "change"),
    *("steps", "drift_per_run", "drift_low", "drift_high", "judged"),
)
_BARS = "▁▂▃▄▅▆▇█"
_WIDEST = 16  # letters of a sparkline; of more Runs neighbours share one
_LEAST = 0.05  # of the median that a sparkline is high: noise is not to look like mountains


def print_trend(found: Trend, form: str) -> None:
    """As a table with sentences, or as rows."""
    if form != TABLE:
        sys.stdout.write(written(form, rows(found), COLUMNS))
        return
    console = Console()
    for machine in dict.fromkeys(cell.machine for cell in found.cells):
        own = [cell for cell in found.cells if cell.machine == machine]
        console.say(machine, "bold")
        console.print(_table(own))
        for cell in own:
            for line in _cell_lines(cell, found):
                console.say(line)
    for line in lines(found):
        console.say(line)


def rows(found: Trend) -> list[dict[str, Any]]:
    """One row per cell with the keys of COLUMNS; steps as `run:change`."""
    return [
        {
            "network": cell.network,
            "batch": cell.batch,
            "precision": cell.precision,
            "machine": cell.machine,
            "runs": len(cell.points),
            "first_ms": cell.points[0].seconds * 1e3,
            "last_ms": cell.points[-1].seconds * 1e3,
            "change": cell.change,
            "steps": " ".join(
                f"{found.runs[cell.points[step.at].run]}:{step.change:+.4f}" for step in cell.steps
            ),
            "drift_per_run": cell.drift and cell.drift.per_run,
            "drift_low": cell.drift and cell.drift.low,
            "drift_high": cell.drift and cell.drift.high,
            "judged": cell.judged,
        }
        for cell in found.cells
    ]


def sparkline(values: Sequence[float]) -> str:
    """So many values as bars, the lowest to the highest; at most sixteen."""
    count = min(len(values), _WIDEST)
    ends = [round(index * len(values) / count) for index in range(count + 1)]
    points = [median(values[start:end]) for start, end in pairwise(ends)]
    middle, low, high = median(points), min(points), max(points)
    height = max(high - low, _LEAST * middle)
    floor = (low + high - height) / 2
    return "".join(_BARS[min(7, int(8 * (one - floor) / height))] for one in points)


def lines(found: Trend) -> list[str]:
    """How many Runs there are, and what could not be told of too few."""
    judged = [cell for cell in found.cells if cell.judged]
    changed = sum(bool(cell.steps or cell.drift) for cell in judged)
    span = f"{len(found.runs)} Runs, from {found.runs[0]} to {found.runs[-1]}"
    told = f"; {changed} of {len(judged)} cells changed" if judged else ""
    few = len(found.cells) - len(judged)
    cells = "1 cell has" if few == 1 else f"{few} cells have"
    less = (
        f"Steps and drifts take {series.LEAST} Runs of a cell on one machine; {cells} fewer. To "
        "hold two Runs against each other: nnprof compare."
    )
    boards = [f"{one}." for one in found.boards]
    return [f"{span}{told}.", *([less] if few else []), *boards]


def _table(cells: Sequence[CellTrend]) -> Table:
    _, short = labels([cell.network for cell in cells])
    mixed = len({cell.precision for cell in cells}) > 1
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("network", overflow="fold")
    for name in ("batch", "runs", "first ms", "last ms", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", no_wrap=True)
    before = ""
    for cell in cells:
        word, name = _word(cell), short[cell.network] + (f", {cell.precision}" if mixed else "")
        table.add_row(
            "" if name == before else name,
            str(cell.batch),
            str(len(cell.points)),
            digits(cell.points[0].seconds * 1e3),
            digits(cell.points[-1].seconds * 1e3),
            f"{cell.change:+.1%}",
            sparkline([one.seconds for one in cell.points]),
            styled(word, "yellow" if cell.steps or cell.drift else ""),
        )
        before = name
    return table


def _word(cell: CellTrend) -> str:
    if not cell.judged:
        return "–"
    steps = len(cell.steps)
    parts = [f"{steps} step{'s' if steps > 1 else ''}"] if steps else []
    return ", ".join([*parts, *(["drift"] if cell.drift else [])]) or "none"


def _cell_lines(cell: CellTrend, found: Trend) -> list[str]:
    name = f"{cell.network}, batch {cell.batch}"
    told = [f"{name}: {_step(step, cell, found)}" for step in cell.steps]
    if cell.drift:
        one = cell.drift
        told.append(
            f"{name}: drifts by {one.per_run:+.2%} per Run (95 %: {one.low:+.2%} to "
            f"{one.high:+.2%}), {one.total:+.1%} over {len(cell.points)} Runs; p {one.doubt:.1g}."
        )
    reasons = dict.fromkeys(why for _, why in cell.lacking)
    if reasons:
        count = len(cell.lacking)
        runs = "1 Run" if count == 1 else f"{count} Runs"
        told.append(f"{name}: without a time in {runs} ({', '.join(reasons)}).")
    return told


def _step(step: Step, cell: CellTrend, found: Trend) -> str:
    beside = "; ".join(f"{name}: {was} → {now}" for name, was, now in step.changed)
    return (
        f"{digits(step.before_s * 1e3)} → {digits(step.after_s * 1e3)} ms ({step.change:+.1%}) "
        f"with Run {step.at + 1} of {len(cell.points)}, {found.runs[cell.points[step.at].run]}; "
        f"p {step.doubt:.1g}. Changed with it: {beside or 'nothing that a Run tells'}."
    )
