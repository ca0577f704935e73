"""Statistics over samples."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import t as student

from nnprof.profiler import results, stats, turns
from nnprof.types import Measurement, Plan

GOLDEN = Path(__file__).parents[1] / "data" / "run-v1.json"


@pytest.mark.parametrize("freedom", range(1, 31))
def test_t_table_is_students_t(freedom: int) -> None:
    """The table of quantiles agrees with scipy to its three decimals."""
    assert stats.t_975(freedom) == pytest.approx(student.ppf(0.975, freedom), abs=6e-4)


@pytest.mark.parametrize("freedom", [31, 32, 40, 60, 100, 1000, 10**6])
def test_t_goes_on_beyond_its_table(freedom: int) -> None:
    """Beyond 30 degrees of freedom it is still Student's t, not the normal distribution."""
    assert stats.t_975(freedom) == pytest.approx(student.ppf(0.975, freedom), abs=1e-5)


PLAN = Plan(processes=3, max_processes=10, fresh=4, interval=0.01)


def test_fresh_processes_tell_the_spread() -> None:
    """Three that agree by luck decide; the spread is that of the four after them, the mean of all.

    Worked by hand: logarithms 0, 0, 0 and then ±0.02, of which the standard deviation is
    0.02·√(4/3), over √7, with 3 degrees of freedom.
    """
    values = [1.0, 1.0, 1.0, *(math.exp(log) for log in (-0.02, 0.02, -0.02, 0.02))]
    assert stats.decided_after(values, PLAN) == 3
    found = stats.level_of(values, PLAN)
    assert found is not None
    assert found.error == pytest.approx(0.02 * math.sqrt(4 / 3) / math.sqrt(7))
    assert (found.log, found.freedom) == (pytest.approx(0.0), 3)


def test_no_decision_without_room_for_fresh_ones() -> None:
    """A plan that always takes its number of processes has an ordinary interval of all of them."""
    values = [1.0, 1.0, 1.0, 1.1, 1.2]
    fixed = {"fresh": 0}, {"max_processes": 6}, {"protocol": "loop"}
    for change in fixed:
        plan = replace(PLAN, **change)
        assert stats.decided_after(values, plan) is None
        found = stats.level_of(values, plan)
        assert found is not None
        assert found.freedom == 4


@given(st.lists(st.floats(0.9, 1.1), min_size=2, max_size=10), st.floats(1e-6, 1e3))
def test_decisions_are_kept_and_have_no_unit(values: list[float], unit: float) -> None:
    """What was decided stays so when more processes come, and is the same in any unit of time."""
    decided = stats.decided_after(values, PLAN)
    if decided is not None:
        assert all(
            stats.decided_after(values[:count], PLAN) == decided
            for count in range(decided, len(values) + 1)
        )
        assert stats.decided_after(values[: decided - 1], PLAN) is None
    one, other = (stats.level_of([each * by for each in values], PLAN) for by in (1.0, unit))
    assert one is not None
    assert other is not None
    assert other.log - one.log == pytest.approx(math.log(unit), abs=1e-9)


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=10), st.floats(1.0, 3.0))
def test_wider_spread_is_a_wider_interval(values: list[float], times: float) -> None:
    """Values pulled apart by a factor on logarithms have an interval at least as wide."""
    apart = [math.exp(math.log(value) * times) for value in values]
    bounds, wider = stats.interval(values), stats.interval(apart)
    assert bounds is not None
    assert wider is not None
    assert math.log(wider[1] / wider[0]) >= math.log(bounds[1] / bounds[0]) * (1 - 1e-9) - 1e-12


def test_old_runs_keep_their_intervals() -> None:
    """A Run of schema 1 knew no fresh processes: its intervals are of all its processes."""
    for cell in results.load(GOLDEN).measurements:
        assert cell.plan.fresh == 0
        assert stats.interval_s(cell) == stats.interval(stats.process_medians_s(cell))


