"""Whether a loop got slower or faster from turn to turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from nnprof.profiler import stats
from nnprof.types import Measurement

_TURN_DRIFT = 0.005


class Drift(NamedTuple):
    """Change of the latency per turn of a loop, over networks: relative, with its 95 % interval."""

    per_turn: float
    low: float
    high: float

    @property
    def found(self) -> bool:
        """Beyond doubt, and more than half a percent per turn."""
        return (self.low > 0 or self.high < 0) and abs(self.per_turn) > _TURN_DRIFT


def drift(measurements: Sequence[Measurement]) -> Drift | None:
    """Whether a loop got slower or faster from turn to turn (Mattsson 2016, Table 1).

    Each network gives one slope, by least squares on the logarithms of its turns' medians; the
    interval is over networks. None with fewer than 2 networks or 2 turns.
    """
    turns = [stats.process_medians_s(one) for one in measurements if len(one.samples_s) > 1]
    slopes = [_slope([math.log(value) for value in own]) for own in turns]
    if len(slopes) < 2:
        return None
    reach = stats.t_975(len(slopes) - 1) * stdev(slopes) / math.sqrt(len(slopes))
    middle = fmean(slopes)
    return Drift(*(math.expm1(value) for value in (middle, middle - reach, middle + reach)))


def _slope(values: Sequence[float]) -> float:
    centre = (len(values) - 1) / 2
    weights = [index - centre for index in range(len(values))]
    return sum(w * value for w, value in zip(weights, values, strict=True)) / sum(
        w * w for w in weights
    )
