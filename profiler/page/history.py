"""Cells over many Runs in the order of time: steps and drifts, and beside what they came. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nnprof.profiler.page.values import Axis, Column, Figure, Part, Series, Table
from nnprof.profiler.report.digits import digits
from nnprof.profiler.trend import CellTrend, Step, Trend
from nnprof.text import plain

_MOST = 12  # lines of a figure; the table has all cells
_DAY = 10  # letters of a date


def part(found: Trend | None) -> Part | None:
    """Each cell's latency in each Run that has it, over that in the first; None without Runs."""
    if found is None:
        return None
    told = _told(found)
    drawn = sorted(found.cells, key=_weight)[:_MOST]
    figure = Figure(
        told=told,
        x=Axis(title="Run, in the order of time"),
        y=Axis(title="latency over that of the first Run"),
        series=tuple(
            series for colour, cell in enumerate(drawn) for series in _lines(found, cell, colour)
        ),
        table=_table(found),
        wide=True,
    )
    return Part(told=told, figures=(figure,), notes=tuple(map(plain, _notes(found, drawn))))


def _weight(cell: CellTrend) -> tuple[bool, float]:
    """What changed comes first, the largest change before the others."""
    return (not (cell.steps or cell.drift), -abs(cell.change))


def _name(cell: CellTrend, found: Trend) -> str:
    several = len({one.machine for one in found.cells}) > 1
    words = [cell.network, f"batch {cell.batch}", cell.precision]
    return plain(", ".join([*words, *([cell.machine] if several else [])]))


def _lines(found: Trend, cell: CellTrend, colour: int) -> list[Series]:
    """The points of a cell, and a star where its level changed."""
    first_s, name = cell.points[0].seconds, _name(cell, found)
    lines = [
        Series(
            name=name,
            x=tuple(point.run + 1 for point in cell.points),
            y=tuple(point.seconds / first_s for point in cell.points),
            text=tuple(plain(f"{name}, {found.runs[point.run]}") for point in cell.points),
            colour=colour,
        )
    ]
    if cell.steps:
        at = [cell.points[step.at] for step in cell.steps]
        lines.append(
            Series(
                name=f"{name}: step",
                x=tuple(point.run + 1 for point in at),
                y=tuple(point.seconds / first_s for point in at),
                text=tuple(plain(f"{name}: {_step(step)}") for step in cell.steps),
                shape="points",
                colour=colour,
                plain=True,
                star=True,
            )
        )
    return lines


def _step(step: Step) -> str:
    beside = "; ".join(f"{name}: {was} to {now}" for name, was, now in step.changed)
    told = f"{step.change:+.1%} on {step.created[:_DAY]}"
    return f"{told} ({beside})" if beside else told


def _told(found: Trend) -> str:
    stepped = [cell for cell in found.cells if cell.steps]
    drifted = [cell for cell in found.cells if cell.drift]
    judged = sum(cell.judged for cell in found.cells)
    told = f"{len(found.cells)} cells over {len(found.runs)} Runs"
    if not judged:
        most = max(found.cells, key=lambda cell: abs(cell.change))
        return (
            f"{told}, too few to tell steps; the largest change from first to last is "
            f"{most.change:+.1%} ({_name(most, found)})."
        )
    told += f": {len(stepped)} with a step, {len(drifted)} with a drift"
    if stepped:
        cell = max(stepped, key=lambda one: max(abs(step.change) for step in one.steps))
        step = max(cell.steps, key=lambda one: abs(one.change))
        told += f"; the largest step is {_step(step)}, {_name(cell, found)}"
    return plain(f"{told}.")


def _notes(found: Trend, drawn: Sequence[CellTrend]) -> list[str]:
    named = "; ".join(f"{number} is {name}" for number, name in enumerate(found.runs, start=1))
    left = len(found.cells) - len(drawn)
    more = [f"{left} more cells are in the numbers only."] if left > 0 else []
    return [f"Runs: {named}.", *more]


_COLUMNS = (
    Column(title="cell", form="text"),
    Column(title="Runs"),
    Column(title="first ms"),
    Column(title="last ms"),
    Column(title="change", form="percent"),
    Column(title="steps", form="text"),
    Column(title="drift", form="text"),
    Column(title="lacking", form="text", note="Runs that asked for it and have no time"),
)


def _table(found: Trend) -> Table:
    return Table(
        caption="Cells over Runs",
        columns=_COLUMNS,
        rows=tuple(
            (
                _name(cell, found),
                len(cell.points),
                cell.points[0].seconds * 1e3,
                cell.points[-1].seconds * 1e3,
                cell.change,
                plain("; ".join(map(_step, cell.steps))) if cell.judged else "too few Runs",
                _drift(cell),
                plain("; ".join(f"{found.runs[at]}: {why}" for at, why in cell.lacking)),
            )
            for cell in found.cells
        ),
    )


def _drift(cell: CellTrend) -> str:
    one = cell.drift
    if one is None:
        return ""
    return f"{one.total:+.1%} in all, {digits(one.per_run * 100, 2)} % a Run"
