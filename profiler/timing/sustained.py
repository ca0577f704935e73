"""Work without a rest: single inferences, summed up window by window, so that hours take no memory.

What a user with a warm box meets is not the first second. Each window tells its own percentiles, by
all of its inferences and by no others, and is handed on before the next one begins.
"""

from __future__ import annotations

import gc
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from time import perf_counter
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.errors import Unavailable
from nnprof.profiler import stats, waits
from nnprof.profiler.ports import Part, Session
from nnprof.profiler.timing.telemetry import Watch
from nnprof.types import Plan, Reading, Window


class Eyes(NamedTuple):
    """Who looks at the device: from aside where somebody can, else the worker between windows."""

    read: Callable[[], Reading]
    watch: Watch


def windows(session: Session, plan: Plan, eyes: Eyes, part: Part | None = None) -> Iterator[Window]:
    """Each window once it is over, until `plan.sustained_s` is; each has at least one inference.

    With `plan.period_s` each inference begins at its moment, or as soon as the one before has
    ended; what it is late counts with it where it is held against the deadline.

    Args:
        session: open, its clean pass done.
        plan: how long, in which windows, how far apart.
        eyes: who looks at the device.
        part: of the session: what is one inference, or a whole image; the session itself if not
            given.

    Raises:
        Unavailable: the session hands out times of inferences that were over before.
    """
    if not getattr(session, "live", True):
        raise Unavailable(
            "This runtime is started anew for its samples, so that the device rests in between.",
            "Choose one that stays loaded: --backend.",
        )
    simulated = getattr(session, "simulated", False)
    work = _Work(part or session, session, plan.period_s, simulated=simulated)
    timed = waits.Undisturbed(work, session.clock)
    while (begin_s := work.now_s()) < plan.sustained_s:
        work.begin(_until_s(begin_s, plan))
        if not simulated:
            eyes.watch.begin(plan.telemetry_s or plan.window_s)
        waited_s = _undisturbed(timed)
        end_s = work.now_s()
        seen = () if simulated else eyes.watch.end()
        yield _window(
            np.frombuffer(work.samples_s),
            np.frombuffer(work.late_s),
            plan.deadline_s,
            at_s=begin_s,
            seconds=end_s - begin_s,
            reading=_merged(seen or (eyes.read(),)),
            waited_s=waited_s if timed.counted else None,
        )


def _until_s(begin_s: float, plan: Plan) -> float:
    """The end of a window: a multiple of their length, however late this one begins.

    Neither the first nor the last is a splinter: what is less than half a window joins another.
    """
    end_s = (math.floor(begin_s / plan.window_s + 0.5) + 1) * plan.window_s
    return end_s if plan.sustained_s - end_s >= plan.window_s / 2 else plan.sustained_s


def _undisturbed(part: waits.Undisturbed) -> float:
    """A window in which Python does not look for garbage; seconds that it waited for others."""
    gc.collect()
    gc.disable()
    try:
        return part.timed(1).waited_s
    finally:
        gc.enable()


class _Work:
    """One inference after the other; as a part, its sample is a window.

    A simulated session's clock passes with the times that it tells, and with its pauses.
    """

    def __init__(self, part: Part, session: Session, period_s: float, *, simulated: bool) -> None:
        self._part, self._session = part, session
        self._period_s, self._simulated = period_s, simulated
        self._start_s = perf_counter()
        self._passed_s = self._due_s = self._until_s = self._ended_s = 0.0
        self.samples_s, self.late_s = array("d"), array("d")

    def now_s(self) -> float:
        """Seconds since the beginning."""
        return self._passed_s if self._simulated else perf_counter() - self._start_s

    def begin(self, until_s: float) -> None:
        """The next window lasts until then; what there was of the last one is gone."""
        self._until_s, self.samples_s, self.late_s = until_s, array("d"), array("d")

    def sample(self, _: int) -> float:
        """Seconds of the window."""
        begin_s = self.now_s()
        self._due_s += begin_s - self._ended_s  # what passed between windows makes nothing late
        while (now_s := self.now_s()) < self._until_s or not self.samples_s:
            if self._period_s:
                self._wait(now_s)
            seconds = self._part.sample(1)
            self._passed_s += seconds
            self.samples_s.append(seconds)
        self._ended_s = self.now_s()
        return self._ended_s - begin_s

    def _wait(self, now_s: float) -> None:
        """Until the next inference is due; how late it is then."""
        if now_s < self._due_s:
            self._session.pause(self._due_s - now_s)
            self._passed_s += self._due_s - now_s
        self.late_s.append(max(0.0, now_s - self._due_s))
        self._due_s += self._period_s

    def close(self) -> None:
        """The session is somebody else's."""


def _window(
    samples_s: NDArray[np.float64],
    late_s: NDArray[np.float64],
    deadline_s: float,
    *,
    at_s: float,
    seconds: float,
    reading: Reading,
    waited_s: float | None,
) -> Window:
    waited = samples_s + late_s if late_s.size else samples_s
    return Window(
        at_s=at_s,
        seconds=seconds,
        inferences=samples_s.size,
        median_s=float(np.median(samples_s)),
        slowest_s=float(samples_s.max()),
        p90_s=_percentile(samples_s, 0.90),
        p99_s=_percentile(samples_s, 0.99),
        missed=int(np.count_nonzero(waited > deadline_s)) if deadline_s else None,
        reading=reading,
        waited_s=waited_s,
    )


def _percentile(samples_s: NDArray[np.float64], share: float) -> float | None:
    if samples_s.size < stats.PERCENTILE_SAMPLES[share]:
        return None
    place = math.ceil(share * samples_s.size) - 1
    return float(np.partition(samples_s, place)[place])


def _merged(readings: Sequence[Reading]) -> Reading:
    """Clocks and powers as means, all alerts that were seen, the rest as it was at last.

    Preemptions are those of who looked, and reasons are told before and after the pass.
    """
    last = readings[-1]
    return replace(
        last,
        clock_hz=_mean(one.clock_hz for one in readings),
        power_w=_mean(one.power_w for one in readings),
        clocks_hz=_means([one.clocks_hz for one in readings]),
        rails_w=_means([one.rails_w for one in readings]),
        alerts=tuple(sorted({alert for one in readings for alert in one.alerts})),
        at_s=None,
        preemptions=None,
        unknown={},
    )


def _means(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By name, over the readings that have it."""
    return {
        name: fmean(one[name] for one in parts if name in one)
        for name in dict.fromkeys(name for one in parts for name in one)
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
