"""Two Runs of the same cells: which became faster, which slower, and which cannot be told.

`changes` says what a change is and when it is beyond doubt. Here cells are matched, conditions held
against each other, and what only one Run has is named. Two Runs whose processes alternated
(`pairs`) are compared pair by pair; their cells are matched by position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, median

import msgspec

from nnprof.errors import UsageError
from nnprof.profiler import changes, pairs, stats, twins
from nnprof.profiler.changes import Change, Verdict
from nnprof.profiler.conditions import MISSING, conditions, differences, named
from nnprof.types import Cell, Failure, Measurement, Precision, Run, Workload


class CellComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One cell, before and after.

    Attributes:
        network, batch, precision: which; a network that shares its name is told by its file, too.
        before_s, after_s: seconds per inference; of pairs, where nothing disturbs it (`pairs`).
        ratio: after over before; above 1 is slower.
        low, high: 95 % interval of the ratio, None where a side has a single process.
        verdict: SAME, FASTER, SLOWER or AMBIGUOUS.
        reason: why it is AMBIGUOUS, else empty.
        edited: whether the model has another content than before, under the same name.
        after: the network after, where it is another one than before: of paired Runs.
        pairs: of processes that the ratio is made of, None where they did not alternate.
        needed: pairs that would call a change of `RESOLUTION`, were it there, in 9 of 10 cases;
            None where that is not known.
    """

    network: str
    batch: int
    precision: Precision = "fp32"
    before_s: float
    after_s: float
    ratio: float
    low: float | None
    high: float | None
    verdict: Verdict
    reason: str = ""
    edited: bool = False
    after: str = ""
    pairs: int | None = None
    needed: int | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two Runs, before and after.

    Attributes:
        cells: those that both have, in the order of the first.
        geometric_mean: of their ratios.
        missing: cells that the first has, and the second neither has nor tells why not.
        failed: cells that failed in the second.
        failed_before: cells that failed in the first, and not in the second.
        added: cells that only the second has.
        allowed: conditions that differ, and were allowed to: name, before, after.
        alike: the other conditions, by name.
        paired: whether the processes of the two alternated, so that a ratio is that of its pairs.
        boards: of each Run whose boards were found to differ (`twins`) by how much, in a sentence.
            Verdicts and intervals are then about each of them.
    """

    cells: tuple[CellComparison, ...]
    geometric_mean: float
    missing: tuple[str, ...]
    failed: tuple[str, ...]
    added: tuple[str, ...]
    allowed: tuple[tuple[str, str, str], ...]
    failed_before: tuple[str, ...] = ()
    alike: dict[str, str] = {}
    paired: bool = False
    boards: tuple[str, ...] = ()

    def is_worse(self, beyond: float, allow: Iterable[str] = ()) -> bool:
        """Whether a cell regressed beyond a share, failed, or is gone without leave."""
        gone = self.missing and MISSING not in allow
        return bool(gone or self.failed or self.regressions(beyond))

    def regressions(self, beyond: float) -> tuple[CellComparison, ...]:
        """Cells called SLOWER whose ratio is above 1 + `beyond`."""
        return tuple(
            cell for cell in self.cells if cell.verdict == "SLOWER" and cell.ratio > 1 + beyond
        )


def compare(before: Run, after: Run, *, allow: Iterable[str] = ()) -> Comparison:
    """Compare two Runs cell by cell; of those measured in pairs, pair by pair.

    The two sides of a paired measurement may differ in all conditions: that is what they are for.

    Raises:
        UsageError: they were measured under unlike conditions that `allow` does not name, have no
            cell in common, or several that nothing tells apart.
        UnknownName: `allow` names no condition.
    """
    paired = pairs.are_sides(before, after)
    found = sides(before, after) if paired else _matched(finished(before), finished(after))
    if not found:
        if not paired:  # what their conditions tell comes first
            differences(before, after, before.measurements, after.measurements, set(allow))
        raise UsageError(
            "The two Runs have no finished cell in common. "
            f"Before: {_listed(before)}; after: {_listed(after)}.",
            "Measure the same networks and batches.",
        )
    both = [old for old, _ in found], [new for _, new in found]
    leave = {*allow, *(conditions(before) if paired else ())}
    alike, unlike = differences(before, after, *both, leave)
    names = _Names((before, after))
    cells = _compared(names, found, paired=paired)
    failed = [question(failure) for failure in after.failures]
    gone = _without(before.measurements, both[0])
    return Comparison(
        cells=cells,
        geometric_mean=math.exp(fmean(math.log(cell.ratio) for cell in cells)),
        missing=names.of(one for one in gone if question(one) not in failed and _is_done(one)),
        failed=names.of(after.failures),
        failed_before=names.of(one for one in before.failures if question(one) not in failed),
        added=names.of(_without(finished(after), both[1])),
        allowed=tuple(unlike),
        alike=alike,
        paired=paired,
        boards=tuple(_boards(before, after)),
    )


def _boards(before: Run, after: Run) -> Iterable[str]:
    """What is to be known of boards that differ, of each Run."""
    for when, run in (("before", before), ("after", after)):
        if told := twins.said(run.measurements):
            yield f"The boards of the Run {when} differ: {told}. Verdicts hold for each of them"


Question = tuple[str, int, Precision, str]


_Pair = tuple[Measurement, Measurement]


def question(item: Measurement | Failure) -> Question:
    """What a cell is called: the same for a model that was edited."""
    work = item.workload
    return work.model.name, work.batch, work.precision, _sizes(work)


def _sizes(work: Workload) -> str:
    """What stood for the free sides: the sizes given, and which of them is the batch."""
    axes = work.model.axes
    found = [f"{name}={side}" for name, side in sorted(work.dims.items())]
    found += [
        f"batch on axis {axis} of {one.name}"
        for one in work.model.inputs
        if (axis := axes.get(one.name, 0)) and isinstance(one.shape[axis], str)
    ]
    return "".join(f", {one}" for one in found)


def _is_done(measurement: Measurement) -> bool:
    return measurement.finished and measurement.stopped != "failure"


def finished(run: Run) -> list[Measurement]:
    """The cells of a Run that are measured to their end."""
    return [one for one in run.measurements if _is_done(one)]


def sides(before: Run, after: Run) -> list[_Pair]:
    """Cells of two Runs that alternated: those of the same position, where both are finished."""
    done = [{_key(one): one for one in finished(run)} for run in (before, after)]
    keys = [[cell.key for cell in run.study.cells] for run in (before, after)]
    return [
        (done[0][old], done[1][new])
        for old, new in zip(*keys, strict=True)
        if old in done[0] and new in done[1]
    ]


def _matched(before: Sequence[Measurement], after: Sequence[Measurement]) -> list[_Pair]:
    """Cells of both, in the order of the first.

    A name may stand for several cells of a Run (files of one name in two folders). The same content
    on the same target is the same cell; then the same file; then those of which one is left.

    Raises:
        UsageError: several are left on both sides.
    """
    partner: dict[int, Measurement] = {}
    for asked in dict.fromkeys(map(question, before)):
        old = [one for one in before if question(one) == asked]
        new = [one for one in after if question(one) == asked]
        for alike in (_key, _file):
            for one in list(old):
                same = [other for other in new if alike(other) == alike(one)]
                rivals = [other for other in old if alike(other) == alike(one)]
                if len(same) == len(rivals) == 1:
                    partner[id(one)] = same[0]
                    old.remove(one)
                    new.remove(same[0])
        if len(old) == len(new) == 1:
            partner[id(old[0])] = new[0]
        elif old and new and len(old) + len(new) > 2:
            raise UsageError(
                f"The Runs have {len(old)} and {len(new)} cells called {asked[0]}, batch "
                f"{asked[1]}, and nothing tells which is which.",
                "Give the files names of their own, and measure again.",
            )
    return [(one, partner[id(one)]) for one in before if id(one) in partner]


def _key(measurement: Measurement) -> str:
    return Cell(workload=measurement.workload, target=measurement.target).key


def _file(measurement: Measurement) -> tuple[str, str]:
    target = measurement.target
    how = f"{target.on} {target.threads} {named(target.options)}"
    return measurement.workload.model.path, how


def _without(all_: Iterable[Measurement], some: Sequence[Measurement]) -> list[Measurement]:
    taken = set(map(id, some))
    return [one for one in all_ if id(one) not in taken]


def _listed(run: Run) -> str:
    names = dict.fromkeys(
        f"{name}, batch {batch}" for name, batch, *_ in map(question, finished(run))
    )
    return "; ".join([*names][:3]) + (" …" if len(names) > 3 else "") if names else "none"


class _Names:
    """What cells are called where people read: by their files where names are not enough."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._double: set[str] = set()
        for run in runs:
            files: dict[str, set[str]] = {}
            cells: tuple[Measurement | Failure, ...] = (*run.measurements, *run.failures)
            for one in cells:
                files.setdefault(one.workload.model.name, set()).add(one.workload.model.path)
            self._double |= {name for name, own in files.items() if len(own) > 1}

    def network(self, item: Measurement | Failure) -> str:
        """Of the cell's model."""
        model = item.workload.model
        return f"{model.name} ({model.path})" if model.name in self._double else model.name

    def of(self, items: Iterable[Measurement | Failure]) -> tuple[str, ...]:
        """Of whole cells."""
        named = []
        for item in items:
            work = item.workload
            more = ("" if work.precision == "fp32" else f", {work.precision}") + _sizes(work)
            named.append(f"{self.network(item)}, batch {work.batch}{more}")
        return tuple(named)


