"""Pure statistics over raw samples: medians, intervals, the state of a process.

The process is the unit: samples inside one process share its memory layout and its neighbours, so
they are not independent (Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time"). Each
process gives one number, its median; everything else is said over those.

Their paper also says how to share the time between two levels: sample a process for
√(cost of a process · variance of its samples' mean over 1 s / variance of the processes' levels),
then start the next. That is a few tenths of a second where levels differ by more than a percent
(docs/quiet.md), so plans take many short processes. The median, not the minimum of Chen & Revels
2016: theirs is for noise that only adds, and delays are taken off already (`undisturbed_s`); what
is left are levels that a process or a moment has (Barrett et al. 2017), and users meet all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median, stdev
from typing import NamedTuple

from nnprof.types import Measurement, Plan, Process, State

# Student's t, 97.5 %, for 1…30 degrees of freedom (Fisher & Yates, table III).
# A table, because scipy takes longer to load than `nnprof show` may take in all.
_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)

# Thresholds of `classify`. Relative to the median of the samples.
_FEW = 8  # fewer samples than this cannot show a trend
_DRIFT = 0.03
_TREND_Z = 3.29  # two-sided p = 0.001
_SEPARATION = 0.05
_ASHMAN_D = 3.0  # D > 2 is a clean separation (Ashman, Bird & Zepf 1994); 3 spares us noise
_MINOR_SHARE = 0.15
_SPREAD = 0.10
_PIECE = 5
PERCENTILE_SAMPLES = {0.90: 64, 0.99: 662}
_HARDLY = 0.01  # of a sample: a wait that is none
BOARDS_DIFFER = "boards_differ"  # a check: how far the boards of a cell are from their middle
FEWEST_FRESH = 3  # processes that tell a spread


def t_975(freedom: int) -> float:
    """97.5 % quantile of Student's t with `freedom` ≥ 1 degrees of freedom.

    Beyond the table by its expansion around the normal one (Abramowitz & Stegun 26.7.5), which is
    off by less than 1e-6 there.
    """
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def undisturbed_s(measurement: Measurement) -> tuple[tuple[float, ...], ...]:
    """The samples of each process without what they waited for a processor (`own_s`)."""
    if not measurement.processes:
        return measurement.samples_s
    return tuple(
        own_s(samples, process.waited_s, len(process.processors))
        for samples, process in zip(measurement.samples_s, measurement.processes, strict=True)
    )


def own_s(
    samples_s: Sequence[float], waited_s: Sequence[float], processors: int
) -> tuple[float, ...]:
    """Samples as if nobody else had had our processors; as they are where no waits are known.

    On one processor a wait is lost time, and is taken off. On several, one thread may work while
    another waits, and nobody knows how much was lost: only the samples that waited least count.
    """
    if not waited_s:
        return tuple(samples_s)
    if processors > 1:
        return tuple(samples_s[index] for index in least_disturbed(samples_s, waited_s))
    return tuple(one - wait for one, wait in zip(samples_s, waited_s, strict=True))


def least_disturbed(samples_s: Sequence[float], waited_s: Sequence[float]) -> list[int]:
    """Where those stand whose wait is longer than the shortest one by at most a hundredth."""
    least_s = min(waited_s)
    pairs = enumerate(zip(samples_s, waited_s, strict=True))
    return [index for index, (one, wait) in pairs if wait <= least_s + _HARDLY * one]


def process_medians_s(measurement: Measurement) -> tuple[float, ...]:
    """Seconds per inference: one median per process, of undisturbed samples."""
    return tuple(map(median, undisturbed_s(measurement)))


def latency_s(measurement: Measurement) -> float:
    """Seconds per inference: the median over processes of their medians."""
    return median(process_medians_s(measurement))


def state(measurement: Measurement) -> str:
    """The state that most processes are in; of equals, the worse.

    "unfinished" before the end, "imported" where another tool measured.
    """
    if not measurement.finished:
        return "unfinished"
    if not measurement.processes:
        return "imported"
    states = [process.state for process in measurement.processes]
    order: tuple[State, ...] = ("not_reached", "drifting", "bimodal", "steady")
    return max(order, key=states.count)


def interval_s(measurement: Measurement) -> tuple[float, float] | None:
    """95 % interval of the latency over processes; None with a single process.

    Where boards that are alike were found to differ (`twins`) it holds the level of each of them.
    """
    return on_each_board(measurement, level(measurement), process_medians_s(measurement))


def on_each_board(
    measurement: Measurement, found: Level | None, values: Sequence[float]
) -> tuple[float, float] | None:
    """95 % interval of the level of values `at_middle`; it holds each board, and their median."""
    steps, step_error = board_steps(measurement)
    if not steps or found is None:
        return bounds(found, values)
    low, high = (
        found.log + step + sign * t_975(found.freedom) * math.hypot(found.error, step_error)
        for step, sign in ((min(steps.values()), -1), (max(steps.values()), 1))
    )
    typical_s = median(values)
    return min(math.exp(low), typical_s), max(math.exp(high), typical_s)


def board_steps(measurement: Measurement) -> tuple[dict[str, float], float]:
    """How far boards are from their middle, as logarithms, and the error; {} where not at all."""
    found = next((one.data for one in measurement.checks if one.code == BOARDS_DIFFER), {})
    return found.get("steps", {}), found.get("error", 0.0)


def at_middle(
    measurement: Measurement, values: Sequence[float], processes: Sequence[Process]
) -> list[float]:
    """Times of processes of a cell as they would be at the middle of its boards."""
    steps, _ = board_steps(measurement)
    if not steps:
        return [*values]
    boards = (one.board for one in processes)
    return [value / math.exp(steps[board]) for board, value in zip(boards, values, strict=True)]


def relative_half_width(measurement: Measurement) -> float:
    """Half of `interval_s` relative to the latency; infinite with a single process."""
    bounds = interval_s(measurement)
    return (bounds[1] - bounds[0]) / 2 / latency_s(measurement) if bounds else math.inf


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the centre of positive values; None for fewer than 2.

    Student's t on logarithms, widened where needed to hold the median itself. With 3 to 10
    processes order statistics cannot reach 95 % and the bootstrap is too narrow; t is exact for
    log-normal values and known to be mild about others.
    """
    return bounds(level_among(values), values)


