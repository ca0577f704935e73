"""What windows say together: the steady state, how much slower it is, and what may fool one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from nnprof.profiler import steady
from nnprof.types import Process, Reading, Window


def process(medians: Sequence[float], window_s: float = 10.0, **reading: float) -> Process:
    """One that worked in windows with these medians."""
    windows = tuple(
        Window(
            at_s=index * window_s,
            seconds=window_s,
            inferences=1000,
            median_s=value,
            slowest_s=2 * value,
            reading=Reading(**reading),  # type: ignore[arg-type]
        )
        for index, value in enumerate(medians)
    )
    return Process(
        round=0, processors=(0,), loops=1, state="steady", floor_s=0.0, open_s=0.0, timed_s=1.0,
        wall_s=1.0, before=Reading(), after=Reading(), windows=windows,
    )  # fmt: skip


def found(medians: Sequence[float], window_s: float = 10.0) -> steady.Sustained:
    """What these say."""
    said = steady.found(process(medians, window_s), len(medians) * window_s)
    assert said is not None
    return said


def _around(
    levels: Sequence[float], noise: float, alike: float = 0.0, seed: int = 0
) -> list[float]:
    """Levels with noise of which neighbours have that correlation."""
    random = np.random.default_rng(seed)
    value, values = float(random.normal()), []
    for level in levels:
        values.append(level * math.exp(noise * value))
        value = alike * value + math.sqrt(1 - alike**2) * float(random.normal())
    return values


def test_no_windows_say_nothing() -> None:
    """A process that did not work without a rest has no steady state to speak of."""
    assert steady.found(process([]), 0.0) is None


@pytest.mark.parametrize("count", [1, 2, 9])
def test_too_few_windows_are_too_few(count: int) -> None:
    """Fewer than ten windows tell no steady state, whatever they are."""
    assert found([0.01] * count).end == "too_short"


@pytest.mark.parametrize("at", [12, 18, 30, 40])
def test_a_step_is_dated_to_its_window(at: int) -> None:
    """A level that changes for good is found at the very window, and is steady from there."""
    said = found(_around([0.010] * at + [0.013] * (60 - at), 0.005))
    (shift,) = said.shifts
    assert (shift.at_s, said.since_s, said.end) == (at * 10.0, at * 10.0, "steady")
    assert said.ratio == pytest.approx(1.3, rel=0.01)


def test_a_warming_machine_is_steady_once_it_is_warm() -> None:
    """Slower and slower for three minutes, then level: steady from about there, not from 0:00."""
    levels = [0.010 * (1 + 0.2 * min(index, 18) / 18) for index in range(60)]
    said = found(_around(levels, 0.003))
    assert said.end == "steady"
    assert said.since_s is not None
    assert 120 <= said.since_s <= 200
    assert said.ratio is not None
    assert said.ratio > 1.1


def test_what_slows_down_to_the_end_is_not_steady() -> None:
    """A drift that does not end is no steady state, though each stretch of it looks level."""
    said = found(_around([0.010 * (1 + 0.005 * index) for index in range(60)], 0.002))
    assert (said.end, said.since_s, said.ratio) == ("drifting", None, None)


def test_a_late_step_leaves_no_steady_state() -> None:
    """A change in the last tenth has not lasted long enough to be called steady."""
    said = found(_around([0.010] * 54 + [0.014] * 6, 0.002))
    assert said.end != "steady"
    assert [one.at_s for one in said.shifts] == [540.0]


def test_a_change_that_nobody_feels_is_none() -> None:
    """Levels that differ by one percent are one."""
    said = found(_around([0.010] * 30 + [0.0101] * 30, 0.001))
    assert (said.end, said.since_s, said.shifts) == ("steady", 0.0, ())


@pytest.mark.parametrize("alike", [0.0, 0.6])
def test_the_interval_holds_the_truth(alike: float) -> None:
    """Also where neighbouring windows are alike the interval holds the ratio in 9 of 10 cases."""
    held = total = 0
    for seed in range(300):
        said = found(_around([0.010] * 60, 0.004, alike, seed))
        if said.low is not None and said.high is not None:
            held += said.low <= 1 <= said.high
            total += 1
    assert total > 280
    assert held / total > 0.9


def test_short_runs_are_held_against_their_first_fifth() -> None:
    """Of ten seconds the first two stand for the first minute."""
    said = found([0.010] * 6 + [0.012] * 24, window_s=1 / 3)
    assert said.first_until_s == pytest.approx(2.0)
    assert said.ratio == pytest.approx(1.2)


def test_a_clock_that_falls_is_told_without_any_counter() -> None:
    """Where nothing counts throttling, the clock alone tells that it was lowered, and when."""
    cool, hot = process([0.010] * 18, clock_hz=2e9), process([0.014] * 60, clock_hz=1.4e9)
    both = process([*[0.010] * 18, *[0.014] * 42])
    windows = [
        Window(
            at_s=one.at_s, seconds=one.seconds, inferences=one.inferences, median_s=one.median_s,
            slowest_s=one.slowest_s, reading=(cool if index < 18 else hot).windows[0].reading,
        )
        for index, one in enumerate(both.windows)
    ]  # fmt: skip
    told = steady.throttled(
        Process(
            round=0, processors=(0,), loops=1, state="steady", floor_s=0.0, open_s=0.0,
            timed_s=1.0, wall_s=1.0, before=Reading(), after=Reading(), windows=tuple(windows),
        )
    )  # fmt: skip
    (one,) = told
    assert (one.at_s, one.until_s, one.events, one.alerts) == (180.0, 600.0, None, ())
    assert one.clock_hz == (2e9, 1.4e9)
