"""View 12: several streams at the same time: what they get done together, and each. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.values import Axis, Column, Figure, Number, Part, Series, Table
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.stream_rows import speedup_of
from nnprof.profiler.streamed import Streamed, Told, streamed


class _Point(NamedTuple):
    number: int
    cell: Cell
    found: Streamed


_Groups = Mapping[str, Sequence[_Point]]  # cells that only the number of streams tells apart


def part(cells: Sequence[Cell]) -> Part | None:
    """Throughput and latency against the number of streams; None where none was asked for."""
    groups: dict[str, list[_Point]] = {}
    for number, cell in enumerate(cells):
        found = streamed(cell.one)
        if found is not None:
            groups.setdefault(cell.without_streams, []).append(_Point(number, cell, found))
    if not groups:
        return None
    for own in groups.values():
        own.sort(key=lambda point: point.found.streams)
    told, table = _told(groups), _table(groups)
    rates = Figure(
        told=told,
        x=_axis(groups),
        y=Axis(title="inferences/s of all streams together", zero=True),
        series=tuple(
            _line(name, own, lambda one: one.per_s, 1.0, colour)
            for colour, (name, own) in enumerate(groups.items())
        ),
        table=table,
        wide=True,
    )
    notes = (
        "p50 and p99 are of single inferences while all streams work; slowest: the slowest "
        "stream's rate over the fastest's; Jain: 1 is fair.",
        *(["Streams share processors here, for there are too few."] if _share(groups) else []),
    )
    return Part(told=told, figures=(rates, _latencies(groups, table)), notes=notes)


def _share(groups: _Groups) -> bool:
    return any(point.found.share for own in groups.values() for point in own)


def _axis(groups: _Groups) -> Axis:
    counts = sorted({float(point.found.streams) for own in groups.values() for point in own})
    return Axis(title="streams", ticks=tuple(counts))


def _line(
    name: str,
    own: Sequence[_Point],
    of: Callable[[Streamed], Told | None],
    factor: float,
    colour: int,
    *,
    dashed: bool = False,
) -> Series:
    told = [(point, value) for point in own if (value := of(point.found)) is not None]
    return Series(
        name=name,
        x=tuple(point.found.streams for point, _ in told),
        y=tuple(value.middle * factor for _, value in told),
        low=tuple(_times(value.low, factor) for _, value in told),
        high=tuple(_times(value.high, factor) for _, value in told),
        text=tuple(point.cell.name for point, _ in told),
        cells=tuple(point.number for point, _ in told),
        colour=colour,
        dashed=dashed,
    )


def _times(value: Number, factor: float) -> Number:
    return None if value is None else value * factor


def _latencies(groups: _Groups, table: Table) -> Figure:
    series = []
    for colour, (name, own) in enumerate(groups.items()):
        series.append(_line(f"p50, {name}", own, lambda one: one.p50_s, 1e3, colour))
        series.append(_line(f"p99, {name}", own, lambda one: one.p99_s, 1e3, colour, dashed=True))
    most = max(own[-1].found.streams for own in groups.values())
    p99 = [one.found.p99_s for own in groups.values() for one in own if one.found.p99_s]
    told = f"With up to {most} streams "
    if p99:
        told += f"the p99 of a stream's inference is at most {digits(_most(p99) * 1e3)} ms."
    else:
        told += "there are too few single inferences for a p99."
    return Figure(
        told=told,
        x=_axis(groups),
        y=Axis(title="ms per inference of a stream", log=True),
        series=tuple(one for one in series if one.x),
        table=table,
        wide=True,
    )


def _most(told: Sequence[Told]) -> float:
    return max(one.middle for one in told)


def _told(groups: _Groups) -> str:
    name, own = max(groups.items(), key=lambda item: len(item[1]))
    first, best = own[0].found, max((one.found for one in own), key=lambda one: one.per_s.middle)
    times = best.per_s.middle / first.per_s.middle
    told = f"{name}: {digits(first.per_s.middle)} inferences/s with {first.streams}"
    if best is first:
        return f"{told} stream{'s' if first.streams > 1 else ''}, and with no other number more."
    return (
        f"{told}, the most with {best.streams} streams: {digits(best.per_s.middle)}, {times:.3g} "
        "times as many."
    )


_COLUMNS = (
    Column(title="cell", form="cell"),
    Column(title="streams"),
    Column(title="inferences/s", note="of all streams together"),
    Column(title="low"),
    Column(title="high"),
    Column(title="tiles/ms"),
    Column(title="speedup", note="over one stream"),
    Column(title="p50 ms"),
    Column(title="p99 ms"),
    Column(title="slowest", note="the slowest stream's rate over the fastest's"),
    Column(title="Jain", note="1 where all streams have the same rate"),
)


def _table(groups: _Groups) -> Table:
    rows = tuple(_row(point) for own in groups.values() for point in own)
    return Table(caption="Streams at the same time", columns=_COLUMNS, rows=rows)


def _row(point: _Point) -> tuple[Number, ...]:
    found, speedup = point.found, speedup_of(point.cell.one, point.cell.run)
    return (
        point.number,
        found.streams,
        *(found.per_s.middle, found.per_s.low, found.per_s.high),
        point.cell.tiles_ms,
        speedup.middle if speedup else None,
        found.p50_s.middle * 1e3 if found.p50_s else None,
        found.p99_s.middle * 1e3 if found.p99_s else None,
        found.slowest.middle,
        found.jain.middle,
    )
