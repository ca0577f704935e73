"""Cells over many Runs in the order of time: what changed at once, what slowly, and beside what.

`series` finds changes; here cells are matched over Runs as `compare` matches those of two, and what
else changed between two Runs is named where a step is. What looks like a step and like a drift is
told as that which leaves less unexplained, by Schwarz's criterion (1978). A change of less than
`changes.TOLERANCE` is none, as when two Runs are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

import msgspec

from nnprof.errors import UsageError
from nnprof.profiler import changes, series, stats, twins
from nnprof.profiler.compare import Question, question
from nnprof.profiler.conditions import conditions, named
from nnprof.profiler.series import Drift
from nnprof.types import LOCAL, Failure, Measurement, Precision, Run

# Facts of a place beside its conditions that may explain a step.
_FACTS = ("system", "python", "packages")
# Conditions by which cells are told apart; they cannot differ within a line.
_TOLD = ("backend", "device", "on", "host", "threads", "options", "precision")


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A cell in one Run: which (`Trend.runs`), when it began, seconds per inference, processes."""

    run: int
    created: str
    seconds: float
    processes: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A change of level.

    Attributes:
        at: the first of the cell's points that is on the new level.
        created: when its Run began.
        before_s, after_s: levels, as far as the steps before and behind.
        doubt: p-value of the cut.
        changed: conditions that differ between the Runs around it: name, before, after.
    """

    at: int
    created: str
    before_s: float
    after_s: float
    doubt: float
    changed: tuple[tuple[str, str, str], ...]

    @property
    def change(self) -> float:
        """Relative; above 0 is slower."""
        return self.after_s / self.before_s - 1


class CellTrend(msgspec.Struct, frozen=True, kw_only=True):
    """One cell over the Runs that have it.

    Attributes:
        network, batch, precision: which.
        machine: where, with runtime, threads and options: those of other machines are other cells.
        points: in the order of time.
        change: from the first Run to the last, relative; above 0 is slower.
        steps: changes of level, () where there are none or too few Runs to tell.
        drift: None where there is none, or steps explain more.
        lacking: Runs that asked for it and have no time: which, and why.
        judged: whether there are Runs enough to tell steps and a drift.
    """

    network: str
    batch: int
    precision: Precision
    machine: str
    points: tuple[Point, ...]
    change: float
    steps: tuple[Step, ...] = ()
    drift: Drift | None = None
    lacking: tuple[tuple[int, str], ...] = ()
    judged: bool = False


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """Cells over Runs.

    Attributes:
        runs: their names, in the order of time.
        cells: each over the Runs that have it.
        boards: of each Run whose boards were found to differ (`twins`) by how much, in a sentence.
            A step is then one of each of them.
    """

    runs: tuple[str, ...]
    cells: tuple[CellTrend, ...]
    boards: tuple[str, ...] = ()


def trend(runs: Sequence[Run], names: Sequence[str] = ()) -> Trend:
    """The cells of Runs over time; the same Run given twice counts once.

    Cells are the same as when two Runs are compared: by name, batch, precision and sides, whatever
    the weights. Cells of unlike machines, runtimes, threads or options are not joined.

    Args:
        runs: in any order.
        names: what they are called; by the time when they began if not given.

    Raises:
        UsageError: there are fewer than two Runs, or no cell is finished in two of them.
    """
    dated = _in_order(runs, names)
    if len(dated) < 2:
        raise UsageError("One Run has no trend.", "Give two or more, such as bench_results/*.json.")
    found = [one for one in _series(dated) if len(one.found) > 1]
    if not found:
        raise UsageError(
            "No cell is finished in two of these Runs on one machine.",
            "Measure the same networks and batches again.",
        )
    return Trend(
        runs=tuple(name for name, _ in dated),
        cells=tuple(_judged(found)),
        boards=tuple(
            f"The boards of {name} differ: {told}. Steps are those of each of them"
            for name, run in dated
            if (told := twins.said(run.measurements))
        ),
    )


def _in_order(runs: Sequence[Run], names: Sequence[str]) -> list[tuple[str, Run]]:
    named_: list[tuple[str, Run]] = []
    for index, run in enumerate(runs):
        if all(run != other for _, other in named_):
            named_.append((names[index] if names else run.study.created, run))
    return sorted(named_, key=lambda one: datetime.fromisoformat(one[1].study.created))


class _Series(NamedTuple):
    """One cell: in which Runs it is, and where it is lacking."""

    question: Question
    machine: str
    found: list[tuple[int, Run, Measurement]]
    lacking: list[tuple[int, str]]

    @property
    def logs(self) -> list[list[float]]:
        """Logarithms of the processes' medians, Run by Run; at the middle of boards that differ."""
        return [
            list(map(math.log, stats.at_middle(one, stats.process_medians_s(one), one.processes)))
            for _, _, one in self.found
        ]


def _series(dated: Sequence[tuple[str, Run]]) -> list[_Series]:
    """Cells in the order in which they first come."""
    double = {key for _, run in dated for key in _double(run)}
    found: dict[tuple[object, ...], _Series] = {}
    for index, (_, run) in enumerate(dated):
        items: tuple[Measurement | Failure, ...] = (*run.measurements, *run.failures)
        for item in items:
            key = (question(item), _machine(run, item))
            more = (item.workload.model.path,) if key in double else ()
            one = found.setdefault((*key, *more), _Series(*key, [], []))
            if isinstance(item, Measurement) and item.finished and item.stopped != "failure":
                one.found.append((index, run, item))
            else:
                why = item.error if isinstance(item, Failure) else "unfinished"
                one.lacking.append((index, why))
    return list(found.values())


