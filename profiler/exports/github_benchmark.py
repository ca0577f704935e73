"""What github-action-benchmark reads as `customSmallerIsBetter`: milliseconds of an inference.

https://github.com/benchmark-action/github-action-benchmark, src/extract.ts.
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
from nnprof.profiler.report.digits import digits
from nnprof.types import Measurement

_MOST_NAME = 500
_FORM = "github-action-benchmark"


def make(asked: Asked) -> Made:
    """One entry for each measured cell.

    Raises:
        UsageError: no cell was measured.
    """
    run = asked.run
    require_measured(run, _FORM)
    names = cells.names(run.measurements, _MOST_NAME)
    found = [_entry(name, cell) for name, cell in zip(names, run.measurements, strict=True)]
    text = msgspec.json.format(msgspec.json.encode(found), indent=2)
    return one(text + b"\n", failures_left_out(run, _FORM))


def _entry(name: str, cell: Measurement) -> dict[str, str | float]:
    latency_s, bounds = stats.latency_s(cell), stats.interval_s(cell)
    found: dict[str, str | float] = {"name": name, "unit": "ms", "value": latency_s * 1e3}
    said = [f"{len(cell.samples_s)} processes, {stats.state(cell)}"]
    if bounds:
        half_ms = (bounds[1] - bounds[0]) / 2 * 1e3
        found["range"] = f"± {digits(half_ms, 2)}"
        said.append(f"95 % interval {digits(bounds[0] * 1e3)} to {digits(bounds[1] * 1e3)} ms")
    if tiles := cell.workload.tiles:
        said.append(f"{digits(tiles / latency_s / 1e3)} tiles/ms")
    return {**found, "extra": "\n".join(said)}


EXPORT = Export(make)
