"""Several streams at once: what they get done together, how long each takes, how fair it is.

Pure. The process is the unit, as everywhere (`stats`): each round of streams gives one number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import NamedTuple

from nnprof.profiler import stats
from nnprof.types import Measurement, Process, Run

_P50, _P99 = 0.5, 0.99
_FEWEST = {_P50: 1, _P99: 662}  # single inferences: as `stats.percentile_s` asks for


class Told(NamedTuple):
    """A number of a cell: the median over its rounds, and the 95 % interval where there are two."""

    middle: float
    low: float | None
    high: float | None


class Streamed(NamedTuple):
    """What the streams of a cell do together.

    Attributes:
        streams: how many.
        per_s: inferences a second, of all of them.
        p50_s, p99_s: of the single inferences of all; None where there are too few.
        slowest: the rate of the slowest stream over that of the fastest; 1 is fair.
        jain: (Σx)² / (n·Σx²) of the rates x of the n streams: 1 where all have the same, 1/n where
            one has all (Jain, Chiu & Hawe 1984, "A quantitative measure of fairness and
            discrimination for resource allocation in shared computer systems", DEC TR-301).
        share: whether streams share processors, because there are too few.
    """

    streams: int
    per_s: Told
    p50_s: Told | None
    p99_s: Told | None
    slowest: Told
    jain: Told
    share: bool


def is_streamed(run: Run) -> bool:
    """Whether the cells of a Run are of streams."""
    return run.study.plan.streams_s > 0


def streamed(measurement: Measurement) -> Streamed | None:
    """Of a cell that was measured with streams; None of any other."""
    processes = [one for one in measurement.processes if one.streams]
    if not processes:
        return None
    bounds = stats.interval_s(measurement)
    low, high = (1 / bounds[1], 1 / bounds[0]) if bounds else (None, None)
    own = [tuple(one.processors for one in process.streams) for process in processes]
    return Streamed(
        streams=measurement.target.streams,
        per_s=Told(1 / stats.latency_s(measurement), low, high),
        p50_s=_percentile(processes, _P50),
        p99_s=_percentile(processes, _P99),
        slowest=_told([_of(process, slowest_over_fastest) for process in processes]),
        jain=_told([_of(process, jain) for process in processes]),
        share=any(any(sets) and len(set(sets)) < len(sets) for sets in own),
    )


def speedup(one: Streamed, several: Streamed) -> Told:
    """How many times as much several streams get done; half-widths add as squares of logarithms."""
    ratio = several.per_s.middle / one.per_s.middle
    halves = [_half(told) for told in (one.per_s, several.per_s)]
    if None in halves:
        return Told(ratio, None, None)
    reach = math.exp(math.hypot(*(half for half in halves if half is not None)))
    return Told(ratio, ratio / reach, ratio * reach)


def jain(rates: Sequence[float]) -> float:
    """Jain's index of these rates."""
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates))


def slowest_over_fastest(rates: Sequence[float]) -> float:
    """1 where all have the same rate."""
    return min(rates) / max(rates)


def _of(process: Process, what: Callable[[Sequence[float]], float]) -> float:
    return what([1 / fmean(stream.samples_s) for stream in process.streams])


def _percentile(processes: Sequence[Process], share: float) -> Told | None:
    """Of each round over all its streams; None where all rounds together have too few."""
    rounds = [
        sorted(value for stream in process.streams for value in stream.samples_s)
        for process in processes
    ]
    if sum(map(len, rounds)) < _FEWEST[share]:
        return None
    return _told([values[math.ceil(share * len(values)) - 1] for values in rounds])


def _told(values: Sequence[float]) -> Told:
    bounds = stats.interval(values)
    low, high = bounds or (None, None)
    return Told(median(values), low, high)


def _half(told: Told) -> float | None:
    """Half of the interval of a logarithm."""
    if told.low is None or told.high is None:
        return None
    return math.log(told.high / told.low) / 2
