"""What watching costs: the latency with telemetry over that without, in pairs of fresh processes.

Measured once per machine and state, and kept as its limits are
(`nnprof devices --measure`); every Run on that machine then carries it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import msgspec
from msgspec.structs import replace

from nnprof.profiler import kept, stats
from nnprof.profiler.telemetry import INTERVAL_S
from nnprof.types import Plan, Target

_LOG = logging.getLogger(__name__)
_PAIRS = 12
_PLAN = Plan(sample_s=0.5, op_method="none")
_LIMIT_S = 120.0


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Latency with telemetry over latency without, and its 95 % interval over pairs.

    Attributes:
        latency_s: of the network it was measured with, without telemetry.
        interval_s: between readings.
    """

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


def measure(target: Target) -> Effect:
    """Measure it with the bundled network, batch 1, where it would show most; half a minute.

    Raises:
        NnprofError: the target is not here.
    """
    pairs = []
    for number in range(_PAIRS):
        _LOG.info("telemetry's cost: pair %d of %d", number + 1, _PAIRS)
        order = (True, False) if number % 2 else (False, True)
        times = {watched: _latency_s(target, watched=watched) for watched in order}
        pairs.append((times[True], times[False]))
    return of(pairs)


def _latency_s(target: Target, *, watched: bool) -> float:
    from nnprof.exporters.onnx import chain_model, identity_model
    from nnprof.profiler import hosts, studies
    from nnprof.profiler.worker import CHAIN, Measure, Measured

    (cell,) = studies.bundled_cells(target, (1,))
    job = Measure(
        workload=cell.workload,
        target=target,
        plan=replace(_PLAN, telemetry_s=INTERVAL_S if watched else 0.0),
        floor=identity_model(),
        chain=chain_model(CHAIN),
        ops=False,
    )
    answer = hosts.run(job, _LIMIT_S)
    assert isinstance(answer, Measured)  # noqa: S101  a worker answers in kind
    return median(answer.samples_s)


def save(effect: Effect, environment: Mapping[str, Any], target: Target) -> Path:
    """Keep it for this machine in its state."""
    return kept.save("telemetry", effect, environment, target)


def load(environment: Mapping[str, Any], target: Target) -> tuple[Effect | None, str]:
    """What was kept for this machine in its state, and why there is nothing (`kept`)."""
    return kept.load("telemetry", Effect, environment, target)
