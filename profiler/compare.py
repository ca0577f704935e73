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

import msgspec

from nnprof.errors import UsageError
from nnprof.profiler import stats
from nnprof.types import Failure, Measurement, Run, Workload

TOLERANCE = 0.01
SAME = 0.03
ERROR = 0.05  # of calling any cell of a comparison FASTER or SLOWER when none is


class CellComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One cell, before and after.

    Attributes:
        network, batch: which.
        before_s, after_s: seconds per inference.
        ratio: after over before; above 1 is slower.
        low, high: 95 % interval of the ratio, None where a side has a single process.
        verdict: SAME, FASTER, SLOWER or AMBIGUOUS.
    """

    network: str
    batch: int
    before_s: float
    after_s: float
    ratio: float
    low: float | None
    high: float | None
    verdict: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two Runs, before and after.

    Attributes:
        cells: those that both have, in the order of the first.
        geometric_mean: of their ratios.
        missing: cells of the first that the second does not have.
        failed: cells of the first that failed in the second.
        added: cells that only the second has.
        allowed: conditions that differ, and were allowed to: name, before, after.
    """

    cells: tuple[CellComparison, ...]
    geometric_mean: float
    missing: tuple[str, ...]
    failed: tuple[str, ...]
    added: tuple[str, ...]
    allowed: tuple[tuple[str, str, str], ...]

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


def compare(before: Run, after: Run, allow: Iterable[str] = ()) -> Comparison:
    """Compare two Runs cell by cell.

    Raises:
        UsageError: they were measured under unlike conditions that `allow` does not name, or have
            no cell in common.
    """
    unlike = _unlike(before, after)
    refused = [item for item in unlike if item[0] not in set(allow)]
    if refused:
        listed = "; ".join(f"{name}: {was} and {now}" for name, was, now in refused)
        flags = " ".join(f"--allow {name}" for name, _, _ in refused)
        raise UsageError(
            f"The two Runs were measured under unlike conditions ({listed}).",
            f"If that difference is what you compare, add {flags}.",
        )
    old, new = _finished(before), _finished(after)
    common = [key for key in old if key in new]
    if not common:
        raise UsageError(
            "The two Runs have no finished cell in common.",
            "Measure the same networks and batches.",
        )
    changes = [_change(old[key], new[key]) for key in common]
    called = _holm([_doubt(change) for change in changes])
    cells = tuple(
        _cell(old[key], new[key], change, sure)
        for key, change, sure in zip(common, changes, called, strict=True)
    )
    failed = {_question(failure) for failure in after.failures} & set(old) - set(new)
    return Comparison(
        cells=cells,
        geometric_mean=math.exp(fmean(math.log(cell.ratio) for cell in cells)),
        missing=_names(old, [key for key in old if key not in new and key not in failed]),
        failed=_names(old, [key for key in old if key in failed]),
        added=_names(new, [key for key in new if key not in old]),
        allowed=tuple(unlike),
    )


# --- conditions -----------------------------------------------------------------------------------


def conditions(run: Run) -> dict[str, str]:
    """What must be alike for numbers to be compared; unknown is "unknown"."""
    device, backend = (run.environment.get(part) or {} for part in ("device", "backend"))
    measured = run.measurements
    return {
        "backend": _joined(m.target.backend for m in measured),
        "version": str(backend.get("version", "unknown")),
        "device": str(device.get("board") or device.get("model", "unknown")),
        "clock": _joined(m.clock for m in measured),
        "threads": _joined(m.target.threads for m in measured),
        "precision": _joined(m.workload.precision for m in measured),
        "transfers": _joined(m.facts.get("transfers", "unknown") for m in measured),
        "power": _joined(p.before.power_mode or "unknown" for m in measured for p in m.processes),
    }


def _joined(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values}))


def _unlike(before: Run, after: Run) -> list[tuple[str, str, str]]:
    now = conditions(after)
    return [(name, was, now[name]) for name, was in conditions(before).items() if was != now[name]]


# --- cells ----------------------------------------------------------------------------------------

_Key = tuple[str, int, str, str]


def _question(item: Measurement | Failure) -> _Key:
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


def _finished(run: Run) -> dict[_Key, Measurement]:
    return {_question(m): m for m in run.measurements if m.finished and m.stopped != "failure"}


def _names(cells: dict[_Key, Measurement], keys: Iterable[_Key]) -> tuple[str, ...]:
    return tuple(f"{cells[key].workload.model.name}, batch {key[1]}{key[3]}" for key in keys)


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
    before: Measurement, after: Measurement, change: _Change | None, sure: bool
) -> CellComparison:
    before_s, after_s = stats.latency_s(before), stats.latency_s(after)
    ratio = math.exp(change.difference) if change else after_s / before_s
    bounds = _bounds(change, 0.95) if change else None
    return CellComparison(
        network=before.workload.model.name,
        batch=before.workload.batch,
        before_s=before_s,
        after_s=after_s,
        ratio=ratio,
        low=bounds[0] if bounds else None,
        high=bounds[1] if bounds else None,
        verdict=_verdict(change, ratio, sure),
    )


def _verdict(change: _Change | None, ratio: float, sure: bool) -> str:
    if change is None:
        return "AMBIGUOUS"
    if sure:
        return "SLOWER" if ratio > 1 else "FASTER"
    low, high = _bounds(change, 0.90)  # 90 %: each of the two one-sided tests has 5 %
    return "SAME" if low > 1 / (1 + SAME) and high < 1 + SAME else "AMBIGUOUS"


def _bounds(change: _Change, level: float) -> tuple[float, float]:
    from scipy.stats import t

    reach = float(t.ppf((1 + level) / 2, change.freedom)) * change.error
    return math.exp(change.difference - reach), math.exp(change.difference + reach)
