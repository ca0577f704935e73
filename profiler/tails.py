"""How slow the slowest inferences are: percentiles and shares of single inferences. Pure.

Single inferences are not independent: neighbours in time are alike, and processes differ. An
interval that took them for so many independent ones would be far too narrow. So two intervals are
made of the share of inferences that are slower than a limit, and the wider one counts at each end:

* of the inferences that were seen, the binomial one of Clopper & Pearson 1934 at an *effective*
  number of them. That is at most the number over the autocorrelation time of the series (Geyer
  1992, "Practical Markov chain Monte Carlo"), and at most what the spread between processes leaves,
  with the penalty for few processes (Korn & Graubard 1998, "Confidence intervals for proportions
  with small expected number of positive counts estimated from survey data": processes are the
  clusters);
* of processes that were not seen: their levels are log-normal about that of the cell (`stats`), and
  each has the same distribution about its own level. Mean and spread of the levels are drawn from
  what the processes leave open (generalised confidence intervals, Weerahandi 1993).

A percentile has the interval of all limits that the share does not rule out. What no sample showed
nobody can know: a state that one process in ten has is missed by seven processes in 48 % of Runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.shares import END, Estimate, Share, clustered
from nnprof.profiler.stats import Level

Array = NDArray[np.float64]

_DRAWS = 24  # of the mean, and of the spread, of processes
_TAIL_AT = (0.0, 0.9, 0.99, 1.0)  # between these there are as many points of a distribution
_POINTS = 24
_MOST_LAGS = 1000
_STEPS = 26  # of a bisection
_DECIMALS = 10  # of a time in seconds: less than any clock tells


@lru_cache
def least_samples(share: float) -> int:
    """Inferences that it takes to speak of a percentile: 64 for the 90th, 662 for the 99th.

    So many that, were the percentile really above the second largest of them, at most one in a
    hundred such samples would look so: the least n with P(Binomial(n, 1 - share) <= 1) <= 1 %, the
    early stopping of MLPerf Inference (inference_rules.adoc, "Early stopping criterion").
    """
    count = 2
    while share**count + count * (1 - share) * share ** (count - 1) > 0.01:
        count += 1
    return count


def late_s(samples_s: Sequence[float], period_s: float) -> tuple[float, ...]:
    """How long after the beginning of its period each inference begins; () without a period."""
    late, ended_s = [], 0.0
    for number, seconds in enumerate(samples_s if period_s else ()):
        due_s = number * period_s
        begin_s = max(due_s, ended_s)
        late.append(round(begin_s - due_s, _DECIMALS))
        ended_s = begin_s + seconds
    return tuple(late)


class Tail(NamedTuple):
    """Single inferences of a cell's processes, ready to be asked.

    Attributes:
        latencies_s: of each process, sorted.
        effective: how many independent inferences they are worth, before processes differ.
        level: what the processes' medians say together.
        residuals: logarithms of latencies over their process's median: points of the distribution,
            and the weight of each.
    """

    latencies_s: tuple[Array, ...]
    effective: float
    level: Level
    residuals: tuple[Array, Array]

    @property
    def size(self) -> int:
        """Inferences in all."""
        return sum(map(len, self.latencies_s))

    def slower(self, limit_s: float) -> Share:
        """The share of inferences that take longer than a limit."""
        seen, unseen = self._seen(limit_s), self._unseen(limit_s)
        return Share(seen.value, min(seen.low, unseen[0]), max(seen.high, unseen[1]))

    def percentile_s(self, share: float) -> Estimate:
        """Seconds that this share of all inferences stays below, where there are enough."""
        pooled = np.sort(np.concatenate(self.latencies_s))
        enough = len(pooled) >= least_samples(share)
        value = float(pooled[math.ceil(share * len(pooled)) - 1]) if enough else None
        reach = float(np.log(pooled[-1] / pooled[0])) + 20 * self.level.error * self._root + 1e-9
        ends = float(np.log(pooled[0])) - reach, float(np.log(pooled[-1])) + reach
        high = _first(lambda at: self.slower(math.exp(at)).high <= 1 - share, ends)
        low = _first(lambda at: self.slower(math.exp(at)).low <= 1 - share, ends)
        return Estimate(
            value, None if low is None else math.exp(low), None if high is None else math.exp(high)
        )

    @property
    def _root(self) -> float:
        return math.sqrt(len(self.latencies_s))

    def _seen(self, limit_s: float) -> Share:
        """Share of the inferences seen, and the clustered binomial interval."""
        sizes = [len(one) for one in self.latencies_s]
        slow = [
            size - int(np.searchsorted(one, limit_s, "right"))
            for size, one in zip(sizes, self.latencies_s, strict=True)
        ]
        return clustered(slow, sizes, self.effective)

    def _unseen(self, limit_s: float) -> tuple[float, float]:
        """The interval of the share over processes whose levels nobody has seen."""
        from scipy.special import ndtr

        shift, spread = _pivots(self.level.freedom)
        sigma = np.maximum(self.level.error * self._root * spread, 1e-12)
        centre = self.level.log + shift * sigma / self._root
        points, weights = self.residuals
        far = (math.log(limit_s) - points[None, :] - centre[:, None]) / sigma[:, None]
        shares = np.sort(ndtr(-far) @ weights)
        low, high = np.quantile(shares, (END, 1 - END))
        return float(low), float(high)


def tail(latencies_s: Sequence[Sequence[float]], level: Level) -> Tail:
    """What single inferences of several processes, in order, and the level of these tell.

    Args:
        latencies_s: of each process, none empty.
        level: of the processes' medians (`stats.level_among`).
    """
    series = [np.asarray(one, float) for one in latencies_s]
    logs = [np.log(one) for one in series]
    edge = float(np.quantile(np.concatenate(series), _TAIL_AT[2]))
    together = max(
        1.0, _together([_ranks(one) for one in series]), _together([one > edge for one in series])
    )
    residuals = np.sort(np.concatenate([one - np.median(one) for one in logs]))
    at, weights = _points()
    found = np.quantile(residuals, at)
    return Tail(
        tuple(np.sort(one) for one in series),
        sum(map(len, series)) / together,
        level,
        (found, weights),
    )


def _first(holds: Callable[[float], bool], ends: tuple[float, float]) -> float | None:
    """From where on something holds; None if it never does."""
    low, high = ends
    if not holds(high):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _ranks(values: Array) -> Array:
    """Equal ones have one rank: a coarse clock must not look like a trend."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - counts / 2)[place])


