"""Streams of a Run as columns of its rows: throughput is there already. Pure."""

from __future__ import annotations

from typing import Any

from nnprof.profiler.streamed import Streamed, Told, speedup, streamed
from nnprof.types import Failure, Measurement, Run

COLUMNS = (
    *("streams", "speedup", "low_speedup", "high_speedup"),
    *("stream_p50_ms", "low_stream_p50_ms", "high_stream_p50_ms"),
    *("stream_p99_ms", "low_stream_p99_ms", "high_stream_p99_ms"),
    *("slowest_stream", "jain", "share_processors"),
)
Row = dict[str, Any]


def columns_of(cell: Measurement, run: Run) -> Row:
    """The columns that a cell with streams has beside the others."""
    found = streamed(cell)
    if found is None:
        return {}
    return {
        "streams": found.streams,
        **_three("speedup", speedup_of(cell, run), 1.0),
        **_three("stream_p50_ms", found.p50_s, 1e3),
        **_three("stream_p99_ms", found.p99_s, 1e3),
        "slowest_stream": found.slowest.middle,
        "jain": found.jain.middle,
        "share_processors": found.share,
    }


def of_failure(failure: Failure) -> Row:
    """How many streams a failed cell was to have."""
    return {"streams": failure.target.streams}


def speedup_of(cell: Measurement, run: Run) -> Told | None:
    """Over one stream of the same workload in the same Run; None where there is none."""
    own = streamed(cell)
    one = next((found for other in run.measurements if (found := _single(other, cell))), None)
    return speedup(one, own) if one and own else None


def _single(other: Measurement, cell: Measurement) -> Streamed | None:
    alone = other.target.streams == 1 and other.workload == cell.workload
    return streamed(other) if alone else None


def _three(name: str, told: Told | None, factor: float) -> Row:
    values = (told.middle, told.low, told.high) if told else (None,) * 3
    scaled = (None if value is None else value * factor for value in values)
    return dict(zip((name, f"low_{name}", f"high_{name}"), scaled, strict=True))
