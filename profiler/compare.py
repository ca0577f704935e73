"""Two Runs of the same cells: which became faster, which slower, and which cannot be told.

The process is the unit, as everywhere. For each cell the logarithms of the processes' medians are
compared by Welch's t (1947), which needs neither equal counts nor equal spread. A cell is called
FASTER or SLOWER when its change is beyond doubt larger than `TOLERANCE`, a shift that the same code
shows from one hour to the next on a shared machine; the doubt is that of all cells together, by
Holm's procedure (1979). It is SAME when its interval lies within `SAME` (two one-sided tests,
Schuirmann 1987), and AMBIGUOUS when neither can be said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Literal, TypeAlias

import msgspec

from nnprof.errors import UsageError
from nnprof.profiler import stats
from nnprof.profiler.conditions import MISSING, differences, pairs
from nnprof.types import Cell, Failure, Measurement, Precision, Run, Workload

TOLERANCE = 0.01


SAME = 0.03


ERROR = 0.05  # of calling any cell of a comparison FASTER or SLOWER when none is


Verdict: TypeAlias = Literal["SAME", "FASTER", "SLOWER", "AMBIGUOUS"]


class CellComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One cell, before and after.

    Attributes:
        network, batch, precision: which; a network that shares its name is told by its file, too.
        before_s, after_s: seconds per inference.
        ratio: after over before; above 1 is slower.
        low, high: 95 % interval of the ratio, None where a side has a single process.
        verdict: SAME, FASTER, SLOWER or AMBIGUOUS.
        reason: why it is AMBIGUOUS, else empty.
        edited: whether the model has another content than before, under the same name.
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
    """

    cells: tuple[CellComparison, ...]
    geometric_mean: float
    missing: tuple[str, ...]
    failed: tuple[str, ...]
    added: tuple[str, ...]
    allowed: tuple[tuple[str, str, str], ...]
    failed_before: tuple[str, ...] = ()
    alike: dict[str, str] = {}

    def is_worse(self, beyond: float, allow: Iterable[str] = ()) -> bool:
        """Whether a cell regressed beyond a share, failed, or is gone without leave."""
        gone = self.missing and MISSING not in allow
        return bool(gone or self.failed or self.regressions(beyond))

    def regressions(self, beyond: float) -> tuple[CellComparison, ...]:
        """Cells called SLOWER whose ratio is above 1 + `beyond`."""
        return tuple(
            cell for cell in self.cells if cell.verdict == "SLOWER" and cell.ratio > 1 + beyond
        )


class _Change(msgspec.Struct, frozen=True):
    """A difference of logarithms, its standard error and degrees of freedom."""

    difference: float
    error: float
    freedom: float


def compare(before: Run, after: Run, *, allow: Iterable[str] = ()) -> Comparison:
    """Compare two Runs cell by cell.

    Raises:
        UsageError: they were measured under unlike conditions that `allow` does not name, have no
            cell in common, or several that nothing tells apart.
        UnknownName: `allow` names no condition.
    """
    pairs = _paired(_finished(before), _finished(after))
    if not pairs:
        differences(before, after, before.measurements, after.measurements, set(allow))
        raise UsageError(
            "The two Runs have no finished cell in common. "
            f"Before: {_listed(before)}; after: {_listed(after)}.",
            "Measure the same networks and batches.",
        )
    both = [old for old, _ in pairs], [new for _, new in pairs]
    alike, unlike = differences(before, after, *both, set(allow))
    changes = [_change(old, new) for old, new in pairs]
    called = _holm([_doubt(change) for change in changes])
    names = _Names((before, after))
    cells = tuple(
        _cell(names, old, new, change, sure)
        for (old, new), change, sure in zip(pairs, changes, called, strict=True)
    )
    gone = _without(before.measurements, [old for old, _ in pairs])
    come = _without(_finished(after), [new for _, new in pairs])
    failed = [_question(failure) for failure in after.failures]
    return Comparison(
        cells=cells,
        geometric_mean=math.exp(fmean(math.log(cell.ratio) for cell in cells)),
        missing=names.of(one for one in gone if _question(one) not in failed and _is_done(one)),
        failed=names.of(after.failures),
        failed_before=names.of(one for one in before.failures if _question(one) not in failed),
        added=names.of(come),
        allowed=tuple(unlike),
        alike=alike,
    )


_Question = tuple[str, int, str, str]


_Pair = tuple[Measurement, Measurement]


def _question(item: Measurement | Failure) -> _Question:
    """What a cell is called: the same for a model that was edited."""
    work = item.workload
    return work.model.name, work.batch, work.precision, _sides(work)


def _sides(work: Workload) -> str:
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


def _finished(run: Run) -> list[Measurement]:
    return [one for one in run.measurements if _is_done(one)]