def _double(run: Run) -> set[tuple[Question, str]]:
    """What several cells of a Run are called: their files tell them apart."""
    seen: set[tuple[Question, str]] = set()
    twice: set[tuple[Question, str]] = set()
    for item in run.measurements:
        key = (question(item), _machine(run, item))
        (twice if key in seen else seen).add(key)
    return twice


def _machine(run: Run, item: Measurement | Failure) -> str:
    """Where a cell ran, in words."""
    device, target = run.environment.get("device") or {}, item.target
    model = str(device.get("board") or device.get("model") or "unknown device")
    on = f" ({target.on})" if target.where != target.device else ""
    host = "" if target.host == LOCAL else f" at {target.host}"
    streams = f", {target.streams} streams" if target.streams > 1 else ""
    options = f", {named(target.options)}" if target.options else ""
    threads = "1 thread" if target.threads == 1 else f"{target.threads} threads"
    return f"{model}{on}{host}, {target.backend}, {threads}{streams}{options}"


def _judged(every: Sequence[_Series]) -> Iterable[CellTrend]:
    """Each cell, its doubts being those of all."""
    able = [one for one in every if len(one.found) >= series.LEAST]
    cuts = [series.cuts(one.logs) for one in able]
    drifts = [series.drift(one.logs) for one in able]
    sure_cuts = series.sure([found[0][1] if found else 1.0 for found in cuts])
    sure_drifts = series.sure([one.doubt for one in drifts])
    told: dict[int, tuple[tuple[Step, ...], Drift | None]] = {}
    for index, one in enumerate(able):
        steps = _steps(one, cuts[index]) if sure_cuts[index] else ()
        drift = drifts[index] if sure_drifts[index] else None
        told[id(one)] = _better(one, steps, drift)
    for one in every:
        steps, drift = told.get(id(one), ((), None))
        yield _cell(one, steps, drift, judged=id(one) in told)


def _cell(one: _Series, steps: tuple[Step, ...], drift: Drift | None, *, judged: bool) -> CellTrend:
    name, batch, precision, sizes = one.question
    points = tuple(
        Point(
            run=index,
            created=run.study.created,
            seconds=stats.latency_s(measurement),
            processes=len(measurement.samples_s),
        )
        for index, run, measurement in one.found
    )
    return CellTrend(
        network=name + sizes,
        batch=batch,
        precision=precision,
        machine=one.machine,
        points=points,
        change=points[-1].seconds / points[0].seconds - 1,
        steps=steps,
        drift=drift,
        lacking=tuple(one.lacking),
        judged=judged,
    )


def _steps(one: _Series, cuts: Sequence[tuple[int, float]]) -> tuple[Step, ...]:
    """Cuts between levels that differ by more than the tolerance, in the order of time."""
    doubts = dict(cuts)
    medians = [median(own) for own in one.logs]
    places = sorted(doubts)
    while places:
        levels = _levels(medians, places)
        sizes = [
            _on_each_board(after - before, one.found[place - 1][2], one.found[place][2])
            for place, (before, after) in zip(places, pairwise(levels), strict=True)
        ]
        least = min(sizes)
        if least > math.log1p(changes.TOLERANCE):
            break
        del places[sizes.index(least)]
    levels = _levels(medians, places)
    return tuple(
        Step(
            at=place,
            created=one.found[place][1].study.created,
            before_s=math.exp(before),
            after_s=math.exp(after),
            doubt=doubts[place],
            changed=_changed(one.found[place - 1][1:], one.found[place][1:]),
        )
        for place, (before, after) in zip(places, pairwise(levels), strict=True)
    )


def _on_each_board(difference: float, before: Measurement, after: Measurement) -> float:
    """How large a change of the middle of boards that differ is on each of them; below 0: on none.

    Their errors are not in it: what they differ by was found beyond doubt.
    """
    least, most = twins.beyond(before, after)
    return max(difference + least, -(difference + most))


def _levels(medians: Sequence[float], places: Sequence[int]) -> list[float]:
    ends = [0, *places, len(medians)]
    return [fmean(medians[start:end]) for start, end in pairwise(ends)]


def _changed(
    before: tuple[Run, Measurement], after: tuple[Run, Measurement]
) -> tuple[tuple[str, str, str], ...]:
    was, now = _circumstances(*before), _circumstances(*after)
    return tuple((name, was[name], now[name]) for name in was if was[name] != now.get(name))


def _circumstances(run: Run, measurement: Measurement) -> dict[str, str]:
    """Conditions of a cell, the facts of its place, and what its model holds."""
    told = {
        name: value for name, value in conditions(run, [measurement]).items() if name not in _TOLD
    }
    facts = {name: run.environment.get(name, "unknown") for name in _FACTS}
    words = {
        name: named(value) if isinstance(value, Mapping) else str(value)
        for name, value in facts.items()
    }
    boards = ", ".join(twins.boards(run.measurements)) or "one"
    content = measurement.workload.model.sha256[:12] or "unknown"
    return {**told, **words, "boards": boards, "content": content}


def _better(
    one: _Series, steps: tuple[Step, ...], drift: Drift | None
) -> tuple[tuple[Step, ...], Drift | None]:
    """Of steps and a drift that which explains more; both where one of them is not there."""
    if not steps or drift is None:
        return steps, drift
    medians = [median(own) for own in one.logs]
    places = [step.at for step in steps]
    ends = [0, *places, len(medians)]
    levels = _levels(medians, places)
    off = [
        value - level
        for level, (start, end) in zip(levels, pairwise(ends), strict=True)
        for value in medians[start:end]
    ]
    slope = math.log1p(drift.per_run)
    above = [value - slope * number for number, value in enumerate(medians)]
    line = [value - median(above) for value in above]
    by_steps, by_line = series.criterion(off, 2 * len(steps) + 1), series.criterion(line, 2)
    return (steps, None) if by_steps <= by_line else ((), drift)
