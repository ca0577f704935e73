"""What watching costs: the latency with telemetry over that without, in pairs of fresh processes.

`nnprof devices --measure` measures it once per machine and state; every Run in that state then
carries it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import ClassVar

import msgspec

from nnprof.profiler import stats

INTERVAL_S = 0.5  # between readings of the device


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Latency with telemetry over latency without, and its 95 % interval over pairs.

    Attributes:
        latency_s: of the network it was measured with, without telemetry.
        interval_s: between readings.
    """

    folder: ClassVar[str] = "telemetry"  # of the cache, for `kept`

    ratio: float
    low: float
    high: float
    pairs: int
    latency_s: float
    interval_s: float = INTERVAL_S

    def __post_init__(self) -> None:
        """Refuse a ratio that no latencies have."""
        if not all(0 < ratio < math.inf for ratio in (self.ratio, self.low, self.high)):
            raise ValueError("ratios must be above 0")


def of(pairs: Sequence[tuple[float, float]]) -> Effect:
    """From at least two (seconds with, seconds without): t on the logarithms of the ratios."""
    logs = [math.log(watched / alone) for watched, alone in pairs]
    reach = stats.t_975(len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    return Effect(
        ratio=math.exp(fmean(logs)),
        low=math.exp(fmean(logs) - reach),
        high=math.exp(fmean(logs) + reach),
        pairs=len(logs),
        latency_s=median(alone for _, alone in pairs),
    )