def _paired(before: Sequence[Measurement], after: Sequence[Measurement]) -> list[_Pair]:
    """Cells of both, in the order of the first.

    A name may stand for several cells of a Run (files of one name in two folders). The same content
    on the same target is the same cell; then the same file; then those of which one is left.

    Raises:
        UsageError: several are left on both sides.
    """
    partner: dict[int, Measurement] = {}
    for question in dict.fromkeys(map(_question, before)):
        old = [one for one in before if _question(one) == question]
        new = [one for one in after if _question(one) == question]
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
                f"The Runs have {len(old)} and {len(new)} cells called {question[0]}, batch "
                f"{question[1]}, and nothing tells which is which.",
                "Give the files names of their own, and measure again.",
            )
    return [(one, partner[id(one)]) for one in before if id(one) in partner]


def _key(measurement: Measurement) -> str:
    return Cell(workload=measurement.workload, target=measurement.target).key


def _file(measurement: Measurement) -> tuple[str, str]:
    target = measurement.target
    return measurement.workload.model.path, f"{target.threads} {pairs(target.options)}"


def _without(all_: Iterable[Measurement], some: Sequence[Measurement]) -> list[Measurement]:
    taken = set(map(id, some))
    return [one for one in all_ if id(one) not in taken]


def _listed(run: Run) -> str:
    names = dict.fromkeys(
        f"{name}, batch {batch}" for name, batch, *_ in map(_question, _finished(run))
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
            more = ("" if work.precision == "fp32" else f", {work.precision}") + _sides(work)
            named.append(f"{self.network(item)}, batch {work.batch}{more}")
        return tuple(named)


def _change(before: Measurement, after: Measurement) -> _Change | None:
    """None where a side has a single process, of which nothing can be said."""
    old, new = stats.level(before), stats.level(after)
    if old is None or new is None:
        return None
    # Welch-Satterthwaite; sides without any spread (a fake clock) leave no doubt at all.
    parts = [(side.error**2, side.freedom) for side in (old, new)]
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / own for part, own in parts) if total else 1.0
    return _Change(new.log - old.log, math.sqrt(total), freedom)


def _doubt(change: _Change | None) -> float:
    """p-value of "the cell changed by no more than TOLERANCE", one-sided at the nearer edge."""
    from scipy.stats import t

    if change is None:
        return 1.0
    beyond = abs(change.difference) - math.log1p(TOLERANCE)
    if not change.error:
        return 0.0 if beyond > 0 else 1.0
    return float(t.sf(beyond / change.error, change.freedom))


def _holm(doubts: Sequence[float]) -> list[bool]:
    """Which hypotheses Holm's step-down procedure rejects at the error of the whole family."""
    order = sorted(range(len(doubts)), key=doubts.__getitem__)
    rejected = [False] * len(doubts)
    for rank, index in enumerate(order):
        if doubts[index] > ERROR / (len(doubts) - rank):
            break
        rejected[index] = True
    return rejected


def _cell(
    names: _Names, before: Measurement, after: Measurement, change: _Change | None, sure: bool
) -> CellComparison:
    before_s, after_s = stats.latency_s(before), stats.latency_s(after)
    ratio = math.exp(change.difference) if change else after_s / before_s
    bounds = _bounds(change, 0.95) if change else None
    verdict = _verdict(change, ratio, sure)
    models = before.workload.model, after.workload.model
    return CellComparison(
        network=names.network(before),
        batch=before.workload.batch,
        precision=before.workload.precision,
        before_s=before_s,
        after_s=after_s,
        ratio=ratio,
        low=bounds[0] if bounds else None,
        high=bounds[1] if bounds else None,
        verdict=verdict,
        reason=_reason(before, after, change) if verdict == "AMBIGUOUS" else "",
        edited=all(one.sha256 for one in models) and models[0].sha256 != models[1].sha256,
    )


def _verdict(change: _Change | None, ratio: float, sure: bool) -> Verdict:
    if change is None:
        return "AMBIGUOUS"
    if sure:
        return "SLOWER" if ratio > 1 else "FASTER"
    low, high = _bounds(change, 0.90)  # 90 %: each of the two one-sided tests has 5 %
    return "SAME" if low > 1 / (1 + SAME) and high < 1 + SAME else "AMBIGUOUS"


def _reason(before: Measurement, after: Measurement, change: _Change | None) -> str:
    if change is None:
        sides = {"before": before, "after": after}
        lacking = [name for name, one in sides.items() if len(one.samples_s) < 2]
        imported = any(sides[name].stopped == "imported" for name in lacking)
        what = "a single time was imported" if imported else "there is a single process"
        return f"{what} ({' and '.join(lacking)}), which tells no spread"
    return "its interval is too wide to tell a change from none"


def _bounds(change: _Change, level: float) -> tuple[float, float]:
    from scipy.stats import t

    reach = float(t.ppf((1 + level) / 2, change.freedom)) * change.error
    return math.exp(change.difference - reach), math.exp(change.difference + reach)
