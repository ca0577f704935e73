"""Windows as they are made: what they hold, and what they cost."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from nnprof.errors import Unavailable
from nnprof.profiler.devices.cpu import DEVICE
from nnprof.profiler.timing import sustained
from nnprof.profiler.timing.telemetry import Watch
from nnprof.types import Plan, Reading, Window


class _Told:
    """A simulated session that takes the times that it is given, again and again."""

    clock, simulated, live = "fake", True, True

    def __init__(self, times_s: list[float]) -> None:
        self._times_s, self.calls = times_s, 0

    def sample(self, loops: int) -> float:
        assert loops == 1
        self.calls += 1
        return self._times_s[self.calls % len(self._times_s) - 1]

    def pause(self, seconds: float) -> None:
        assert seconds > 0


EYES = sustained.Eyes(lambda: DEVICE.read(()), Watch(None, "switched off"))


def _windows(session: Any, **plan: float) -> list[Window]:
    return list(sustained.windows(session, Plan(**plan), EYES))  # type: ignore[arg-type]


def test_percentiles_are_those_of_the_window() -> None:
    """Median, p90, p99 and the slowest are exact, of this window's inferences and no others."""
    times = np.random.default_rng(1).permutation(1000).astype(float) / 1e5 + 1e-3
    session = _Told(times.tolist())
    (whole,) = _windows(session, sustained_s=float(times.sum()) - 1e-6, window_s=1e3)
    ordered = np.sort(times)
    assert whole.inferences == 1000
    assert whole.median_s == pytest.approx(np.median(times))
    assert (whole.p90_s, whole.p99_s, whole.slowest_s) == (ordered[899], ordered[989], ordered[-1])


def test_few_inferences_give_no_percentile() -> None:
    """A percentile that too few inferences stand for is None, not a guess."""
    (whole,) = _windows(_Told([0.125]), sustained_s=7.5, window_s=10.0)
    assert (whole.inferences, whole.p90_s, whole.p99_s) == (60, None, None)


def test_a_window_holds_one_inference_at_least() -> None:
    """Inferences that are longer than a window make windows of one each, as long as they are."""
    found = _windows(_Told([3.0]), sustained_s=9.0, window_s=1.0)
    assert [(one.at_s, one.seconds, one.inferences) for one in found] == [
        (0.0, 3.0, 1), (3.0, 3.0, 1), (6.0, 3.0, 1)
    ]  # fmt: skip


def test_the_last_window_is_no_splinter() -> None:
    """What is left at the end, if it is less than half a window, belongs to the one before."""
    found = _windows(_Told([0.125]), sustained_s=10.375, window_s=1.0)
    assert [one.seconds for one in found] == [*[1.0] * 9, 1.375]


def test_missed_deadlines_are_counted() -> None:
    """Of each window how many inferences took longer than the deadline; None without one."""
    session = _Told([0.01, 0.01, 0.01, 0.05])
    found = _windows(session, sustained_s=8.0, window_s=2.0, deadline_s=0.02)
    assert [one.missed for one in found] == [25, 25, 25, 25]
    assert {one.missed for one in _windows(session, sustained_s=2.0, window_s=1.0)} == {None}


def test_memory_does_not_grow_with_time() -> None:
    """Ten times as many windows take no more memory: each is handed on and forgotten."""

    def peak(sustained_s: float) -> int:
        tracemalloc.start()
        try:
            plan = Plan(sustained_s=sustained_s, window_s=10.0)
            for _ in sustained.windows(_Told([1e-3]), plan, EYES):  # type: ignore[arg-type]
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(20.0)  # what is imported or kept once
    assert peak(200.0) < 1.1 * peak(20.0) + 10_000


def test_a_runtime_that_is_started_anew_is_refused() -> None:
    """Recorded times come from runs with rests in between; that is said, not summed up."""
    session = _Told([0.1])
    session.live = False
    with pytest.raises(Unavailable, match="rests in between"):
        _windows(session, sustained_s=1.0)


def test_readings_of_a_window_are_summed_up() -> None:
    """Clocks and powers are means of the window, alerts all that were seen; heat is of its end."""
    seen = [
        Reading(clock_hz=1e9, temperature_c=50.0, power_w=4.0, alerts=("hot",), rails_w={"A": 1.0}),
        Reading(clock_hz=5e8, temperature_c=70.0, power_w=6.0, rails_w={"A": 3.0}, at_s=0.5),
    ]
    merged = sustained._merged(seen)
    assert (merged.clock_hz, merged.temperature_c, merged.power_w) == (7.5e8, 70.0, 5.0)
    assert (merged.alerts, merged.rails_w, merged.at_s) == (("hot",), {"A": 2.0}, None)


def test_a_look_at_the_device_makes_nothing_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What passes between two windows moves the schedule: no inference is late for it."""
    clock = [0.0]
    monkeypatch.setattr(sustained, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(sustained.gc, "collect", lambda: clock.__setitem__(0, clock[0] + 0.3))

    class Ticking(_Told):
        simulated = False

        def sample(self, loops: int) -> float:
            seconds = super().sample(loops)
            clock[0] += seconds
            return seconds

        def pause(self, seconds: float) -> None:
            clock[0] += seconds

    def looking() -> Reading:
        clock[0] += 0.3
        return Reading()

    eyes = sustained.Eyes(looking, Watch(None, "switched off"))
    plan = Plan(sustained_s=20.0, window_s=2.0, period_s=0.1, deadline_s=0.02)
    found = list(sustained.windows(Ticking([0.01]), plan, eyes))  # type: ignore[arg-type]
    assert len(found) >= 9
    assert {one.missed for one in found} == {0}