def _compared(names: _Names, found: Sequence[_Pair], *, paired: bool) -> tuple[CellComparison, ...]:
    differs = [(changes.by_pairs if paired else changes.apart)(*one) for one in found]
    called = changes.holm([changes.doubt(change) for change in differs])
    return tuple(
        _cell(names, one, change, changes.verdict(change, sure=sure), len(found))
        for one, change, sure in zip(found, differs, called, strict=True)
    )


def _cell(
    names: _Names, found: _Pair, change: Change | None, verdict: Verdict, among: int
) -> CellComparison:
    before, after = found
    before_s, after_s = (_level_s(one, change) for one in found)
    bounds = changes.bounds(change, 0.95) if change else None
    models = before.workload.model, after.workload.model
    name, new_name = (names.network(one) for one in found)
    return CellComparison(
        network=name,
        batch=before.workload.batch,
        precision=before.workload.precision,
        before_s=before_s,
        after_s=after_s,
        ratio=change.ratio if change else after_s / before_s,
        low=bounds[0] if bounds else None,
        high=bounds[1] if bounds else None,
        verdict=verdict,
        reason=_reason(before, after, change) if verdict == "AMBIGUOUS" else "",
        edited=(
            name == new_name
            and before.workload.precision == after.workload.precision
            and all(one.sha256 for one in models)
            and models[0].sha256 != models[1].sha256
        ),
        after="" if name == new_name else new_name,
        pairs=change.pairs if change else None,
        needed=changes.needed(change, among),
    )


def _level_s(measurement: Measurement, change: Change | None) -> float:
    if change is None or change.pairs is None:
        return stats.latency_s(measurement)
    return median(pairs.levels_s(measurement).values())


def _reason(before: Measurement, after: Measurement, change: Change | None) -> str:
    if change is None:
        sides = {"before": before, "after": after}
        lacking = [name for name, one in sides.items() if len(one.samples_s) < 2]
        imported = any(sides[name].stopped == "imported" for name in lacking)
        what = "a single time was imported" if imported else "there is a single process"
        return f"{what} ({' and '.join(lacking)}), which tells no spread"
    more = "; --rigorous takes more pairs" if change.pairs else ""
    more = ", for it holds boards that differ" if change.least or change.most else more
    return f"its interval is too wide to tell a change from none{more}"
