"""Views 2 and 3: latency and throughput against batch; cells of one batch stand side by side. Pure.

The knee of a series is the smallest batch that cannot be told to be more than a twentieth below the
most tiles/ms: the upper end of its interval reaches 95 % of the most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from nnprof.profiler import stats
from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.values import Axis, Column, Figure, Mark, Number, Part, Series, Table
from nnprof.profiler.page.work import peak_tiles_ms
from nnprof.profiler.report.digits import digits

KNEE = 0.95  # of the most tiles/ms
_MOST_SERIES = 12  # more become points of one series, whose names tell them apart
_MOST_NAMES = 12  # beside an axis
_MOST_TICKS = 10
_LATENCY, _RATE = "ms per inference", "tiles/ms"


class Point(NamedTuple):
    """A cell in a figure, and its number on the page."""

    number: int
    cell: Cell


class Value(NamedTuple):
    """What stands on the y axis, with the ends of its interval."""

    value: float
    low: Number
    high: Number


Found = Mapping[str, Sequence[Point]]  # the cells of each series, by batch
Of = Callable[[Cell], Value]


def series_of(cells: Sequence[Cell]) -> dict[str, list[Point]]:
    """The cells of each series by batch, in the order in which the series come."""
    found: dict[str, list[Point]] = {}
    for number, cell in enumerate(cells):
        found.setdefault(cell.series, []).append(Point(number, cell))
    return {name: sorted(own, key=lambda point: point.cell.batch) for name, own in found.items()}


def latency(cells: Sequence[Cell], deadline_s: float = 0.0) -> Part:
    """View 2: milliseconds per inference, with the budget where there is one."""
    marks = (Mark(axis="y", at=deadline_s * 1e3, label="budget"),) if deadline_s else ()
    found = series_of(cells)
    if len({cell.batch for cell in cells}) < 2:
        return _side_by_side(cells, marks)
    told = _latency_told(found)
    figure = Figure(
        told=told,
        x=_batch_axis(cells),
        y=Axis(title=_LATENCY, log=_is_wide([cell.ms for cell in cells]), zero=True),
        series=(*_lines(found, _ms), *_slowest(found)),
        marks=marks,
        table=_table("Latency of each cell", cells, _ms, _LATENCY),
    )
    return Part(told=told, figures=(figure,))


def throughput(cells: Sequence[Cell]) -> Part | None:
    """View 3: tiles per millisecond with knee and ceiling; None without several batches."""
    counted = [(number, cell) for number, cell in enumerate(cells) if cell.tiles_ms]
    found: dict[str, list[Point]] = {}
    for name, own in series_of(cells).items():
        if kept := [point for point in own if point.cell.tiles_ms]:
            found[name] = kept
    if len({cell.batch for _, cell in counted}) < 2:
        return None
    knees = {name: knee(own) for name, own in found.items() if len(own) > 1}
    few = len(found) <= _MOST_SERIES
    told = _throughput_told(found, knees)
    rates = [cell.tiles_ms or 1.0 for _, cell in counted]
    figure = Figure(
        told=told,
        x=_batch_axis([cell for _, cell in counted]),
        y=Axis(title=_RATE, log=_is_wide(rates)),
        series=(*_lines(found, _rate), *(_marked(found, knees) if few else ())),
        table=_rate_table(found, knees),
        wide=True,
    )
    notes = (
        f"The knee (star) is the smallest batch whose interval reaches {KNEE:.0%} of the most "
        "tiles/ms of its series.",
        *_ceiling_notes(found),
    )
    return Part(told=told, figures=(figure,), notes=notes if knees and few else ())


def knee(points: Sequence[Point]) -> Point:
    """The smallest batch that cannot be told to be more than a twentieth below the best."""
    most = max(_rate(point.cell).value for point in points)
    return next(point for point in points if _at_best(point.cell) >= KNEE * most)


def _at_best(cell: Cell) -> float:
    rate = _rate(cell)
    return rate.value if rate.high is None else rate.high


def _ms(cell: Cell) -> Value:
    return Value(cell.ms, *(cell.ends_ms or (None, None)))


def _rate(cell: Cell) -> Value:
    rate, ends = cell.tiles_ms or 0.0, stats.interval_s(cell.one)
    if ends is None:
        return Value(rate, None, None)
    whole = rate * stats.latency_s(cell.one)
    return Value(rate, whole / ends[1], whole / ends[0])


def _batch_axis(cells: Sequence[Cell]) -> Axis:
    batches = sorted({cell.batch for cell in cells})
    ticks = tuple(map(float, batches)) if len(batches) <= _MOST_TICKS else ()
    return Axis(title="batch (tiles of one inference)", log=True, ticks=ticks)


def _is_wide(values: Sequence[float]) -> bool:
    return max(values) > 8 * min(values)


def _lines(found: Found, of: Of) -> tuple[Series, ...]:
    if len(found) > _MOST_SERIES:
        every = [point for own in found.values() for point in own]
        return (_series("cells", every, of, lines=False),)
    return tuple(
        _series(name, own, of, colour=number, lines=len(own) > 1)
        for number, (name, own) in enumerate(found.items())
    )


def _series(name: str, points: Sequence[Point], of: Of, *, colour: int = 0, lines: bool) -> Series:
    values = [of(point.cell) for point in points]
    return Series(
        name=name,
        x=tuple(point.cell.batch for point in points),
        y=tuple(value.value for value in values),
        low=tuple(value.low for value in values),
        high=tuple(value.high for value in values),
        text=tuple(point.cell.name for point in points),
        cells=tuple(point.number for point in points),
        shape="line" if lines else "points",
        colour=colour,
    )


def _slowest(found: Found) -> tuple[Series, ...]:
    """The 99th percentiles, where there are enough single inferences."""
    if len(found) > _MOST_SERIES:
        return ()
    series = []
    for number, (name, own) in enumerate(found.items()):
        told = [(point, stats.percentile_s(point.cell.one, 0.99)) for point in own]
        known = [(point, p99_s) for point, p99_s in told if p99_s is not None]
        if known:
            series.append(
                Series(
                    name=f"{name}: p99",
                    x=tuple(point.cell.batch for point, _ in known),
                    y=tuple(p99_s * 1e3 for _, p99_s in known),
                    text=tuple(f"p99 of {point.cell.name}" for point, _ in known),
                    shape="points",
                    hollow=True,
                    colour=number,
                    plain=True,
                )
            )
    return tuple(series)


def _side_by_side(cells: Sequence[Cell], marks: Sequence[Mark]) -> Part:
    """Cells of one batch, the fastest first."""
    points = sorted((Point(*one) for one in enumerate(cells)), key=lambda point: point.cell.ms)
    first, last = points[0].cell, points[-1].cell
    told = f"At batch {first.batch} {first.series}: {digits(first.ms)} ms"
    if len(points) > 1:
        told = (
            f"At batch {first.batch} the least is {digits(first.ms)} ms ({first.series}) and the "
            f"most {digits(last.ms)} ms ({last.series}), of {len(points)} cells"
        )
    named = len(points) <= _MOST_NAMES
    whole = _series("cells", points, _ms, lines=False)
    names = tuple(point.cell.series for point in points)
    figure = Figure(
        told=f"{told}.",
        x=Axis(title="" if named else "cells, the fastest first", names=names if named else ()),
        y=Axis(title=_LATENCY, log=_is_wide([cell.ms for cell in cells]), zero=True),
        series=(
            Series(
                name="cells",
                x=names if named else tuple(range(1, len(points) + 1)),
                y=whole.y,
                low=whole.low,
                high=whole.high,
                text=whole.text,
                cells=whole.cells,
                shape="points",
            ),
        ),
        marks=tuple(marks),
        table=_table("Latency of each cell", cells, _ms, _LATENCY),
    )
    return Part(told=f"{told}.", figures=(figure,))


def _latency_told(found: Found) -> str:
    name, own = max(found.items(), key=lambda item: len(item[1]))
    first, last = own[0].cell, own[-1].cell
    if first is last:
        cells = sorted((p.cell for each in found.values() for p in each), key=lambda cell: cell.ms)
        first, last = cells[0], cells[-1]
        return f"From {digits(first.ms)} ms ({first.name}) to {digits(last.ms)} ms ({last.name})."
    return (
        f"{name}: {digits(first.ms)} ms at batch {first.batch}, {digits(last.ms)} ms at batch "
        f"{last.batch}: {last.ms / first.ms:.3g} times the time for "
        f"{last.batch / first.batch:.3g} times the tiles."
    )


def _throughput_told(found: Found, knees: Mapping[str, Point]) -> str:
    every = [point for own in found.values() for point in own]
    best = max(every, key=lambda point: point.cell.tiles_ms or 0.0)
    told = f"The most is {digits(best.cell.tiles_ms)} tiles/ms: {best.cell.name}"
    if best.cell.series not in knees:
        return f"{told}."
    at = knees[best.cell.series].cell
    if at is best.cell:
        return f"{told}, and no smaller batch of it comes within a twentieth."
    return f"{told}; from batch {at.batch} on it is within a twentieth of that."


def _marked(found: Found, knees: Mapping[str, Point]) -> tuple[Series, ...]:
    """A star at each knee, and a broken line at what the device's peak would allow."""
    stars = [
        Series(
            name=f"{name}: knee",
            x=(knees[name].cell.batch,),
            y=(knees[name].cell.tiles_ms,),
            text=(f"knee of {name}",),
            shape="points",
            colour=number,
            plain=True,
            star=True,
        )
        for number, name in enumerate(found)
        if name in knees
    ]
    return (*stars, *_ceilings(found))


