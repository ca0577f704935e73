"""What windows of work without a rest say: since when it is steady, how much slower than at first.

The unit is the window: inferences that follow each other share clocks and temperature. The medians
of the windows are cut where their level changes (`stats.changepoints`: optimal partitioning, the
exact form of PELT, Killick et al. 2012). As Barrett et al. 2017 have it ("Virtual machine warmup
blows hot and cold"), the steady state is the last level, with those before it that are equivalent:
within `TOLERANCE`. It must last a fifth of the time and `LEAST` windows, and be steady by
`stats.classify`.

How much slower it is than the first minute is a ratio of geometric means. Neighbouring windows are
alike, so n of them tell as little as n(1-r)/(1+r) independent ones, where r is the correlation of
neighbours (Bayley & Hammersley 1946, "The effective number of independent observations in an
autocorrelated time series"). It is estimated in the steady state, and its bias of -(1+3r)/n taken
off (Marriott & Pope 1954). The interval is Welch's, as for all ratios here (`changes`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import sub
from statistics import fmean, median, stdev
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from nnprof.profiler import changes, stats
from nnprof.profiler.shares import Estimate, Share, clustered
from nnprof.types import Process, Window

TOLERANCE = 0.02  # levels that differ by less are one
LEAST = 5  # windows that a level lasts: fewer are no level
SHARE = 0.2  # of the time that the steady state lasts at least
FIRST_S = 60.0  # what the steady state is held against; a fifth of the time where that is less
_FIRST = 3  # windows of it at least: fewer tell no spread
_NOISE = 0.001  # of a window's median at least: on less no cut is made
_CLOCK = 0.05  # a clock that is lower by more was lowered
_GAP = 2  # windows without a sign of throttling between two with one, in one time of it
_MOST_ALIKE = 0.9  # correlation of neighbours; few windows can tell no more

# What a reading may say of the machine, and what people call it.
SENSORS = {
    "clock_hz": "clock",
    "temperature_c": "temperature",
    "throttles": "throttling",
    "power_w": "power",
}

End: TypeAlias = Literal["steady", "drifting", "bimodal", "not_reached", "too_short"]


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """A change of level: when, in seconds since the beginning, from how long to how long."""

    at_s: float
    before_s: float
    after_s: float


class Throttle(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which the device held itself back, or its clock was lower than before.

    Attributes:
        at_s, until_s: the beginning of the first window in which that was seen, and the end of the
            last one.
        events: that the device counted meanwhile; None where it does not count.
        alerts: what throttled, by the kernel's names.
        clock_hz: before and meanwhile, as medians; None where that is not known.
        latency_s: the same of the latency; None where there was no window before.
    """

    at_s: float
    until_s: float
    events: int | None
    alerts: tuple[str, ...]
    clock_hz: tuple[float, float] | None
    latency_s: tuple[float, float] | None


class Sustained(msgspec.Struct, frozen=True, kw_only=True):
    """Work without a rest, summed up.

    Attributes:
        planned_s, done_s: how long it was to last, and lasted.
        end: the state at the end; "too_short" where there are too few windows to tell.
        since_s: the beginning of the steady state, None where there is none.
        first_until_s: the end of the windows that `first_s` is of: about a minute.
        first_s, steady_s: seconds per inference then, and in the steady state; where there is
            none, in the last windows.
        ratio, low, high: the latter over the former, with its 95 % interval; None where there is
            no steady state.
        shifts: changes of level.
        throttles: as far as the device tells.
        unseen: what could not be seen, and why.
        waited: share of the time that other programs had our processor; None: nobody counts that.
    """

    planned_s: float
    done_s: float
    end: End
    since_s: float | None
    first_until_s: float
    first_s: float
    steady_s: float
    ratio: float | None
    low: float | None
    high: float | None
    shifts: tuple[Shift, ...]
    throttles: tuple[Throttle, ...]
    unseen: dict[str, str]
    waited: float | None


def found(process: Process, planned_s: float) -> Sustained | None:
    """What the windows of a process say; None where it has none.

    Args:
        process: that worked without a rest.
        planned_s: for how long it was to do so.
    """
    windows = process.windows
    if not windows:
        return None
    starts = _starts([one.median_s for one in windows])
    end, since = _end(windows, starts)
    first = _first(windows)
    steady = windows[max(since, first) if end == "steady" else -LEAST :]
    ratio = _ratio(windows[:first], steady) if end == "steady" else (None, None, None)
    waits = [one.waited_s for one in windows if one.waited_s is not None]
    return Sustained(
        planned_s=planned_s,
        done_s=end_s(windows[-1]),
        end=end,
        since_s=windows[since].at_s if end == "steady" else None,
        first_until_s=end_s(windows[first - 1]),
        first_s=_level_s(windows[:first]),
        steady_s=_level_s(steady),
        ratio=ratio[0],
        low=ratio[1],
        high=ratio[2],
        shifts=_shifts(windows, starts),
        throttles=throttled(process),
        unseen=_unseen(process),
        waited=sum(waits) / sum(one.seconds for one in windows) if waits else None,
    )


