"""Shares and percentiles over single inferences."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
import pytest
from scipy.stats import binom

from nnprof.profiler import stats, tails
from nnprof.profiler.stats import Level

SAME = Level(0.0, 0.0, 6)  # processes that do not differ


def drawn(noise: float, processes: int = 7, count: int = 500, seed: int = 0) -> list[list[float]]:
    """Independent log-normal inferences of 1 s in the median."""
    random = np.random.default_rng(seed)
    return np.exp(noise * random.normal(size=(processes, count))).tolist()


@pytest.mark.parametrize(("share", "count"), [(0.90, 64), (0.99, 662)])
def test_least_samples_are_those_of_mlperf(share: float, count: int) -> None:
    """64 and 662: one sample may lie beyond, and that happens by chance once in a hundred."""
    assert tails.least_samples(share) == count
    assert binom.cdf(1, count, 1 - share) <= 0.01 < binom.cdf(1, count - 1, 1 - share)


def test_no_slower_one_is_the_binomial_bound() -> None:
    """None in n independent inferences: the share is at most 1 - 0.025^(1/n)."""
    series = drawn(0.01)
    found = tails.tail(series, SAME)
    assert found.effective == pytest.approx(3500, rel=0.05)
    share = found.slower(2.0)
    assert (share.value, share.low) == (0.0, 0.0)
    assert share.high == pytest.approx(1 - 0.025 ** (1 / found.effective), rel=1e-6)


def test_the_share_holds_the_truth() -> None:
    """A tenth is slower, and the interval says so, a little to either side."""
    limit_s = math.exp(0.05 * 1.2816)
    share = tails.tail(drawn(0.05), SAME).slower(limit_s)
    assert 0.08 < share.low < 0.1 < share.high < 0.12


def test_percentile_and_share_are_one_question() -> None:
    """At the ends of the percentile's interval the share's interval ends at a hundredth."""
    found = tails.tail(drawn(0.05), Level(0.0, 0.005, 6))
    p99 = found.percentile_s(0.99)
    assert p99.value is not None
    assert p99.low is not None
    assert p99.high is not None
    assert p99.low < p99.value < p99.high
    assert found.slower(p99.high * 1.0001).high <= 0.01 < found.slower(p99.high * 0.999).high
    assert found.slower(p99.low * 0.9999).low > 0.01 >= found.slower(p99.low * 1.001).low


def test_few_samples_leave_the_upper_end_open() -> None:
    """With 100 inferences no time can be named that 99 % stay below; the estimate is unknown."""
    p99 = tails.tail(drawn(0.05, 5, 20), SAME).percentile_s(0.99)
    assert (p99.value, p99.high) == (None, None)
    assert p99.low is not None


def test_neighbours_that_are_alike_count_less() -> None:
    """A chain with a correlation of 0.8 is worth a ninth: (1 + ρ) / (1 - ρ) = 9."""
    random = np.random.default_rng(3)
    series = []
    for _ in range(7):
        one, values = float(random.normal()), []
        for _ in range(2000):
            one = 0.8 * one + 0.6 * float(random.normal())
            values.append(math.exp(0.02 * one))
        series.append(values)
    assert 14_000 / tails.tail(series, SAME).effective == pytest.approx(9, rel=0.25)


def test_a_coarse_clock_makes_no_neighbours_alike() -> None:
    """Latencies that all are one of three values, by chance, are worth their number; so is one."""
    random = np.random.default_rng(5)
    coarse = [0.01 + 0.001 * random.integers(0, 3, 500) for _ in range(7)]
    assert tails.tail(coarse, SAME).effective == pytest.approx(3500, rel=0.1)
    assert tails.tail([[0.0123] * 500] * 7, SAME).effective == 3500


def test_processes_that_differ_widen_it() -> None:
    """Each process on a level of its own: seven levels tell little, however many inferences."""
    levels = np.exp(0.05 * np.random.default_rng(1).normal(size=7))
    series = [[level * one for one in own] for level, own in zip(levels, drawn(0.001), strict=True)]
    level = stats.level_among([median(one) for one in series])
    assert level is not None
    alike, apart = tails.tail(drawn(0.001), SAME), tails.tail(series, level)
    narrow, wide = (one.slower(1.0) for one in (alike, apart))
    assert narrow.high - narrow.low < 0.07
    assert wide.high - wide.low > 0.4


def test_unseen_processes_count_where_none_was_slow() -> None:
    """No inference was slower; yet a process of another level might be, and the bound knows it."""
    series = drawn(0.001)
    limit_s = math.exp(0.04)
    assert tails.tail(series, SAME).slower(limit_s).high < 0.002
    assert tails.tail(series, Level(0.0, 0.02 / math.sqrt(7), 6)).slower(limit_s).high > 0.1


def test_late_ones_wait_for_those_before() -> None:
    """A slow inference makes the next ones late until the time between them has made up for it."""
    assert tails.late_s((1.0, 2.5, 0.5, 0.5, 0.5), 1.0) == pytest.approx((0, 0, 1.5, 1.0, 0.5))
    assert tails.late_s((1.0, 2.5), 0.0) == ()
