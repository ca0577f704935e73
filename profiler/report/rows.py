"""A Run as plain rows: one per cell, or one per op. Here seconds become milliseconds. Pure.

A new column is a name in `COLUMNS` or `OP_COLUMNS` and its value in `_row` or `_op_rows`.
"""

from __future__ import annotations

from typing import Any

from nnprof.profiler import checks, frames, stats
from nnprof.profiler.place import limits
from nnprof.profiler.place.limits import Roofline
from nnprof.profiler.report import memory_rows, stream_rows
from nnprof.profiler.streamed import is_streamed
from nnprof.profiler.timing import energy
from nnprof.types import (
    Failure,
    Measurement,
    OpTime,
    Run,
)

COLUMNS = (
    *("network", "batch", "precision", "backend", "device", "on", "threads"),
    *("tiles_per_ms", "ms_per_tile", "latency_ms", "low_ms", "high_ms"),
    *("p90_ms", "p99_ms", "samples", "processes", "ops_over_clean", "state", "stopped"),
    *("mj_per_tile", "rail", "accuracy", "conversion"),
)


FRAME_COLUMNS = (  # of a Run whose tiles are cut from an image
    *("tiles_per_frame", "ms_per_frame", "cut_ms_per_frame"),
    *("frames_per_s", "low_frames_per_s", "high_frames_per_s"),
    *("frames_per_s_with_cut", "low_frames_per_s_with_cut", "high_frames_per_s_with_cut"),
    "whole_ms_per_frame",
)


OP_COLUMNS = (
    *("network", "batch", "index", "op", "kind", "ms", "ms_per_tile", "share", "method"),
    *("low_ms", "high_ms", "flops", "bytes_in", "bytes_out", "bytes_weights", "live_bytes"),
    *("of_limit", "bound", "node", "origin", "key"),
)


Row = dict[str, Any]


def columns(run: Run) -> tuple[str, ...]:
    """The keys of `rows`."""
    cut = any(cell.workload.image for cell in run.study.cells)
    told = memory_rows.known(run)
    several = stream_rows.COLUMNS if is_streamed(run) else ()
    return (
        *COLUMNS,
        *(FRAME_COLUMNS if cut else ()),
        *(memory_rows.COLUMNS if told else ()),
        *several,
    )


def rows(run: Run) -> list[Row]:
    """One row per cell with the keys of `columns`; a failed cell has None for numbers.

    `state` is steady, drifting, bimodal, not_reached, unfinished or failed; `accuracy` is a share
    of 1, None where it was not asked for or is not known.
    """
    total, empty = total_rail(run), dict.fromkeys(columns(run))
    measured = [
        {
            **empty,
            **row_of(measurement),
            **_energy(measurement, total),
            **_frame(measurement),
            **memory_rows.columns_of(measurement),
            **stream_rows.columns_of(measurement, run),
            "accuracy": accuracy_of(run, measurement.workload.model.sha256),
            "conversion": measurement.workload.model.conversion or None,
        }
        for measurement in run.measurements
    ]
    return measured + [{**empty, **_failed_row(failure)} for failure in run.failures]


def _what(item: Measurement | Failure) -> Row:
    return {
        "network": item.workload.model.name,
        "batch": item.workload.batch,
        "precision": item.workload.precision,
        "backend": item.target.backend,
        "device": item.target.device,
        "on": item.target.on or None,
        "threads": item.target.threads,
    }


def row_of(measurement: Measurement) -> Row:
    """The row of a measured cell, without energy and accuracy."""
    latency_s = stats.latency_s(measurement)
    low_s, high_s = stats.interval_s(measurement) or (None, None)
    tiles = measurement.workload.tiles
    return {
        **_what(measurement),
        "tiles_per_ms": tiles and tiles / (latency_s * 1e3),
        "ms_per_tile": _per(tiles, latency_s),
        "latency_ms": latency_s * 1e3,
        "low_ms": _ms(low_s),
        "high_ms": _ms(high_s),
        "p90_ms": _ms(stats.percentile_s(measurement, 0.90)),
        "p99_ms": _ms(stats.percentile_s(measurement, 0.99)),
        "samples": sum(map(len, measurement.samples_s)),
        "processes": len(measurement.processes),
        "ops_over_clean": checks.ops_over_clean(measurement),
        "state": stats.state(measurement),
        "stopped": measurement.stopped,
    }