def test_interval_covers_the_truth() -> None:
    """Of 2000 cells with 5 log-normal processes, about 95 % of intervals hold the true median."""
    random = np.random.default_rng(1)
    draws = np.exp(random.normal(0, 0.02, (2000, 5)))
    bounds = [stats.interval(list(row)) for row in draws]
    share = np.mean([low <= 1 <= high for low, high in filter(None, bounds)])
    assert 0.93 <= share <= 0.97


def test_what_waited_is_not_in_the_latency() -> None:
    """A process whose samples were twice as long for their waits counts as if it had had none."""
    cell = next(m for m in results.load(GOLDEN).measurements if m.processes)
    twice = tuple(tuple(2 * one for one in samples) for samples in cell.samples_s)
    processes = tuple(
        replace(process, waited_s=samples)
        for process, samples in zip(cell.processes, cell.samples_s, strict=True)
    )
    late = replace(cell, samples_s=twice, processes=processes)
    assert stats.process_medians_s(late) == pytest.approx(stats.process_medians_s(cell))
    assert stats.interval_s(late) == pytest.approx(stats.interval_s(cell))


def test_of_several_threads_the_least_disturbed_samples_count() -> None:
    """On several processors nobody knows what a wait cost: those count that waited least."""
    samples, waits = (2.0, 1.0, 1.2, 1.1), (1.0, 0.0, 0.2, 0.005)
    assert stats.own_s(samples, waits, 1) == pytest.approx((1.0, 1.0, 1.0, 1.095))
    assert stats.own_s(samples, waits, 2) == (1.0, 1.1)
    assert stats.own_s((2.0, 1.5), (1.0, 0.5), 2) == (1.5,)
    assert stats.own_s(samples, (), 2) == samples


def test_one_process_has_no_interval() -> None:
    """A single process says nothing about the next one, so its interval is unknown."""
    assert stats.interval([0.5]) is None


@given(st.lists(st.floats(1e-6, 10), min_size=2, max_size=10))
def test_interval_holds_the_median(values: list[float]) -> None:
    """Whatever the values, the interval holds the median that is printed beside it."""
    bounds = stats.interval(values)
    assert bounds is not None
    middle = float(np.median(values))
    assert bounds[0] <= middle * (1 + 1e-12)
    assert middle <= bounds[1] * (1 + 1e-12)


def _noise(count: int = 60, scale: float = 0.01) -> np.ndarray:
    return np.exp(np.random.default_rng(7).normal(0, scale, count))


@pytest.mark.parametrize(
    ("samples", "state"),
    [
        pytest.param(_noise(), "steady", id="level with 1 % noise"),
        pytest.param(_noise() * np.linspace(1, 1.2, 60), "drifting", id="grows by 20 %"),
        pytest.param(_noise() * np.tile([1.0, 1.3], 30), "bimodal", id="jumps by 30 %"),
        pytest.param(_noise(scale=0.3), "not_reached", id="30 % noise"),
        pytest.param([1.0, 1.01, 1.02], "steady", id="three that agree"),
        pytest.param([1.0, 1.5, 1.2], "not_reached", id="three that do not"),
        pytest.param([1.0] * 20, "steady", id="all the same"),
        pytest.param([*_noise(59), 4.0], "steady", id="one outlier is no state"),
    ],
)
def test_states(samples: list[float], state: str) -> None:
    """Each kind of process is called by its name."""
    assert stats.classify([float(sample) for sample in samples]) == state


def test_changepoints_are_where_the_level_changes() -> None:
    """Two jumps of five deviations are found within two samples of where they are."""
    series = np.concatenate([np.full(30, 1.0), np.full(30, 1.1), np.full(40, 1.0)])
    noise = np.random.default_rng(2).normal(0, 0.02, 100)
    cuts = stats.changepoints(list(series + noise))
    assert len(cuts) == 2
    assert cuts == pytest.approx([30, 60], abs=2)