def _together(series: Sequence[NDArray[np.generic]]) -> float:
    """The autocorrelation time of several series: how many neighbours are worth one.

    1 + 2 Σρ(lag), up to where two neighbouring ρ together are no more than noise (Geyer's initial
    positive sequence). Each series is about its own mean: that means differ, processes tell.
    """
    own = [one - one.mean() for one in (np.asarray(each, float) for each in series)]
    power, count = sum(float(one @ one) for one in own), sum(map(len, own))
    if not power:
        return 1.0
    most = min(_MOST_LAGS, max(map(len, own)) // 3)
    time, before = 1.0, 0.0
    for lag in range(1, most + 1):
        rho = sum(float(one[:-lag] @ one[lag:]) for one in own if len(one) > lag) / power
        if before + rho < 2 * math.sqrt(2 / count):
            break
        time, before = time + 2 * rho, rho
    return max(1.0, time)


@lru_cache
def _points() -> tuple[Array, Array]:
    """Probabilities at which a distribution is taken, closer in its tail, and their weights."""
    at, weights = [], []
    for first, last in pairwise(_TAIL_AT):
        step = (last - first) / _POINTS
        at += [first + step * (index + 0.5) for index in range(_POINTS)]
        weights += [step] * _POINTS
    return np.array(at), np.array(weights)


@lru_cache
def _pivots(freedom: int) -> tuple[Array, Array]:
    """Mean's error in standard errors, and σ over the spread seen: a grid of equal chances."""
    from scipy.special import chdtri, ndtri

    chances = (np.arange(_DRAWS) + 0.5) / _DRAWS
    shift, spread = ndtri(chances), np.sqrt(freedom / chdtri(freedom, chances))
    return tuple(each.ravel() for each in np.meshgrid(shift, spread))
