"""Grids of a Run: tiles/ms, or ms/tile of one kind of op, over two parameters of a family. Pure.

A parameter is one of a family's (`families.parameters`, those that a name leaves out included), or
batch, precision, threads or family. What varies besides the two must be chosen (`where`), or a grid
would mix networks that it does not tell apart. A parameter that does not change a network (`pool1`
where there is one ConvLayer) takes whatever value its neighbours have.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, get_args

import msgspec

from nnprof.errors import NnprofError, UnknownName, UsageError
from nnprof.networks.families import FAMILIES, parameters, parse_network
from nnprof.profiler import stats
from nnprof.profiler.stats import Level
from nnprof.types import Cell, Failure, Kind, Measurement, Run, Target, Workload

Value: TypeAlias = int | str
Where: TypeAlias = Mapping[str, Value]

TILES, TIME, RATIO = "tiles/ms", "ms/tile", "b / a"
MEASURED = "measured"
_KINDS: tuple[Kind, ...] = get_args(Kind)
_CERTAIN = 1000  # degrees of freedom of an interval that is given as such
# What may differ between two Runs that are held against each other; it is told.
_CONDITIONS = ("precision", "threads")
_NOT_OF_A_FAMILY = {"family", "batch", *_CONDITIONS}


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


class _Entry(NamedTuple):
    """A cell of a Run: its parameters, and what became of it (a state, where nothing did)."""

    known: dict[str, Value]
    found: Measurement | Failure | str


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


_Place: TypeAlias = tuple[Value, Value]


class _Placed(NamedTuple):
    """The chosen cells of a Run by row and column."""

    places: dict[_Place, list[_Entry]]
    fixed: dict[str, Value]
    notes: tuple[str, ...]


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
    placed = _placed(run, rows, columns, where or {})
    numbers = {
        place: _settled(entries, lambda one: _shown(one, kind))
        for place, entries in placed.places.items()
    }
    _require_kind(kind, placed, numbers)
    notes = (*placed.notes, *_several_notes(placed, rows, columns))
    return _grid((rows, columns), numbers, TIME if kind else TILES, kind, placed.fixed, notes)


def _grid(
    names: tuple[str, str],
    numbers: Mapping[_Place, _Number],
    unit: str,
    kind: str,
    fixed: dict[str, Value],
    notes: tuple[str, ...],
) -> Grid:
    row_values, column_values = (_ordered(place[axis] for place in numbers) for axis in (0, 1))

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


def _ordered(values: Iterable[Value]) -> tuple[Value, ...]:
    return tuple(sorted(set(values), key=lambda one: (isinstance(one, str), one)))


# --- which cells ----------------------------------------------------------------------------------


def _placed(run: Run, rows: str, columns: str, where: Where) -> _Placed:
    if rows == columns:
        raise UsageError(f"'{rows}' cannot be both row and column.", "Name two parameters.")
    entries = _entries(run)
    of_family = [one for one in entries if "family" in one.known]
    if not of_family:
        raise UsageError(
            "No network of this Run is of a family, so that none has parameters.",
            "Measure a family, such as 'mattsson(conv=1..3)'.",
        )
    known = dict.fromkeys(name for one in of_family for name in one.known)
    for name in (rows, columns, *where):
        if name not in known:
            raise UnknownName("parameter", name, known)
    having = [one for one in of_family if rows in one.known and columns in one.known]
    chosen = _chosen(having, where)
    fixed = _fixed(chosen, rows, columns)
    places: dict[_Place, list[_Entry]] = {}
    for one in chosen:
        places.setdefault((one.known[rows], one.known[columns]), []).append(one)
    return _Placed(places, fixed, _left_notes(entries, having, rows, columns))


def _entries(run: Run) -> list[_Entry]:
    """Each cell of a Run once; a measurement that ended in a failure is a failure."""
    failed = {_key(one) for one in run.failures}
    done: list[Measurement | Failure] = [*run.failures]
    done += [one for one in run.measurements if _key(one) not in failed]
    seen = {_key(one) for one in done}
    found = [_Entry(_known(one.workload, one.target), one) for one in done]
    for position, cell in enumerate(run.study.cells):
        if cell.key not in seen:
            state = "left out" if position in run.left_out else "missing"
            found.append(_Entry(_known(cell.workload, cell.target), state))
            seen.add(cell.key)
    return found


def _key(one: Measurement | Failure) -> str:
    return Cell(workload=one.workload, target=one.target).key


def _known(work: Workload, target: Target) -> dict[str, Value]:
    """The parameters of a cell; without those of a family where its network is of none."""
    own: dict[str, Value] = {
        "batch": work.batch,
        "precision": work.precision,
        "threads": target.threads,
    }
    model = work.model
    if model.path and model.network is None:  # a file that only has such a name
        return own
    try:
        spec = parse_network(model.name)
    except NnprofError:
        return own
    return {"family": spec.family, **parameters(spec), **own} if spec.family else own


def _chosen(entries: Sequence[_Entry], where: Where) -> list[_Entry]:
    for name, value in where.items():
        kept = [
            one._replace(known=known)
            for one in entries
            if (known := _with(one.known, name, value)) is not None
        ]
        if not kept:
            values = ", ".join(map(str, _ordered(one.known[name] for one in entries)))
            raise UsageError(f"No cell has {name}={value}.", f"Its values: {values}.")
        entries = kept
    return list(entries)


def _with(known: dict[str, Value], name: str, value: Value) -> dict[str, Value] | None:
    """The same network called by that value of a parameter; None where it would be another."""
    if name not in known or str(known[name]) == str(value):
        return known if name in known else None
    if name in _NOT_OF_A_FAMILY:
        return None
    make = FAMILIES[str(known["family"])].make
    own = {key: int(one) for key, one in known.items() if key not in _NOT_OF_A_FAMILY}
    try:
        old, new = make(**own), make(**{**own, name: int(value)})
    except (NnprofError, ValueError):
        return None
    alike = (old.layers, old.input_shape, old.seed) == (new.layers, new.input_shape, new.seed)
    return {**known, name: int(value)} if alike else None


def _fixed(chosen: list[_Entry], rows: str, columns: str) -> dict[str, Value]:
    """What the chosen cells share besides row and column.

    Raises:
        UsageError: something else varies.
    """
    fixed: dict[str, Value] = {}
    varied: dict[str, tuple[Value, ...]] = {}
    for name in dict.fromkeys(name for one in chosen for name in one.known):
        if name in (rows, columns):
            continue
        values = _ordered(one.known[name] for one in chosen if name in one.known)
        shared = [value for value in values if all(_with(e.known, name, value) for e in chosen)]
        if shared:
            fixed[name] = shared[0]
        else:
            varied[name] = values
    if varied:
        told = "; ".join(f"{name}: {', '.join(map(str, own))}" for name, own in varied.items())
        counts = Counter(tuple(one.known.get(name) for name in varied) for one in chosen)
        usual = zip(varied, counts.most_common(1)[0][0], strict=True)
        words = ",".join(f"{name}={value}" for name, value in usual)
        raise UsageError(
            f"More varies than {rows} and {columns} ({told}).", f"Choose, as with --where {words}."
        )
    return fixed


def _left_notes(
    entries: Sequence[_Entry], having: Sequence[_Entry], rows: str, columns: str
) -> tuple[str, ...]:
    """What is not in the grid, whatever is chosen."""
    none = sum("family" not in one.known for one in entries)
    others = len(entries) - none - len(having)
    notes = []
    if none:
        notes.append(f"{_cells(none)} left out: of no family, so without parameters.")
    if others:
        notes.append(f"{_cells(others)} left out: of a family without {rows} or {columns}.")
    return tuple(notes)


def _cells(count: int) -> str:
    return f"{count} cell{'s' if count > 1 else ''}"


# --- their numbers --------------------------------------------------------------------------------


def _settled(entries: Sequence[_Entry], number: Callable[[Measurement], _Number]) -> _Number:
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


def _require_kind(kind: str, placed: _Placed, numbers: Mapping[_Place, _Number]) -> None:
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


def _several_notes(placed: _Placed, rows: str, columns: str) -> tuple[str, ...]:
    return tuple(
        f"{len(entries)} measurements of {rows}={row}, {columns}={column}: "
        "no parameter tells them apart, so none is shown."
        for (row, column), entries in placed.places.items()
        if len(entries) > 1
    )
