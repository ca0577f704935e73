"""Grids: tiles/ms, or ms/tile of one kind of op, over two parameters of a family. Pure.

`placed` says which cells of a Run they are made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, get_args

import msgspec

from nnprof.errors import UnknownName, UsageError
from nnprof.profiler import changes, pairs, stats
from nnprof.profiler.conditions import conditions, differences
from nnprof.profiler.placed import (
    CONDITIONS,
    Entry,
    Place,
    Placed,
    Value,
    Where,
    ordered,
    placed_by,
)
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
        title: of a figure; empty where none was asked for.
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
    title: str = ""


class _Time(NamedTuple):
    """Seconds of an inference, or of its ops of one kind."""

    of: Measurement
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
        place: _Number(time) if isinstance(time, str) else _shown(time, kind)
        for place, time in _times(placed, kind).items()
    }
    notes = (*placed.notes, *_several_notes(placed, rows, columns))
    return _grid((rows, columns), numbers, TIME if kind else TILES, kind, placed.fixed, notes)


def across(
    a: Run, b: Run, rows: str, columns: str, kind: str = "", where: Where | None = None
) -> Grid:
    """How many times faster the first Run is: the second one's time over the first one's.

    The networks and batches are the same; all else may differ (device, runtime, precision), and is
    told in the notes. Intervals are those of `compare`: Welch's t on the logarithms of processes,
    or by pairs where the two alternated. For other arguments and errors see `of_run`.

    Raises:
        UsageError: the two differ in a parameter, or have no measured cell in common.
    """
    sides = [_side(word, run, rows, columns, where or {}) for word, run in (("a", a), ("b", b))]
    _require_alike(*(one.fixed for one in sides))
    old, new = (_times(one, kind) for one in sides)
    paired = not kind and pairs.are_sides(a, b)
    numbers, measured = {}, []
    for place in {**old, **new}:
        one, other = old.get(place, "missing"), new.get(place, "missing")
        if isinstance(one, _Time) and isinstance(other, _Time):
            numbers[place] = _ratio(one, other, paired=paired)
            measured.append((one.of, other.of))
        else:
            numbers[place] = _Number(_lacking(one, other))
    if not measured:
        raise UsageError(
            "The two Runs have no measured cell of this grid in common.",
            "Measure the same networks and batches.",
        )
    _, unlike = differences(
        a, b, [one for one, _ in measured], [one for _, one in measured], {*conditions(a)}
    )
    notes = [f"Differs: {name}: {was} in a, {now} in b." for name, was, now in unlike]
    for word, side in zip("ab", sides, strict=True):
        own = (*side.notes, *_several_notes(side, rows, columns))
        notes += [f"In {word}: {note}" for note in own]
    return _grid((rows, columns), numbers, RATIO, kind, sides[0].fixed, tuple(notes))


def _side(word: str, run: Run, rows: str, columns: str, where: Where) -> Placed:
    """The cells of one of two Runs, whose errors say which of them it is.

    Raises:
        UsageError: as `placed_by`.
    """
    try:
        return placed_by(run, rows, columns, where)
    except UsageError as error:
        raise UsageError(f"Run {word}: {error.reason}", error.remedy) from error


def _require_alike(a: Mapping[str, Value], b: Mapping[str, Value]) -> None:
    """Refuse what is not the same question.

    Raises:
        UsageError: the two differ in what all cells of each share.
    """
    unlike = [name for name in a if name not in CONDITIONS and a[name] != b.get(name)]
    if unlike:
        told = "; ".join(f"{name}: {a[name]} and {b.get(name, 'none')}" for name in unlike)
        raise UsageError(
            f"The two Runs are not of the same networks and batches ({told}).",
            "Measure the same study on both, or choose with --where what both have.",
        )


def _lacking(one: _Time | str, other: _Time | str) -> str:
    """The state of a cell that a side has no time of."""
    if one == other:
        return str(one)
    return f"{one} in a" if isinstance(one, str) else f"{other} in b"


def _ratio(one: _Time, other: _Time, *, paired: bool) -> _Number:
    if paired:
        change = changes.by_pairs(one.of, other.of)
    else:
        old, new = one.level, other.level
        change = changes.between(old, new) if old and new else None
        change = change and changes.on_each_board(change, one.of, other.of)
    if change is None:
        return _Number(MEASURED, other.seconds / one.seconds)
    return _Number(MEASURED, change.ratio, changes.bounds(change, 0.95))


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


def _times(placed: Placed, kind: str) -> dict[Place, _Time | str]:
    """The time of each place, or the state of one that has none.

    Raises:
        UnknownName: no such kind.
        UsageError: no op was timed, or none of that kind.
    """
    if kind and kind not in _KINDS:
        raise UnknownName("kind of op", kind, _KINDS)
    found = {place: _settled(entries) for place, entries in placed.places.items()}
    measured = [one for one in found.values() if not isinstance(one, str)]
    times = {
        place: one if isinstance(one, str) else _time(one, kind) for place, one in found.items()
    }
    if measured and all(isinstance(times[place], str) for place in times):
        _refuse(kind, measured)
    return times


def _settled(entries: Sequence[Entry]) -> Measurement | str:
    """The measurement of a place, or its state; none is picked where several claim it."""
    told = [one for one in entries if not isinstance(one.found, str)] or entries
    if len(told) > 1:
        return "several"
    found = told[0].found
    return "failed" if isinstance(found, Failure) else found


def _shown(time: _Time, kind: str) -> _Number:
    """Tiles/ms, or ms/tile of a kind."""
    tiles, ends = time.of.workload.tiles, time.bounds
    if not tiles:
        return _Number("no tiles")
    if kind:
        per = 1e3 / tiles
        return _Number(MEASURED, time.seconds * per, ends and (ends[0] * per, ends[1] * per))
    bounds = ends and (tiles / (ends[1] * 1e3), tiles / (ends[0] * 1e3))
    return _Number(MEASURED, tiles / (time.seconds * 1e3), bounds)


def _time(one: Measurement, kind: str) -> _Time | str:
    """Seconds of the network, or of its ops of a kind; a state where they are not known."""
    if not kind:
        return _Time(one, stats.latency_s(one), stats.interval_s(one), stats.level(one))
    if one.ops is None:
        return "no ops"
    own = [op for op in one.ops.ops if op.kind == kind]
    seconds = sum(op.seconds for op in own)
    if seconds <= 0:
        return "none"
    by_process = [
        sum(op.seconds for op in each.ops if op.kind == kind)
        for each in one.op_passes
        if each.method == one.ops.method
    ]
    if len(set(by_process)) > 1 and min(by_process) > 0:  # equal ones: the clock is too coarse
        low, high = stats.interval(by_process) or (seconds, seconds)
        ends = min(low, seconds), max(high, seconds)
        return _Time(one, seconds, ends, stats.level_among(by_process))
    bounds = [(op.low_s, op.high_s) for op in own if op.low_s is not None and op.high_s is not None]
    if len(bounds) < len(own):
        return _Time(one, seconds, None, None)
    low, high = (sum(each[end] for each in bounds) for end in (0, 1))
    return _Time(one, seconds, (low, high), _given(seconds, low, high))


def _given(seconds: float, low: float, high: float) -> Level | None:
    """The level that has this interval."""
    if low <= 0:
        return None
    error = math.log(high / low) / 2 / stats.t_975(_CERTAIN)
    return Level(math.log(seconds), error, _CERTAIN)


def _refuse(kind: str, measured: Sequence[Measurement]) -> None:
    """Say why no measured cell has the time of a kind.

    Raises:
        UsageError: no op was timed, or none of that kind.
    """
    found = dict.fromkeys(op.kind for one in measured if one.ops for op in one.ops.ops)
    if not found:
        raise UsageError("No op of these cells was timed.", "Measure with --ops runtime.")
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
        if sum(not isinstance(one.found, str) for one in entries) > 1
    )