def total_rail(run: Run) -> str | None:
    """The rail that feeds the whole board, where the Run names one."""
    name = run.environment.get("device", {}).get("total_rail")
    return name if isinstance(name, str) else None


def _energy(measurement: Measurement, total: str | None) -> Row:
    """From the rail that feeds the whole device; where none does, from that of what computes."""
    first = next(iter(energy.per_tile(measurement, total)), None)
    counted = measurement.workload.tiles
    return {
        "mj_per_tile": first.joules * 1e3 if first and counted else None,
        "rail": first.rail if first else None,
    }


def _frame(measurement: Measurement) -> Row:
    """Of an image, inference alone and with cutting; nothing where there is none."""
    one = frames.measured(measurement)
    if one is None:
        return {}
    low, high = one.inference.rates
    both_low, both_high = one.both.rates if one.both else (None, None)
    return {
        "tiles_per_frame": one.tiles,
        "ms_per_frame": None if one.streams else one.inference.seconds * 1e3,
        "cut_ms_per_frame": _ms(one.cutting and one.cutting.seconds),
        "frames_per_s": one.inference.per_s,
        "low_frames_per_s": low,
        "high_frames_per_s": high,
        "frames_per_s_with_cut": one.both and one.both.per_s,
        "low_frames_per_s_with_cut": both_low,
        "high_frames_per_s_with_cut": both_high,
        "whole_ms_per_frame": _ms(one.whole_s),
    }


def _per(tiles: int | None, seconds: float) -> float | None:
    """Milliseconds per tile; None where an inference is not known to be any number of tiles."""
    return seconds * 1e3 / tiles if tiles else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _failed_row(failure: Failure) -> Row:
    cut = failure.workload.image is not None
    empty = dict.fromkeys((*COLUMNS, *FRAME_COLUMNS) if cut else COLUMNS)
    return {**empty, **_what(failure), "state": "failed", "stopped": failure.error}


def op_rows(run: Run) -> list[Row]:
    """One row per op of every cell, with the keys of OP_COLUMNS. `share` is of Σops."""
    known = roof(run)
    return [row for measurement in run.measurements for row in _op_rows(measurement, known)]


def roof(run: Run) -> Roofline | None:
    """The limits of the machine that a Run was made on, where they had been measured."""
    return limits.stated(run.environment)


def _op_rows(measurement: Measurement, known: Roofline | None) -> list[Row]:
    if measurement.ops is None:
        return []
    total_s = sum(op.seconds for op in measurement.ops.ops)
    work = measurement.workload
    return [
        {
            "network": work.model.name,
            "batch": work.batch,
            "index": op.index,
            "op": op.op,
            "kind": op.kind,
            "ms": op.seconds * 1e3,
            "ms_per_tile": _per(work.tiles, op.seconds),
            "share": op.seconds / total_s if total_s else None,
            "method": op.method,
            "low_ms": _ms(op.low_s),
            "high_ms": _ms(op.high_s),
            "flops": op.flops,
            "bytes_in": op.bytes_in,
            "bytes_out": op.bytes_out,
            "bytes_weights": op.bytes_weights,
            "live_bytes": op.live_bytes,
            **against(op, known),
            "node": op.node,
            "origin": " ".join(op.origin),
            "key": op.key,
        }
        for op in measurement.ops.ops
    ]


def against(op: OpTime, known: Roofline | None) -> Row:
    """Which share of its limit an op reaches, and what that limit is."""
    least = known.limit(op) if known else None
    if least is None or not op.seconds:
        return {"of_limit": None, "bound": None}
    return {"of_limit": least[0] / op.seconds, "bound": least[1]}


def accuracy_of(run: Run, sha256: str) -> float | None:
    """Share of the tiles that the model gets right, None where it is not known."""
    return next((one.top1 for one in run.accuracies if one.sha256 == sha256), None)
