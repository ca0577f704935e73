"""Grids: tiles/ms, or ms/tile of one kind of op, over two parameters of a family. Pure.

`placed` says which cells of a Run they are made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, get_args

import msgspec

from nnprof.errors import UnknownName, UsageError
from nnprof.profiler import stats
from nnprof.profiler.placed import Entry, Place, Placed, Value, Where, ordered, placed_by
from nnprof.profiler.stats import Level
from nnprof.types import Failure, Kind, Measurement, Run

TILES, TIME, RATIO = "tiles/ms", "ms/tile", "b / a"
MEASURED = "measured"
_KINDS: tuple[Kind, ...] = get_args(Kind)
_CERTAIN = 1000  # degrees of freedom of an interval that is given as such


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers over two parameters.

    Attributes:
        row_name, column_name: the parameters.
        rows, columns: their values, ascending.
        values: by row and column, in `unit`; None where the state is not "measured".
        low, high: 95 % intervals of the values, None where there is none.
        states: "measured", "missing", "failed", "left out", "several" measurements, "no ops" timed,
            or "none" (no op of that kind ran); of two Runs with " in a" or " in b" behind.
        unit: "tiles/ms", "ms/tile", or "b / a": the second Run's time over the first one's, which
            says how many times faster the first is.
        kind: of op, whose times alone count; empty for the whole network.
        fixed: what all cells share.
        notes: sentences about what is not in the grid, and of two Runs what differs.
    """

    row_name: str
    column_name: str
    rows: tuple[Value, ...]
    columns: tuple[Value, ...]
    values: tuple[tuple[float | None, ...], ...]
    low: tuple[tuple[float | None, ...], ...]
    high: tuple[tuple[float | None, ...], ...]
    states: tuple[tuple[str, ...], ...]
    unit: str
    kind: str = ""
    fixed: dict[str, Value] = {}
    notes: tuple[str, ...] = ()


class _Time(NamedTuple):
    """Seconds of an inference, or of its ops of one kind."""

    seconds: float
    bounds: tuple[float, float] | None
    level: Level | None


class _Number(NamedTuple):
    """One cell of a grid."""

    state: str
    value: float | None = None
    bounds: tuple[float, float] | None = None


def of_run(run: Run, rows: str, columns: str, kind: str = "", where: Where | None = None) -> Grid:
    """Tiles/ms over two parameters; with `kind`, ms/tile of the ops of that kind.

    Args:
        run: measured, or imported.
        rows: a parameter, such as "neurons", or "batch".
        columns: another one.
        kind: such as "conv"; the interval of its time is that over processes, where each timed the
            ops; else the sum of the ops' intervals, as if all erred alike.
        where: the value of other parameters that vary.

    Raises:
        UnknownName: no such parameter or kind.
        UsageError: another parameter varies, no cell is left, or no such op was timed.
    """
    placed = placed_by(run, rows, columns, where or {})
    numbers = {
        place: _settled(entries, lambda one: _shown(one, kind))
        for place, entries in placed.places.items()
    }
    _require_kind(kind, placed, numbers)
    notes = (*placed.notes, *_several_notes(placed, rows, columns))
    return _grid((rows, columns), numbers, TIME if kind else TILES, kind, placed.fixed, notes)


def _grid(
    names: tuple[str, str],
    numbers: Mapping[Place, _Number],
    unit: str,
    kind: str,
    fixed: dict[str, Value],
    notes: tuple[str, ...],
) -> Grid:
    row_values, column_values = (ordered(place[axis] for place in numbers) for axis in (0, 1))

    def table(of: Callable[[_Number], float | None]) -> tuple[tuple[float | None, ...], ...]:
        return tuple(
            tuple(of(numbers.get((row, column), _Number("missing"))) for column in column_values)
            for row in row_values
        )

    return Grid(
        row_name=names[0],
        column_name=names[1],
        rows=row_values,
        columns=column_values,
        values=table(lambda one: one.value),
        low=table(lambda one: one.bounds[0] if one.bounds else None),
        high=table(lambda one: one.bounds[1] if one.bounds else None),
        states=tuple(
            tuple(
                numbers[row, column].state if (row, column) in numbers else "missing"
                for column in column_values
            )
            for row in row_values
        ),
        unit=unit,
        kind=kind,
        fixed=fixed,
        notes=notes,
    )


