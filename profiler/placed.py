"""The cells of a Run by the parameters of their networks, and those that a grid is made of. Pure.

A parameter is one of a family's (`families.parameters`, those that a name leaves out included), or
batch, precision, threads or family. What varies besides the two of a grid must be chosen (`where`),
or it would mix networks that it does not tell apart. A parameter that does not change a network
(`pool1` where there is one ConvLayer) takes whatever value its neighbours have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from nnprof.errors import NnprofError, UnknownName, UsageError
from nnprof.networks.families import FAMILIES, parameters, parse_network
from nnprof.types import Cell, Failure, Measurement, Run, Target, Workload

Value: TypeAlias = int | str
Where: TypeAlias = Mapping[str, Value]

CONDITIONS = ("precision", "threads")  # of a cell, that are no parameter of its network
_NOT_OF_A_FAMILY = {"family", "batch", *CONDITIONS}


class Entry(NamedTuple):
    """A cell of a Run: its parameters, and what became of it (a state, where nothing did)."""

    known: dict[str, Value]
    found: Measurement | Failure | str


Place: TypeAlias = tuple[Value, Value]


class Placed(NamedTuple):
    """The chosen cells of a Run by row and column."""

    places: dict[Place, list[Entry]]
    fixed: dict[str, Value]
    notes: tuple[str, ...]


def placed_by(run: Run, rows: str, columns: str, where: Where) -> Placed:
    """The cells of a grid over two parameters.

    Raises:
        UnknownName: no such parameter.
        UsageError: another parameter varies, or no cell is left.
    """
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
    if not having:
        raise UsageError(
            f"No family here has both {rows} and {columns}.", "Name two of one family."
        )
    chosen = _chosen(having, where)
    fixed = _fixed(chosen, rows, columns)
    places: dict[Place, list[Entry]] = {}
    for one in chosen:
        places.setdefault((one.known[rows], one.known[columns]), []).append(one)
    return Placed(places, fixed, _left_notes(entries, having, rows, columns))


def _entries(run: Run) -> list[Entry]:
    """Each cell of a Run once; a measurement that ended in a failure is a failure."""
    failed = {_key(one) for one in run.failures}
    done: list[Measurement | Failure] = [*run.failures]
    done += [one for one in run.measurements if _key(one) not in failed]
    seen = {_key(one) for one in done}
    found = [Entry(_known(one.workload, one.target), one) for one in done]
    for position, cell in enumerate(run.study.cells):
        if cell.key not in seen:
            state = "left out" if position in run.left_out else "missing"
            found.append(Entry(_known(cell.workload, cell.target), state))
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


def _chosen(entries: Sequence[Entry], where: Where) -> list[Entry]:
    for name, value in where.items():
        kept = [
            one._replace(known=known)
            for one in entries
            if (known := _with(one.known, name, value)) is not None
        ]
        if not kept:
            values = ", ".join(
                map(str, ordered(one.known[name] for one in entries if name in one.known))
            )
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


def _fixed(chosen: list[Entry], rows: str, columns: str) -> dict[str, Value]:
    """What the chosen cells share besides row and column.

    Raises:
        UsageError: something else varies.
    """
    fixed: dict[str, Value] = {}
    varied: dict[str, tuple[Value, ...]] = {}
    for name in dict.fromkeys(name for one in chosen for name in one.known):
        if name in (rows, columns):
            continue
        values = ordered(one.known[name] for one in chosen if name in one.known)
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
    entries: Sequence[Entry], having: Sequence[Entry], rows: str, columns: str
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


def ordered(values: Iterable[Value]) -> tuple[Value, ...]:
    """Each value once, ascending; words behind numbers."""
    return tuple(sorted(set(values), key=lambda one: (isinstance(one, str), one)))
