"""Statistics over samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from nnprof.profiler import stats


@pytest.mark.parametrize("freedom", range(1, 31))
def test_t_table_is_students_t(freedom: int) -> None:
    """The table of quantiles agrees with scipy to its three decimals."""
    assert stats.t_975(freedom) == pytest.approx(student.ppf(0.975, freedom), abs=6e-4)


def test_interval_covers_the_truth() -> None:
    """Of 2000 cells with 5 log-normal processes, about 95 % of intervals hold the true median."""
    random = np.random.default_rng(1)
    draws = np.exp(random.normal(0, 0.02, (2000, 5)))
    bounds = [stats.interval(list(row)) for row in draws]
    share = np.mean([low <= 1 <= high for low, high in filter(None, bounds)])
    assert 0.93 <= share <= 0.97


def test_one_process_has_no_interval() -> None:
    """A single process says nothing about the next one, so its interval is unknown."""
    assert stats.interval([0.5]) is None
    assert math.isinf(stats.half_width([0.5]))


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


def test_steady_noise_is_rarely_called_otherwise() -> None:
    """Of 300 processes with 2 % independent noise, at most 3 % are called anything but steady."""
    random = np.random.default_rng(3)
    states = [stats.classify(list(np.exp(random.normal(0, 0.02, 60)))) for _ in range(300)]
    assert states.count("steady") >= 291


def test_spread_is_a_standard_deviation() -> None:
    """For normal noise the robust spread is its relative standard deviation."""
    values = 1 + np.random.default_rng(5).normal(0, 0.05, 20_000)
    assert stats.spread(list(values)) == pytest.approx(0.05, rel=0.05)
