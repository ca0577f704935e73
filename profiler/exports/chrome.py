"""Chrome's trace events, which Perfetto and chrome://tracing show: an inference, and all samples.

A process of the trace is a cell. Its first track has the median inference with its ops end to end,
in order; `chrome_samples` makes the second one. Slices of a track nest strictly, as the format
asks: https://perfetto.dev/docs/getting-started/other-formats
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from nnprof.profiler import stats
from nnprof.profiler.exports import cells
from nnprof.profiler.exports.chrome_events import Event, known, mark, meta, piece
from nnprof.profiler.exports.chrome_samples import first_s, sample_events
from nnprof.profiler.exports.export import Asked, Export, Made, one
from nnprof.profiler.place.limits import Roofline
from nnprof.profiler.report import rows
from nnprof.text import plain
from nnprof.types import Failure, Measurement, OpTime, Run

_INFERENCE, _BESIDE, _SAMPLES = 1, 2, 3  # tracks
_MOST_NAME = 500  # characters of a process's name


def make(asked: Asked) -> Made:
    """One trace of all cells."""
    return one(msgspec.json.encode(trace(asked.run)) + b"\n")


def trace(run: Run) -> Event:
    """The trace as an object."""
    called = cells.names(cells.every(run), _MOST_NAME)
    roof, began_s = rows.roof(run), first_s(run)
    events: list[Event] = []
    for pid, (name, cell) in enumerate(zip(called, cells.every(run), strict=True), start=1):
        events += [meta("process_name", pid, 0, name), meta("process_sort_index", pid, 0, pid)]
        events.append(meta("thread_name", pid, _INFERENCE, "median inference"))
        if isinstance(cell, Failure):
            events.append(_failed(pid, cell))
            continue
        events.append(meta("thread_name", pid, _SAMPLES, "samples over time"))
        events += _inference(pid, cell, roof)
        events += sample_events((pid, _SAMPLES), cell, began_s)
    study = {"study": plain(run.study.name), "created": plain(run.study.created)}
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": study}


def _failed(pid: int, failure: Failure) -> Event:
    args = {"error": failure.error, "reason": failure.reason, "remedy": failure.remedy}
    return mark((pid, _INFERENCE), f"failed: {failure.error}", 0.0, known(args))


def _inference(pid: int, cell: Measurement, roof: Roofline | None) -> Iterator[Event]:
    """The clean latency with its ops in it, and what they leave; longer ops have it beside them."""
    clean_s, ops = stats.latency_s(cell), cell.ops.ops if cell.ops else ()
    laid_s, total_s = sum(max(op.seconds, 0.0) for op in ops), sum(op.seconds for op in ops)
    track, args = (pid, _INFERENCE), _latency_args(cell, total_s if ops else None)
    if laid_s <= clean_s:
        yield piece(track, "clean inference", 0.0, clean_s, args)
    else:
        yield piece(track, "ops, longer than the clean inference", 0.0, laid_s, args)
        yield meta("thread_name", pid, _BESIDE, "clean inference")
        yield piece((pid, _BESIDE), "clean inference", 0.0, clean_s, args)
    if not ops:
        yield mark(track, "the ops were not timed", 0.0, {})
        return
    at_s = 0.0
    for op in ops:
        told = _op_args(op, total_s, roof)
        if op.seconds > 0:
            yield piece(track, op.op, at_s, at_s + op.seconds, told)
            at_s += op.seconds
        else:  # the difference of two times, which may be below 0
            yield mark(track, f"{op.op}: no time that can be told", at_s, told)
    if at_s < clean_s:
        left = {"ms": (clean_s - at_s) * 1e3, "what": "the clean inference less its ops"}
        yield piece(track, "residual", at_s, clean_s, left)


def _latency_args(cell: Measurement, total_s: float | None) -> Event:
    row = rows.row_of(cell)
    shown = ("latency_ms", "low_ms", "high_ms", "p99_ms", "tiles_per_ms", "state", "samples")
    ops_ms = None if total_s is None else total_s * 1e3
    return known({**{name: row[name] for name in shown}, "ops_ms": ops_ms})


def _op_args(op: OpTime, total_s: float, roof: Roofline | None) -> Event:
    return known(
        {
            **{"node": op.node, "kind": op.kind, "ms": op.seconds * 1e3},
            "low_ms": None if op.low_s is None else op.low_s * 1e3,
            "high_ms": None if op.high_s is None else op.high_s * 1e3,
            "share_of_ops": op.seconds / total_s if total_s > 0 else None,
            **{"flops": op.flops, "kernel": op.kernel or None, "method": op.method},
            "origin": ", ".join(op.origin) or None,
            **rows.against(op, roof),
        }
    )


EXPORT = Export(make)