def end_s(window: Window) -> float:
    """The end of a window, in seconds since the beginning."""
    return window.at_s + window.seconds


def steady_windows(process: Process) -> tuple[Window, ...]:
    """The windows of the steady state; () where there is none."""
    end, since = _end(process.windows, _starts([one.median_s for one in process.windows]))
    return process.windows[since:] if end == "steady" else ()


class AtEnd(NamedTuple):
    """The steady state, or where there is none the last fifth of the time, for a verdict.

    Attributes:
        why: why it is no steady state; empty where it is.
        median: seconds per inference with the interval over windows, of this one process.
        p99_s: median of the windows' 99th percentiles; None where windows have too few inferences.
        missed: share that took longer than the plan's deadline, None without one.
        inferences: in these windows.
        effective: how many independent ones they are worth.
    """

    why: str
    median: Estimate
    p99_s: float | None
    missed: Share | None
    inferences: int
    effective: float


def at_end(process: Process) -> AtEnd | None:
    """What a time budget is held against; None with fewer than two windows."""
    windows = process.windows
    if len(windows) < 2:
        return None
    end, since = _end(windows, _starts([one.median_s for one in windows]))
    last = math.floor((1 - SHARE) * len(windows))
    some = windows[since if end == "steady" else min(last, len(windows) - 2) :]
    level = _level(some, _alike([math.log(one.median_s) for one in some]))
    reach = stats.t_975(level.freedom) * level.error
    ends = (level.log - reach, level.log, level.log + reach)
    low, middle, high = map(math.exp, ends)
    tails = [one.p99_s for one in some if one.p99_s is not None]
    sizes, hits = [one.inferences for one in some], [one.missed for one in some]
    known = [one for one in hits if one is not None]
    alike = _alike([one / size for one, size in zip(known, sizes, strict=False)]) if known else 0.0
    effective = sum(sizes) * (1 - alike) / (1 + alike)
    return AtEnd(
        why="" if end == "steady" else f"not steady at the end: {end.replace('_', ' ')}",
        median=Estimate(middle, low, high),
        p99_s=median(tails) if len(tails) == len(some) else None,
        missed=clustered(known, sizes, effective, alike) if len(known) == len(some) else None,
        inferences=sum(sizes),
        effective=effective,
    )


def beginnings(process: Process) -> set[float]:
    """When a level, or a time of throttling, begins."""
    starts = _starts([one.median_s for one in process.windows])
    levels = {process.windows[start].at_s for start in starts}
    return levels | {one.at_s for one in throttled(process)}


def throttled(process: Process) -> tuple[Throttle, ...]:
    """Times with signs of throttling in their windows."""
    signs = [index for index, sign in enumerate(_signs(process)) if sign]
    groups: list[list[int]] = []
    for index in signs:
        if groups and index - groups[-1][-1] <= _GAP + 1:
            groups[-1].append(index)
        else:
            groups.append([index])
    return tuple(_throttle(process, group[0], group[-1] + 1) for group in groups)


def _starts(medians: Sequence[float]) -> list[int]:
    """Where the levels begin; neighbours that are equivalent are one."""
    cuts = [0, *stats.changepoints(medians, _NOISE), len(medians)]
    starts = [0]
    for cut, end in pairwise(cuts[1:]):
        before, after = median(medians[starts[-1] : cut]), median(medians[cut:end])
        if abs(after / before - 1) > TOLERANCE:
            starts.append(_nearest(medians, starts[-1], end, (before, after)))
    return starts


def _nearest(medians: Sequence[float], start: int, end: int, levels: tuple[float, float]) -> int:
    """Where one level gives way to the other: least absolute deviations.

    Values that are clipped, as for `stats.changepoints`, leave that open by a window.
    """
    off = [[abs(value - level) for value in medians[start:end]] for level in levels]
    # Each place costs what lies before it off the first level, and what lies behind off the second.
    costs = list(accumulate(map(sub, *off), initial=sum(off[1])))
    return start + min(range(1, end - start), key=costs.__getitem__)