def test_noise_has_no_changepoints() -> None:
    """Of 200 series of independent noise, at most 5 % are cut anywhere."""
    random = np.random.default_rng(4)
    cut = sum(bool(stats.changepoints(list(random.normal(1, 0.02, 100)))) for _ in range(200))
    assert cut <= 10


def test_one_outlier_is_no_changepoint() -> None:
    """A single sample, however far off, is no level."""
    samples = list(_noise(60))
    samples[30] = 50.0
    assert stats.changepoints(samples) == []
    assert stats.is_outlier(50.0, samples)
    assert not stats.is_outlier(1.02, samples)


def _turns(factors: list[float]) -> Measurement:
    cell = results.load(GOLDEN).measurements[0]
    return replace(
        cell,
        samples_s=tuple((1e-3 * factor,) for factor in factors),
        warmups_s=tuple(() for _ in factors),
        processes=tuple(cell.processes[0] for _ in factors),
    )


def test_drift_of_2016_is_found() -> None:
    """Networks that get 2 % slower each turn are found to drift by 2 %."""
    noise = np.random.default_rng(8).normal(0, 0.002, (5, 4))
    cells = [_turns(list(1.02 ** np.arange(4) * (1 + row))) for row in noise]
    found = turns.drift(cells)
    assert found is not None
    assert found.found
    assert found.per_turn == pytest.approx(0.02, abs=0.003)


def test_no_drift_is_not_found() -> None:
    """Networks that only scatter are not found to drift; a single one leaves it unknown."""
    noise = np.random.default_rng(9).normal(0, 0.01, (8, 4))
    found = turns.drift([_turns(list(1 + row)) for row in noise])
    assert found is not None
    assert not found.found
    assert turns.drift([_turns([1.0, 1.1])]) is None


@pytest.mark.parametrize(
    ("count", "loops", "p90", "p99"),
    [(63, 1, False, False), (64, 1, True, False), (662, 1, True, True), (662, 2, False, False)],
)
def test_percentiles_need_samples(count: int, loops: int, p90: bool, p99: bool) -> None:
    """The 90th percentile needs 64 single inferences, the 99th 662; means have none."""
    cell = results.load(GOLDEN).measurements[0]
    samples = tuple(float(index) for index in range(1, count + 1))
    process = replace(cell.processes[0], loops=loops)
    cell = replace(cell, samples_s=(samples,), warmups_s=((),), processes=(process,))
    assert (stats.percentile_s(cell, 0.90) is not None) == p90
    assert (stats.percentile_s(cell, 0.99) is not None) == p99
    if p90:
        assert stats.percentile_s(cell, 0.90) == math.ceil(0.9 * count)


def test_steady_noise_is_rarely_called_otherwise() -> None:
    """Of 300 processes with 2 % independent noise, at most 3 % are called anything but steady."""
    random = np.random.default_rng(3)
    states = [stats.classify(list(np.exp(random.normal(0, 0.02, 60)))) for _ in range(300)]
    assert states.count("steady") >= 291


def test_spread_is_a_standard_deviation() -> None:
    """For normal noise the robust spread is its relative standard deviation."""
    values = 1 + np.random.default_rng(5).normal(0, 0.05, 20_000)
    assert stats.spread(list(values)) == pytest.approx(0.05, rel=0.05)


def test_half_width_is_of_the_interval() -> None:
    """Half the interval over the latency; with one process it is infinite."""
    cell = results.load(GOLDEN).measurements[1]
    low, high = stats.interval_s(cell) or (0.0, 0.0)
    assert high > low
    assert stats.relative_half_width(cell) == (high - low) / 2 / stats.latency_s(cell)
    one = replace(
        cell,
        samples_s=cell.samples_s[:1],
        warmups_s=cell.warmups_s[:1],
        processes=cell.processes[:1],
    )
    assert math.isinf(stats.relative_half_width(one))