class Level(NamedTuple):
    """Mean of the logarithms of a cell's processes, its standard error, and degrees of freedom."""

    log: float
    error: float
    freedom: int


def level(measurement: Measurement) -> Level | None:
    """What the processes of a cell say together; None with a single process.

    Where its boards differ that is the level of their middle (`at_middle`).

    A cell that ended because its processes were close together was chosen for that: their spread
    is too small. So the processes that come after that decision tell the spread, and they alone.
    The mean is of all: that of normal values is independent of their spread, and so of a decision
    by it. With that the interval holds the truth in 95 % of such cells, whatever the spread
    (a two-stage sample in the manner of Stein 1945, "A two-sample test for a linear hypothesis
    whose power is independent of the variance"; `benchmarks/stopping.py`).
    """
    values = process_medians_s(measurement)
    if not measurement.processes:
        return level_among(values)
    return level_of(at_middle(measurement, values, measurement.processes), measurement.plan)


def level_of(values: Sequence[float], plan: Plan) -> Level | None:
    """The level of a cell from the medians of its processes, in order."""
    decided = decided_after(values, plan)
    if decided is None or len(values) < decided + FEWEST_FRESH:
        return level_among(values)
    return level_among(values, values[decided:])


def level_among(values: Sequence[float], fresh: Sequence[float] = ()) -> Level | None:
    """The level of values whose spread is that of `fresh`, or of all; None for fewer than 2."""
    telling = fresh or values
    if len(telling) < 2:
        return None
    error = stdev(map(math.log, telling)) / math.sqrt(len(values))
    return Level(fmean(map(math.log, values)), error, len(telling) - 1)