def _end(windows: Sequence[Window], starts: Sequence[int]) -> tuple[End, int]:
    """The state at the end, and the first window of the last level."""
    medians, since = [one.median_s for one in windows], starts[-1]
    if len(windows) < 2 * LEAST:
        return "too_short", since
    lasts_s = end_s(windows[-1]) - windows[since].at_s
    if len(windows) - since < LEAST or lasts_s < SHARE * end_s(windows[-1]):
        whole = stats.classify(medians)
        return "not_reached" if whole == "steady" else whole, since
    return stats.classify(medians[since:]), since


def _first(windows: Sequence[Window]) -> int:
    """How many windows the first minute has."""
    until_s = min(FIRST_S, SHARE * end_s(windows[-1])) * 1.001  # a window ends a little late
    count = sum(end_s(one) <= until_s for one in windows)
    return min(max(count, _FIRST), len(windows))


def _level_s(windows: Sequence[Window]) -> float:
    return math.exp(fmean(math.log(one.median_s) for one in windows))


def _ratio(first: Sequence[Window], steady: Sequence[Window]) -> tuple[float, float, float]:
    """Steady over first, and its 95 % interval."""
    alike = _alike([math.log(one.median_s) for one in steady])
    change = changes.between(_level(first, alike), _level(steady, alike))
    reach = stats.t_975(max(1, math.floor(change.freedom))) * change.error
    low, high = change.difference - reach, change.difference + reach
    return change.ratio, math.exp(low), math.exp(high)


def _level(windows: Sequence[Window], alike: float) -> stats.Level:
    logs = [math.log(one.median_s) for one in windows]
    count = len(logs) * (1 - alike) / (1 + alike)
    return stats.Level(fmean(logs), stdev(logs) / math.sqrt(count), max(1, math.floor(count) - 1))


def _alike(values: Sequence[float]) -> float:
    """Correlation of neighbours, from 0 to 0.9."""
    middle, count = fmean(values), len(values)
    rest = [value - middle for value in values]
    spread = sum(one * one for one in rest)
    if not spread or count < LEAST:
        return 0.0
    told = sum(one * other for one, other in pairwise(rest)) / spread
    return min(_MOST_ALIKE, max(0.0, (count * told + 1) / (count - 3)))


def _shifts(windows: Sequence[Window], starts: Sequence[int]) -> tuple[Shift, ...]:
    ends = [*starts[1:], len(windows)]
    levels = [
        median(one.median_s for one in windows[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]
    return tuple(
        Shift(at_s=windows[start].at_s, before_s=before, after_s=after)
        for start, (before, after) in zip(starts[1:], pairwise(levels), strict=True)
    )


def _signs(process: Process) -> list[bool]:
    """Of each window whether the device counted events, gave alerts, or had a lower clock."""
    windows, counts = process.windows, _counts(process)
    clocks = [one.reading.clock_hz for one in windows]
    normal = max((clock for clock in clocks[:_FIRST] if clock), default=0.0)
    return [
        bool(window.reading.alerts)
        or _more(counts[index], counts[index + 1])
        or bool(clock and clock < (1 - _CLOCK) * normal)
        for index, (window, clock) in enumerate(zip(windows, clocks, strict=True))
    ]


def _more(before: int | None, after: int | None) -> bool:
    return before is not None and after is not None and after > before


def _counts(process: Process) -> list[int | None]:
    """Events since boot, before the first window and after each."""
    return [process.after.throttles, *(one.reading.throttles for one in process.windows)]


def _throttle(process: Process, start: int, end: int) -> Throttle:
    windows, counts = process.windows, _counts(process)
    first, last = counts[start], counts[end]
    within, before = windows[start:end], windows[:start]
    clocks = [
        [one.reading.clock_hz for one in some if one.reading.clock_hz] for some in (before, within)
    ]
    return Throttle(
        at_s=windows[start].at_s,
        until_s=end_s(windows[end - 1]),
        events=None if first is None or last is None else last - first,
        alerts=tuple(sorted({alert for one in within for alert in one.reading.alerts})),
        clock_hz=(median(clocks[0]), median(clocks[1])) if all(clocks) else None,
        latency_s=(
            (median(one.median_s for one in before), median(one.median_s for one in within))
            if before
            else None
        ),
    )


def _unseen(process: Process) -> dict[str, str]:
    return {
        name: process.before.unknown.get(field, "no reading tells")
        for field, name in SENSORS.items()
        if all(getattr(one.reading, field) is None for one in process.windows)
    }
