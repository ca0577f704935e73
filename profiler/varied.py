"""What came of a study's trainings against what the study varies: lines of means over seeds. Pure.

One line for each combination of the other parameters that vary. Where a study varies two things
together, as Gil's layers whose batch grows with them, the cells of that row are one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import NamedTuple

from nnprof.errors import UsageError
from nnprof.networks.studies.claims import Measure
from nnprof.profiler.trained import device_of, network_of, values
from nnprof.types import TrainingRecord

DEVICE, _STUDY = "device", "study"  # varied by the user, not by the study
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)(K?)")
_Other = tuple[str | None, ...]  # values of the other parameters; None where a cell lacks one


class Spread(NamedTuple):
    """Mean, lowest and highest of several seeds."""

    mean: float
    low: float
    high: float


class Line(NamedTuple):
    """Trainings along what is varied: its value → the trainings there, which seeds tell apart."""

    name: str
    places: Mapping[str, Sequence[TrainingRecord]]

    def spreads(self, along: Iterable[str], measure: Measure) -> list[Spread | None]:
        """What the trainings say of a measure at each value; None where they say nothing."""
        return [_spread(values(self.places.get(value, ()), measure)) for value in along]


class Varied(NamedTuple):
    """A study's outcome along one parameter.

    Attributes:
        against: the parameter.
        along: its values: ascending numbers, or words in the order of the study.
        numbers: the values as numbers; None where they are words.
        lines: one for each combination of the other parameters.
        left_out: trainings that say nothing of it: unfinished, or of cells that do not vary it.
    """

    against: str
    along: tuple[str, ...]
    numbers: tuple[float, ...] | None
    lines: tuple[Line, ...]
    left_out: tuple[str, ...]

    @property
    def records(self) -> tuple[TrainingRecord, ...]:
        """All trainings of the lines."""
        places = [place for line in self.lines for place in line.places.values()]
        return tuple(record for place in places for record in place)


class _Place(NamedTuple):
    """The trainings of one cell on one device, and where they stand."""

    cell: str
    value: str
    other: _Other
    records: list[TrainingRecord]


def varied(records: Sequence[TrainingRecord], against: str) -> Varied:
    """Lay trainings out along a parameter that their study varies, or along "device".

    Raises:
        UsageError: it does not vary; the remedy lists what does.
    """
    finished = [record for record in records if record.finished]
    known = _parameters(finished)
    if against not in known:
        raise UsageError(
            f"'{against}' does not vary in these trainings.",
            f"What varies: {', '.join(known) or 'nothing yet'}.",
        )
    of = [record for record in finished if against in _values(record)]
    others = [name for name in _parameters(of) if name != against]
    along, numbers = _sorted(dict.fromkeys(_values(record)[against] for record in of))
    lines = _lines(_places(of, against, others), others)
    elsewhere = {_name(record) for record in finished} - {_name(record) for record in of}
    cut = [f"{_name(one)} seed {one.seed}: not finished" for one in records if not one.finished]
    left_out = (*cut, *(f"{name}: no {against}" for name in sorted(elsewhere)))
    return Varied(against, along, numbers, tuple(lines), left_out)


def number(text: str) -> float | None:
    """A varied value as a number, 100K as 100,000; None where it is a word."""
    found = _NUMBER.fullmatch(text)
    return float(found[1]) * (1000 if found[2] else 1) if found else None


def _spread(found: Sequence[float]) -> Spread | None:
    return Spread(mean(found), min(found), max(found)) if found else None


def _values(record: TrainingRecord) -> dict[str, str]:
    """What is varied: by the study, and by who trained."""
    return {**record.varied, DEVICE: device_of(record), _STUDY: record.study}


def _name(record: TrainingRecord) -> str:
    return record.cell or network_of(record)


def _parameters(records: Iterable[TrainingRecord]) -> list[str]:
    """Those with more than one value; that a cell lacks one counts as a value."""
    found = [_values(record) for record in records]
    names = dict.fromkeys(name for one in found for name in one)
    return [name for name in names if len({one.get(name) for one in found}) > 1]


def _sorted(words: Iterable[str]) -> tuple[tuple[str, ...], tuple[float, ...] | None]:
    told = {word: number(word) for word in words}
    numbers = {word: value for word, value in told.items() if value is not None}
    if len(numbers) < len(told):
        return tuple(told), None
    along = sorted(numbers, key=numbers.__getitem__)
    return tuple(along), tuple(numbers[word] for word in along)


def _places(records: Iterable[TrainingRecord], against: str, others: Sequence[str]) -> list[_Place]:
    found: dict[tuple[str, str, _Other], _Place] = {}
    for record in records:
        told = _values(record)
        key = (_name(record), told[against], tuple(told.get(name) for name in others))
        found.setdefault(key, _Place(*key, [])).records.append(record)
    return list(found.values())


def _lines(places: Sequence[_Place], others: Sequence[str]) -> list[Line]:
    """Places with the same other values in a line each; a row that varies them along is one."""
    rows: dict[_Other, dict[str, _Place]] = {}
    taken = []  # places whose own is another cell's
    for place in places:
        row = rows.setdefault(place.other, {})
        if place.value in row:
            taken.append(place)
        else:
            row[place.value] = place
    lone = [place for row in rows.values() if len(row) == 1 for place in row.values()]
    apart = set(map(id, (*lone, *taken)))
    diagonal = _diagonal([place for place in places if id(place) in apart], len(lone))
    joined = set(map(id, diagonal))
    lines = [
        _line(_called(other, others), row.values())
        for other, row in rows.items()
        if not joined.issuperset(map(id, row.values()))
    ]
    if diagonal:
        first, last = _called(diagonal[0].other, others), diagonal[-1].other[0]
        return [*lines, _line(f"{first} to {last}", diagonal)]
    if taken and not others:  # nothing but their cells tells the lines apart
        cells = [place.cell for row in rows.values() for place in row.values()]
        lines = [
            line._replace(name=" to ".join(dict.fromkeys((cells[0], cells[-1])))) for line in lines
        ]
    return [*lines, *(_line(place.cell, [place]) for place in taken)]


def _diagonal(places: Sequence[_Place], lone: int) -> Sequence[_Place]:
    """The places, if one other number grows along them; nothing if not."""
    told = [number(place.other[0] or "") if len(place.other) == 1 else None for place in places]
    numbers = [value for value in told if value is not None]
    distinct = len({place.value for place in places}) == len(places)
    if lone < 2 or not distinct or len(numbers) < len(told) or numbers != sorted(numbers):
        return ()
    return places


def _line(name: str, places: Iterable[_Place]) -> Line:
    return Line(name, {place.value: place.records for place in places})


def _called(other: _Other, names: Sequence[str]) -> str:
    """The other values in words: a word alone says enough, a number needs its name."""
    told = [
        f"{name} not varied" if value is None
        else f"{name} {value}" if number(value) is not None or len(other) > 1
        else value
        for name, value in zip(names, other, strict=True)
    ]  # fmt: skip
    return ", ".join(told)