def _ceilings(found: Found) -> list[Series]:
    series = []
    for number, (name, own) in enumerate(found.items()):
        most = peak_tiles_ms(own[0].cell)
        if most is not None and len(own) > 1:
            series.append(
                Series(
                    name=f"{name}: ceiling",
                    x=(own[0].cell.batch, own[-1].cell.batch),
                    y=(most, most),
                    text=(f"what the peak FLOP/s allow {name}",) * 2,
                    colour=number,
                    dashed=True,
                    plain=True,
                )
            )
    return series


def _ceiling_notes(found: Found) -> tuple[str, ...]:
    if _ceilings(found):
        return ("Broken lines: the device's measured peak FLOP/s over the FLOPs of a tile.",)
    why = "The device's ceiling is unknown: its limits were not measured (nnprof devices --measure)"
    return (f"{why}, or the FLOPs of the networks are not known.",)


def _table(caption: str, cells: Sequence[Cell], of: Of, unit: str) -> Table:
    columns = (
        Column(title="cell", form="cell"),
        Column(title="batch"),
        Column(title=unit),
        Column(title="low", note="lower end of the 95 % interval over processes"),
        Column(title="high", note="upper end"),
    )
    rows = tuple((number, cell.batch, *of(cell)) for number, cell in enumerate(cells))
    return Table(caption=caption, columns=columns, rows=rows)


def _rate_table(found: Found, knees: Mapping[str, Point]) -> Table:
    own = [point for points in found.values() for point in points]
    at = {point.number for point in knees.values()}
    columns = (
        Column(title="cell", form="cell"),
        Column(title="batch"),
        Column(title=_RATE),
        Column(title="low"),
        Column(title="high"),
        Column(title="knee", form="text"),
    )
    rows = tuple(
        (p.number, p.cell.batch, *_rate(p.cell), "knee" if p.number in at else "") for p in own
    )
    return Table(caption="Throughput of each cell", columns=columns, rows=rows)