def bounds(found: Level | None, values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of a level, widened where needed to hold the median of the values."""
    if found is None:
        return None
    reach, middle = t_975(found.freedom) * found.error, median(values)
    return min(math.exp(found.log - reach), middle), max(math.exp(found.log + reach), middle)


def decided_after(values: Sequence[float], plan: Plan) -> int | None:
    """After how many processes it was decided that `plan.fresh` more would do; None: never.

    That is when, with the spread of those so far, the interval at the end would be narrow enough.
    A plan that has no room for fresh ones makes no such decision.

    Args:
        values: medians of the processes, in order.
        plan: of the cell.
    """
    if plan.protocol != "rounds" or not plan.fresh:
        return None
    first, last = max(plan.processes, 2), plan.max_processes - plan.fresh
    for count in range(first, min(last, len(values)) + 1):
        spread_so_far = stdev(map(math.log, values[:count]))
        reach = t_975(plan.fresh - 1) * spread_so_far / math.sqrt(count + plan.fresh)
        if math.sinh(reach) <= plan.interval:
            return count
    return None


def is_outlier(value: float, samples: Sequence[float]) -> bool:
    """Modified z-score above 10 and 20 % off the median (Iglewicz & Hoaglin 1993 say 3.5).

    Their limit is for few values; here hundreds are looked at, and small ones disturb nobody.
    """
    middle = median(samples)
    return abs(value - middle) > max(10 * spread(samples), 0.2) * middle


def percentile_s(measurement: Measurement, share: float) -> float | None:
    """A percentile of single inferences over all processes; None with too few of them.

    As MLPerf asks for an early estimate: 64 samples for the 90th, 662 for the 99th. A sample that
    is a mean of several inferences has no tail to speak of; where inferences were timed one by one
    (`Process.singles`), they alone count.
    """
    timed = [one.singles for one in measurement.processes if one.singles and one.singles.samples_s]
    if timed:
        return _percentile_s([one for singles in timed for one in singles.latencies_s], share)
    told = measurement.facts.get("loops", 0)
    loops = [process.loops for process in measurement.processes] or [told] * len(
        measurement.samples_s
    )
    singles = [
        value
        for repeated, samples in zip(loops, measurement.samples_s, strict=True)
        if repeated == 1
        for value in samples
    ]
    return _percentile_s(singles, share)


def _percentile_s(singles: Sequence[float], share: float) -> float | None:
    if len(singles) < PERCENTILE_SAMPLES[share]:
        return None
    return sorted(singles)[math.ceil(share * len(singles)) - 1]


def spread(samples: Sequence[float]) -> float:
    """Robust relative standard deviation: 1.4826 × MAD / median (Iglewicz & Hoaglin 1993)."""
    middle = median(samples)
    return 1.4826 * median(abs(value - middle) for value in samples) / middle


def classify(samples: Sequence[float]) -> State:
    """The state of one process from its samples in order: what they did, not what we hope.

    After Barrett et al. 2017 ("Virtual machine warmup blows hot and cold"): the series is cut where
    its level changes (`changepoints`), and the levels decide; changes of less than 3 % are none.

    * steady: one level, held with a spread of at most 10 %;
    * drifting: levels that only rise or only fall, or a monotonic trend inside one (Mann-Kendall,
      p < 0.001, more than 3 % between the halves);
    * bimodal: levels that go up and down again, or two clusters of samples more than 5 % apart;
    * not_reached: none of these, so no level was held.
    """
    middle = median(samples)
    if len(samples) < _FEW:
        return "steady" if (max(samples) - min(samples)) / middle <= _SPREAD else "not_reached"
    levels = _levels(samples, middle)
    rises = [later > earlier for earlier, later in pairwise(levels)]
    if rises:
        return "drifting" if all(rises) or not any(rises) else "bimodal"
    half = len(samples) // 2
    change = abs(median(samples[half:]) - median(samples[:half])) / middle
    if change > _DRIFT and abs(_mann_kendall_z(samples)) > _TREND_Z:
        return "drifting"
    if _bimodal(sorted(samples), middle):
        return "bimodal"
    return "steady" if spread(samples) <= _SPREAD else "not_reached"


def _levels(samples: Sequence[float], middle: float) -> list[float]:
    """Medians between changepoints, neighbours that differ by less than 3 % taken as one."""
    cuts = [0, *changepoints(samples), len(samples)]
    levels: list[float] = []
    for start, end in pairwise(cuts):
        level = median(samples[start:end])
        if not levels or abs(level - levels[-1]) > _DRIFT * middle:
            levels.append(level)
    return levels


def changepoints(samples: Sequence[float], least: float = 0.0) -> list[int]:
    """Indices at which the level of a series changes: the best cut into pieces of at least 5.

    Optimal partitioning (Jackson et al. 2005; PELT of Killick et al. 2012 without pruning, which
    a hundred samples do not need): the least sum of squared deviations from the pieces' means in
    units of the noise, plus a penalty of 3·ln n for each piece. Values are clipped at 5 sigma
    first (their order does not change), so that a single outlier makes no piece.

    Args:
        samples: in order.
        least: noise that is assumed at least, relative to their median.
    """
    count = len(samples)
    if count < 2 * _PIECE:
        return []
    noise = max(_noise(samples), least * median(samples))
    if not noise:
        return []
    middle = median(samples)
    scaled = [max(-5.0, min(5.0, (value - middle) / noise)) for value in samples]
    # Running sums make the cost of any piece a difference: Σx² - (Σx)²/n.
    sums, squares = [0.0], [0.0]
    for value in scaled:
        sums.append(sums[-1] + value)
        squares.append(squares[-1] + value * value)
    penalty = 3 * math.log(count)
    best, source = [-penalty] + [math.inf] * count, [0] * (count + 1)
    for end in range(_PIECE, count + 1):
        for start in (0, *range(_PIECE, end - _PIECE + 1)):
            total = sums[end] - sums[start]
            cost = squares[end] - squares[start] - total * total / (end - start)
            if best[start] + cost + penalty < best[end]:
                best[end], source[end] = best[start] + cost + penalty, start
    cuts, end = [], source[count]
    while end:
        cuts.append(end)
        end = source[end]
    return cuts[::-1]


def _noise(samples: Sequence[float]) -> float:
    """Standard deviation around the local level, from differences of neighbours."""
    steps = [abs(later - earlier) for earlier, later in pairwise(samples)]
    # 1.4826 turns the median of |differences| into a deviation, √2 that of one value.
    return 1.4826 * median(steps) / math.sqrt(2)


def _mann_kendall_z(samples: Sequence[float]) -> float:
    count = len(samples)
    score = sum(
        (samples[later] > samples[earlier]) - (samples[later] < samples[earlier])
        for earlier in range(count)
        for later in range(earlier + 1, count)
    )
    variance = count * (count - 1) * (2 * count + 5) / 18
    return (score - math.copysign(1, score)) / math.sqrt(variance) if score else 0.0


def _bimodal(ordered: Sequence[float], middle: float) -> bool:
    least = max(2, math.ceil(_MINOR_SHARE * len(ordered)))
    cuts = range(least, len(ordered) - least + 1)
    if not cuts:
        return False
    cut = max(cuts, key=lambda index: ordered[index] - ordered[index - 1])
    low, high = ordered[:cut], ordered[cut:]
    apart = fmean(high) - fmean(low)
    noise = math.hypot(stdev(low), stdev(high)) / math.sqrt(2)
    return apart > _SEPARATION * middle and apart > _ASHMAN_D * noise
