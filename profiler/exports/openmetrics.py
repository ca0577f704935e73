"""OpenMetrics text, for Prometheus' textfile collector and others: a gauge for each number.

https://prometheus.io/docs/specs/om/open_metrics_spec. Without time stamps, which that collector
refuses; when the Run was made is a gauge of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nnprof.errors import Unavailable
from nnprof.profiler import stats
from nnprof.profiler.deadlines import Verdict, Word
from nnprof.profiler.exports import cells, judged
from nnprof.profiler.exports.export import Asked, Export, Made, one
from nnprof.profiler.report import rows
from nnprof.profiler.timing import energy
from nnprof.text import plain
from nnprof.types import Failure, Measurement, Run

if TYPE_CHECKING:
    from prometheus_client import Metric

_MOST_LABEL = 500
_LABELS = ("network", "batch", "precision", "backend", "device", "on", "host", "threads", "model")
_WORDS: tuple[Word, ...] = ("FITS", "UNDECIDED", "MISSES")  # of a cell that was measured
# Name, unit, what it says.
_GAUGES = (
    ("latency", "seconds", "Median latency of one inference"),
    ("latency_low", "seconds", "Lower end of its 95 % interval"),
    ("latency_high", "seconds", "Upper end of its 95 % interval"),
    ("latency_p90", "seconds", "90th percentile of single inferences"),
    ("latency_p99", "seconds", "99th percentile of single inferences"),
    ("ops", "seconds", "Sum of all ops of one inference"),
    ("tile_energy", "joules", "Energy of one tile beyond idling"),
    ("budget", "seconds", "Time budget of one inference, or of one image"),
    ("headroom", "seconds", "What the 99th percentile leaves of it; else the median"),
    ("missed", "ratio", "Share of inferences that missed it"),
    *((f"budget_{w.lower()}", "", f"1 where the verdict is {w}") for w in _WORDS),
    ("tiles_per_second", "", "Tiles classified per second, by the median"),
)


def make(asked: Asked) -> Made:
    """The exposition of one Run.

    Raises:
        Unavailable: prometheus-client is not installed.
    """
    try:
        from prometheus_client.openmetrics.exposition import generate_latest
    except ImportError as error:
        raise Unavailable(
            "OpenMetrics is written by prometheus-client, which is not installed.",
            "pip install 'nnprof-embedded[openmetrics]'",
        ) from error
    write: Any = generate_latest  # of what has `collect`; its types say less
    return one(bytes(write(_Collector(asked.run, asked.budget_s))))


class _Collector:
    """What is asked for its metrics in place of a registry of live ones."""

    def __init__(self, run: Run, budget_s: float | None) -> None:
        self._run, self._budget_s = run, budget_s

    def collect(self) -> Iterator[Metric]:
        """All metrics of the Run."""
        return _metrics(self._run, self._budget_s)


def _metrics(run: Run, budget_s: float | None) -> Iterator[Metric]:
    from prometheus_client.metrics_core import GaugeMetricFamily

    labels, known = _labels(run), judged.by_cell(run, budget_s)
    values = [_values(run, cell) | _verdict(judged.of(known, cell)) for cell in run.measurements]
    for name, unit, help_ in _GAUGES:
        family = GaugeMetricFamily(f"nnprof_{name}", help_, labels=_LABELS, unit=unit)
        for own, told in zip(labels, values, strict=False):
            if (value := told.get(name)) is not None:
                family.add_metric(own, value)
        if family.samples:
            yield family
    failed = GaugeMetricFamily("nnprof_failed", "1 where the cell failed", labels=_LABELS)
    for index, own in enumerate(labels):
        failed.add_metric(own, float(index >= len(run.measurements)))
    yield failed
    if (created_s := _created_s(run)) is not None:
        yield GaugeMetricFamily(
            "nnprof_created", "When the Run began, since 1970", value=created_s, unit="seconds"
        )


def _values(run: Run, cell: Measurement) -> dict[str, float | None]:
    latency_s, bounds = stats.latency_s(cell), stats.interval_s(cell)
    low_s, high_s = bounds or (None, None)
    tiles, ops = cell.workload.tiles, cell.ops
    first = next(iter(energy.per_tile(cell, rows.total_rail(run))), None)
    return {
        **{"latency": latency_s, "latency_low": low_s, "latency_high": high_s},
        "latency_p90": stats.percentile_s(cell, 0.90),
        "latency_p99": stats.percentile_s(cell, 0.99),
        "ops": sum(op.seconds for op in ops.ops) if ops and ops.ops else None,
        "tile_energy": first.joules if first and tiles else None,
        "tiles_per_second": tiles and tiles / latency_s,
    }


def _verdict(verdict: Verdict | None) -> dict[str, float | None]:
    """The budget, and for each word whether it is the verdict."""
    if verdict is None:
        return {}
    words = {f"budget_{one.lower()}": float(one == verdict.word) for one in _WORDS}
    told = {"budget": verdict.budget_s, "headroom": verdict.headroom_s}
    return {**told, "missed": verdict.missed.estimate, **words}


def _labels(run: Run) -> list[list[str]]:
    """Of each cell; the network's name is told apart where all labels are those of another."""
    found = [[_label(value) for value in _told(cell)] for cell in cells.every(run)]
    alike: dict[tuple[str, ...], int] = {}
    for own in found:
        count = alike[tuple(own)] = alike.get(tuple(own), 0) + 1
        if count > 1:
            own[0] = f"{own[0]} #{count}"
    return found


def _told(cell: Measurement | Failure) -> tuple[Any, ...]:
    work, target = cell.workload, cell.target
    options = [f"{option}={value}" for option, value in sorted(target.options.items())]
    sides = [f"{side}={size}" for side, size in sorted(work.dims.items())]
    network = ", ".join((work.model.name, *sides, *options))
    where = (target.backend, target.device, target.on, target.host, target.threads)
    return (network, work.batch, work.precision, *where, work.model.sha256[:12])


def _label(value: object) -> str:
    return cells.shortened(plain(str(value)), _MOST_LABEL)


def _created_s(run: Run) -> float | None:
    """Seconds since 1970, None where the Run does not tell when it was made."""
    try:
        return datetime.fromisoformat(run.study.created).timestamp()
    except ValueError:
        return None


EXPORT = Export(make)
