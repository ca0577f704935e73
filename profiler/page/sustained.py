"""Work without a rest: its windows over time, with what the device tells beside them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nnprof.profiler import steady
from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.values import Axis, Column, Figure, Mark, Number, Part, Series, Table
from nnprof.profiler.report import shown_sustained
from nnprof.profiler.report.digits import digits
from nnprof.text import plain
from nnprof.types import Process, Reading, Window

_TIME = "s since the work began"
_READ: dict[str, Callable[[Reading], Number]] = {
    "clock, GHz": lambda one: one.clock_hz and one.clock_hz / 1e9,
    "temperature, °C": lambda one: one.temperature_c,
    "power, W": lambda one: one.power_w,
}


def part(cell: Cell, deadline_s: float = 0.0) -> Part | None:
    """The windows of the cell's process; None where it had rests."""
    process = next((one for one in cell.one.processes if one.windows), None)
    if process is None:
        return None
    lines = shown_sustained.lines(process, cell.one.plan.sustained_s)
    told = plain(lines[0])
    windows, table = process.windows, _table(process.windows)
    marks = [Mark(axis="y", at=deadline_s * 1e3, label="budget")] if deadline_s else []
    marks += [
        Mark(axis="x", at=one.at_s, label="throttled from") for one in steady.throttled(process)
    ]
    figure = Figure(
        told=told,
        x=Axis(title=_TIME),
        y=Axis(title="ms per inference", zero=True),
        series=_latencies(windows),
        marks=tuple(marks),
        table=table,
        wide=True,
    )
    return Part(
        told=told,
        figures=(figure, *_readings(process, table)),
        notes=tuple(map(plain, lines[1:])),
    )


def _latencies(windows: Sequence[Window]) -> tuple[Series, ...]:
    """Median, p99 and the slowest of each window."""
    of: dict[str, Callable[[Window], Number]] = {
        "median": lambda one: one.median_s * 1e3,
        "p99": lambda one: None if one.p99_s is None else one.p99_s * 1e3,
        "slowest": lambda one: one.slowest_s * 1e3,
    }
    series = []
    for colour, (name, value) in enumerate(of.items()):
        known = [one for one in windows if value(one) is not None]
        if known:
            series.append(
                Series(
                    name=name,
                    x=tuple(one.at_s + one.seconds / 2 for one in known),
                    y=tuple(value(one) for one in known),
                    shape="points" if name == "slowest" else "line",
                    hollow=name == "slowest",
                    colour=colour,
                )
            )
    return tuple(series)


def _readings(process: Process, table: Table) -> list[Figure]:
    figures = []
    for name, of in _READ.items():
        told = [(one.at_s + one.seconds, of(one.reading)) for one in process.windows]
        known = [(at_s, value) for at_s, value in told if value is not None]
        if len(known) > 1:
            values = [value for _, value in known]
            figures.append(
                Figure(
                    told=f"{name}: {digits(min(values))} to {digits(max(values))}.",
                    x=Axis(title=_TIME),
                    y=Axis(title=name),
                    series=(
                        Series(name=name, x=tuple(at_s for at_s, _ in known), y=tuple(values)),
                    ),
                    table=table,
                    wide=True,
                    tall=160,
                )
            )
    return figures


_COLUMNS: tuple[tuple[str, Callable[[Window], Number]], ...] = (
    ("from s", lambda one: one.at_s),
    ("inferences", lambda one: one.inferences),
    ("median ms", lambda one: one.median_s * 1e3),
    ("p99 ms", lambda one: None if one.p99_s is None else one.p99_s * 1e3),
    ("slowest ms", lambda one: one.slowest_s * 1e3),
    ("missed", lambda one: one.missed),
    *((name, lambda one, of=of: of(one.reading)) for name, of in _READ.items()),
    ("throttle events", lambda one: one.reading.throttles),
)


def _table(windows: Sequence[Window]) -> Table:
    kept = [(name, of) for name, of in _COLUMNS if any(of(one) is not None for one in windows)]
    return Table(
        caption="Windows in order",
        columns=tuple(Column(title=name) for name, _ in kept),
        rows=tuple(tuple(of(one) for _, of in kept) for one in windows),
    )