# --- their numbers --------------------------------------------------------------------------------


def _settled(entries: Sequence[Entry], number: Callable[[Measurement], _Number]) -> _Number:
    """The number of a place; none where several measurements claim it."""
    if len(entries) > 1:
        return _Number("several")
    found = entries[0].found
    if isinstance(found, str):
        return _Number(found)
    return _Number("failed") if isinstance(found, Failure) else number(found)


def _shown(measurement: Measurement, kind: str) -> _Number:
    """Tiles/ms, or ms/tile of a kind."""
    time, tiles = _time(measurement, kind), measurement.workload.tiles
    if isinstance(time, str):
        return _Number(time)
    if not tiles:
        return _Number("no tiles")
    if kind:
        bounds = time.bounds and (time.bounds[0] * 1e3 / tiles, time.bounds[1] * 1e3 / tiles)
        return _Number(MEASURED, time.seconds * 1e3 / tiles, bounds)
    bounds = time.bounds and (tiles / (time.bounds[1] * 1e3), tiles / (time.bounds[0] * 1e3))
    return _Number(MEASURED, tiles / (time.seconds * 1e3), bounds)


def _time(measurement: Measurement, kind: str) -> _Time | str:
    """Seconds of the network, or of its ops of a kind; a state where they are not known."""
    if not kind:
        return _Time(
            stats.latency_s(measurement), stats.interval_s(measurement), stats.level(measurement)
        )
    if measurement.ops is None:
        return "no ops"
    own = [op for op in measurement.ops.ops if op.kind == kind]
    seconds = sum(op.seconds for op in own)
    if not own or seconds <= 0:
        return "none"
    by_process = [
        sum(op.seconds for op in one.ops if op.kind == kind)
        for one in measurement.op_passes
        if one.method == measurement.ops.method
    ]
    if len(by_process) > 1 and min(by_process) > 0:
        low, high = stats.interval(by_process) or (seconds, seconds)
        return _Time(
            seconds, (min(low, seconds), max(high, seconds)), stats.level_among(by_process)
        )
    bounds = [(op.low_s, op.high_s) for op in own if op.low_s is not None and op.high_s is not None]
    if len(bounds) < len(own):
        return _Time(seconds, None, None)
    low, high = (sum(one[end] for one in bounds) for end in (0, 1))
    return _Time(seconds, (low, high), _given(seconds, low, high))


def _given(seconds: float, low: float, high: float) -> Level | None:
    """The level that has this interval."""
    if low <= 0:
        return None
    error = math.log(high / low) / 2 / stats.t_975(_CERTAIN)
    return Level(math.log(seconds), error, _CERTAIN)


def _require_kind(kind: str, placed: Placed, numbers: Mapping[Place, _Number]) -> None:
    """Refuse a kind that is none, or whose time no cell has.

    Raises:
        UnknownName: no such kind.
        UsageError: no op was timed, or none of that kind.
    """
    if not kind:
        return
    if kind not in _KINDS:
        raise UnknownName("kind of op", kind, _KINDS)
    states = {one.state for one in numbers.values()}
    if MEASURED in states or not states & {"none", "no ops"}:
        return
    if "none" not in states:
        raise UsageError("No op of these cells was timed.", "Measure with --ops runtime.")
    found = dict.fromkeys(
        op.kind
        for entries in placed.places.values()
        for one in entries
        if isinstance(one.found, Measurement) and one.found.ops
        for op in one.found.ops.ops
    )
    raise UsageError(
        f"No op of kind '{kind}' ran in these cells: there are {', '.join(found)}. "
        "A runtime may have made it a part of other ops.",
        "With ONNX Runtime, measure with --option optimise=0: each node runs as it stands.",
    )


def _several_notes(placed: Placed, rows: str, columns: str) -> tuple[str, ...]:
    return tuple(
        f"{len(entries)} measurements of {rows}={row}, {columns}={column}: "
        "no parameter tells them apart, so none is shown."
        for (row, column), entries in placed.places.items()
        if len(entries) > 1
    )
