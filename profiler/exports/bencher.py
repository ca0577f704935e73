"""Bencher Metric Format: latency in nanoseconds and tiles per second, with their intervals.

https://bencher.dev/docs/reference/bencher-metric-format; read by `bencher run --adapter json`.
"""

from __future__ import annotations

import msgspec

from nnprof.profiler import stats
from nnprof.profiler.exports import cells
from nnprof.profiler.exports.export import (
    Asked,
    Export,
    Made,
    failures_left_out,
    one,
    require_measured,
)
from nnprof.types import Measurement

MOST_NAME = 1024
_Metric = dict[str, float]


def make(asked: Asked) -> Made:
    """One benchmark for each measured cell.

    Raises:
        UsageError: no cell was measured.
    """
    run = asked.run
    require_measured(run, "Bencher's format")
    names = cells.names(run.measurements, MOST_NAME)
    found = {name: _measures(cell) for name, cell in zip(names, run.measurements, strict=True)}
    text = msgspec.json.format(msgspec.json.encode(found), indent=2)
    return one(text + b"\n", failures_left_out(run, "Bencher's format"))


def _measures(cell: Measurement) -> dict[str, _Metric]:
    latency_s, bounds = stats.latency_s(cell), stats.interval_s(cell)
    found = {"latency": _metric(latency_s * 1e9, bounds and (bounds[0] * 1e9, bounds[1] * 1e9))}
    if tiles := cell.workload.tiles:
        rates = bounds and (tiles / bounds[1], tiles / bounds[0])
        found["throughput"] = _metric(tiles / latency_s, rates)
    return found


def _metric(value: float, bounds: tuple[float, float] | None) -> _Metric:
    if bounds is None:
        return {"value": value}
    return {"value": value, "lower_value": bounds[0], "upper_value": bounds[1]}


EXPORT = Export(make)
