"""Pure statistics over raw samples: medians, intervals, the state of a process.

The process is the unit: samples inside one process share its memory layout and its neighbours, so
they are not independent (Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time"). Each
process gives one number, its median; everything else is said over those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev

from nnprof.types import Measurement

# Student's t, 97.5 %, for 1…30 degrees of freedom (Fisher & Yates, table III); 1.96 beyond.
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


def t_975(freedom: int) -> float:
    """97.5 % quantile of Student's t with `freedom` ≥ 1 degrees of freedom."""
    return _T_975[freedom - 1] if freedom <= len(_T_975) else 1.96


def process_medians_s(measurement: Measurement) -> tuple[float, ...]:
    """Seconds per inference: one median per process."""
    return tuple(median(samples) for samples in measurement.samples_s)


def latency_s(measurement: Measurement) -> float:
    """Seconds per inference: the median over processes of their medians."""
    return median(process_medians_s(measurement))


def state(measurement: Measurement) -> str:
    """The state that most processes are in; of equals, the worse. "unfinished" before the end."""
    if not measurement.finished:
        return "unfinished"
    states = [process.state for process in measurement.processes]
    order = ("not_reached", "drifting", "bimodal", "steady")
    return max(order, key=states.count)


def interval_s(measurement: Measurement) -> tuple[float, float] | None:
    """95 % interval of the latency over processes; None with a single process."""
    return interval(process_medians_s(measurement))


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the centre of positive values; None for fewer than 2.

    Student's t on logarithms, widened where needed to hold the median itself. With 3 to 10
    processes order statistics cannot reach 95 % and the bootstrap is too narrow; t is exact for
    log-normal values and known to be mild about others.
    """
    if len(values) < 2:
        return None
    logs = [math.log(value) for value in values]
    centre, reach = fmean(logs), t_975(len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    middle = median(values)
    return min(math.exp(centre - reach), middle), max(math.exp(centre + reach), middle)


def half_width(values: Sequence[float]) -> float:
    """Half the 95 % interval relative to the median; infinite for fewer than 2 values."""
    bounds = interval(values)
    return (bounds[1] - bounds[0]) / 2 / median(values) if bounds else math.inf


def spread(samples: Sequence[float]) -> float:
    """Robust relative standard deviation: 1.4826 × MAD / median (Iglewicz & Hoaglin 1993)."""
    middle = median(samples)
    return 1.4826 * median(abs(value - middle) for value in samples) / middle


def classify(samples: Sequence[float]) -> str:
    """The state of one process from its samples in order: what they did, not what we hope.

    * drifting: a monotonic trend (Mann-Kendall, p < 0.001) of more than 3 % between the halves;
    * bimodal: two clusters more than 5 % apart, cleanly separated, the smaller at least 15 %;
    * not_reached: neither, but the spread is above 10 %, so no level was held;
    * steady: a level was held.

    The words are those of Barrett et al. 2017 ("Virtual machine warmup blows hot and cold").
    """
    middle = median(samples)
    if len(samples) < _FEW:
        return "steady" if (max(samples) - min(samples)) / middle <= _SPREAD else "not_reached"
    half = len(samples) // 2
    change = abs(median(samples[half:]) - median(samples[:half])) / middle
    if change > _DRIFT and abs(_mann_kendall_z(samples)) > _TREND_Z:
        return "drifting"
    if _bimodal(sorted(samples), middle):
        return "bimodal"
    return "steady" if spread(samples) <= _SPREAD else "not_reached"


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
