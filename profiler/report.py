"""Runs as people read them: tables for a terminal, rows for CSV, Markdown and JSON.

Here, and only here, seconds become milliseconds.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from nnprof.profiler import checks, stats
from nnprof.types import Check, Failure, Measurement, OpTime, Run

COLUMNS = (
    *("network", "batch", "precision", "backend", "device", "threads"),
    *("tiles_per_ms", "ms_per_tile", "latency_ms", "low_ms", "high_ms"),
    *("samples", "processes", "ops_over_clean", "state", "stopped"),
)
OP_COLUMNS = (
    *("network", "batch", "index", "op", "kind", "ms", "ms_per_tile", "share", "method"),
    *("node", "origin"),
)

Row = dict[str, Any]


def rows(run: Run) -> list[Row]:
    """One row per cell with the keys of COLUMNS; a failed cell has None for numbers.

    `state` is steady, drifting, bimodal, not_reached, unfinished or failed.
    """
    measured = [_row(measurement) for measurement in run.measurements]
    return measured + [_failed_row(failure) for failure in run.failures]


def _what(item: Measurement | Failure) -> Row:
    return {
        "network": item.workload.model.name,
        "batch": item.workload.batch,
        "precision": item.workload.precision,
        "backend": item.target.backend,
        "device": item.target.device,
        "threads": item.target.threads,
    }


def _row(measurement: Measurement) -> Row:
    latency_s = stats.latency_s(measurement)
    low_s, high_s = stats.interval_s(measurement) or (None, None)
    batch = measurement.workload.batch
    return {
        **_what(measurement),
        "tiles_per_ms": batch / (latency_s * 1e3),
        "ms_per_tile": latency_s * 1e3 / batch,
        "latency_ms": latency_s * 1e3,
        "low_ms": low_s and low_s * 1e3,
        "high_ms": high_s and high_s * 1e3,
        "samples": sum(map(len, measurement.samples_s)),
        "processes": len(measurement.processes),
        "ops_over_clean": checks.ops_over_clean(measurement),
        "state": stats.state(measurement),
        "stopped": measurement.stopped,
    }


def _failed_row(failure: Failure) -> Row:
    empty = dict.fromkeys(COLUMNS)
    return {**empty, **_what(failure), "state": "failed", "stopped": failure.error}


def op_rows(run: Run) -> list[Row]:
    """One row per op of every cell, with the keys of OP_COLUMNS. `share` is of Σops."""
    return [row for measurement in run.measurements for row in _op_rows(measurement)]


def _op_rows(measurement: Measurement) -> list[Row]:
    if measurement.ops is None:
        return []
    total_s = sum(op.seconds for op in measurement.ops.ops)
    batch = measurement.workload.batch
    return [
        {
            "network": measurement.workload.model.name,
            "batch": batch,
            "index": op.index,
            "op": op.op,
            "kind": op.kind,
            "ms": op.seconds * 1e3,
            "ms_per_tile": op.seconds * 1e3 / batch,
            "share": op.seconds / total_s if total_s else None,
            "method": op.method,
            "node": op.node,
            "origin": " ".join(op.origin),
        }
        for op in measurement.ops.ops
    ]


def as_csv(table: Sequence[Row], columns: Sequence[str]) -> str:
    """The rows as CSV, numbers in full."""
    import pandas as pd

    # As objects, or a column with one gap would turn its whole numbers into fractions.
    return str(pd.DataFrame(table, columns=list(columns), dtype=object).to_csv(index=False))


def as_markdown(table: Sequence[Row], columns: Sequence[str]) -> str:
    """The rows as a Markdown table, numbers to four digits."""
    import pandas as pd

    frame = pd.DataFrame(table, columns=list(columns), dtype=object).map(
        lambda value: digits(value) if value is None or isinstance(value, float) else value
    )
    return f"{frame.to_markdown(index=False, disable_numparse=True)}\n"


# --- tables for a terminal ------------------------------------------------------------------------


def digits(value: float | None, count: int = 4) -> str:
    """A number to so many significant digits, without exponents where they can be helped."""
    if value is None or math.isnan(value):
        return "–"
    if value == 0 or not 1e-6 <= abs(value) < 1e9:
        return f"{value:.{count}g}"
    decimals = max(0, count - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def aligned(values: Sequence[float], count: int = 4) -> list[str]:
    """Numbers with as many decimals as the largest needs for `count` significant digits."""
    largest = max((abs(value) for value in values), default=0.0)
    whole = math.floor(math.log10(largest)) if largest else 0
    return [f"{value:.{max(0, count - 1 - whole)}f}" for value in values]


def heading(run: Run) -> str:
    """What all cells of a Run share, in one line or two."""
    first = run.study.cells[0]
    version = run.environment.get("backend", {}).get("version", "")
    counts = sorted({cell.target.threads for cell in run.study.cells})
    threads = ", ".join(f"{count} thread{'s' if count > 1 else ''}" for count in counts)
    shared = (
        f"{run.study.name} on {first.target.device}, {first.target.backend} {version}, "
        f"{first.workload.precision}, {threads}"
    )
    common, _ = _labels(_names(run))
    return f"{shared}\n{common}" if common else shared


def cell_table(run: Run) -> Table:
    """One line per cell."""
    _, labels = _labels(_names(run))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("network", overflow="fold")
    for name in ("batch", "tiles/ms", "ms/tile", "latency ms", "± %", "Σops/clean"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    previous = None
    for measurement in run.measurements:
        name = measurement.workload.model.name
        table.add_row("" if name == previous else labels[name], *_cell_line(measurement))
        previous = name
    for failure in run.failures:
        name, batch = labels[failure.workload.model.name], str(failure.workload.batch)
        table.add_row(name, batch, *["–"] * 5, "[red]failed[/red]")
    return table


def _names(run: Run) -> list[str]:
    return [cell.workload.model.name for cell in run.study.cells]


_FAMILY_CALL = re.compile(r"(\w+)\((.+)\)")


def _labels(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What all networks of one family share, and for each network what is its own.

    Networks that are not all of one family keep their names, and share nothing.
    """
    calls = {name: _FAMILY_CALL.fullmatch(name) for name in names}
    families = {call[1] if call else "" for call in calls.values()}
    if len(calls) < 2 or len(families) > 1 or "" in families:
        return "", {name: name for name in names}
    arguments = {name: call[2].split(", ") for name, call in calls.items() if call}
    shared = [
        word for word in arguments[names[0]] if all(word in own for own in arguments.values())
    ]
    labels = {
        name: ", ".join(word for word in own if word not in shared)
        for name, own in arguments.items()
    }
    return f"{families.pop()}({', '.join(shared)})", labels


def _cell_line(measurement: Measurement) -> list[str]:
    row = _row(measurement)
    half = stats.half_width(stats.process_medians_s(measurement))
    state = row["state"]
    return [
        str(row["batch"]),
        digits(row["tiles_per_ms"]),
        digits(row["ms_per_tile"]),
        digits(row["latency_ms"]),
        "–" if math.isinf(half) else f"{half * 100:.1f}",
        digits(row["ops_over_clean"], 3),
        state if state == "steady" else f"[yellow]{state}[/yellow]",
    ]


def kind_table(measurement: Measurement) -> Table:
    """Time per kind of op, the longest first."""
    by_kind: dict[str, list[OpTime]] = defaultdict(list)
    for op in _ops(measurement):
        by_kind[op.kind].append(op)
    spent = {kind: sum(op.seconds for op in group) for kind, group in by_kind.items()}
    kinds = sorted(spent, key=lambda kind: -spent[kind])
    return _op_layout(
        measurement,
        ("kind", "ops"),
        [(kind, str(len(by_kind[kind]))) for kind in kinds],
        [spent[kind] for kind in kinds],
        [", ".join(sorted({op.method for op in by_kind[kind]})) for kind in kinds],
    )


def op_table(measurement: Measurement) -> Table:
    """Time per op in order of execution."""
    ops = _ops(measurement)
    return _op_layout(
        measurement,
        ("op", "output"),
        [
            (f"{op.index} {op.op}", "×".join(map(str, op.outputs[0])) if op.outputs else "")
            for op in ops
        ],
        [op.seconds for op in ops],
        [op.method for op in ops],
    )


def _ops(measurement: Measurement) -> tuple[OpTime, ...]:
    return measurement.ops.ops if measurement.ops else ()


def _op_layout(
    measurement: Measurement,
    heads: tuple[str, str],
    words: Sequence[tuple[str, str]],
    seconds: Sequence[float],
    methods: Sequence[str],
) -> Table:
    """Words, then ms, ms/tile and share of Σops, aligned on the decimal point."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(heads[0], no_wrap=True)
    table.add_column(heads[1], justify="right" if heads[1] == "ops" else "left")
    for name in ("ms", "ms/tile", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("method", no_wrap=True)
    total_s, batch = sum(seconds), measurement.workload.batch
    ms = aligned([value * 1e3 for value in seconds])
    ms_per_tile = aligned([value * 1e3 / batch for value in seconds])
    for word, own_ms, per_tile, value, method in zip(
        words, ms, ms_per_tile, seconds, methods, strict=True
    ):
        table.add_row(*word, own_ms, per_tile, f"{value / total_s:.1%}", method)
    return table


def residual_line(measurement: Measurement) -> str:
    """Σops / clean / residual, and what the profiler itself cost."""
    if measurement.ops is None:
        return "No op times: measured with --ops none."
    clean_ms = stats.latency_s(measurement) * 1e3
    ops_ms = sum(op.seconds for op in measurement.ops.ops) * 1e3
    rest = clean_ms - ops_ms
    cost = measurement.ops.latency_s * 1e3 / clean_ms - 1
    return (
        f"Σops {digits(ops_ms)} ms / clean {digits(clean_ms)} ms / residual {digits(rest)} ms "
        f"({rest / clean_ms:+.1%}); method {measurement.ops.method}, "
        f"latency while it watched {cost:+.1%}"
    )


def check_lines(run: Run) -> list[str]:
    """Each kind of warning once, with the number of cells it concerns."""
    found: dict[str, list[Check]] = defaultdict(list)
    for measurement in run.measurements:
        for check in measurement.checks:
            found[check.code].append(check)
    lines = []
    for alike in found.values():
        sentence, advice = checks.text(alike[0])
        example = f"{len(alike)} of {len(run.measurements)} cells, for example: "
        lines.append(f"{example if len(run.measurements) > 1 else ''}{sentence} {advice}")
    return lines


def failure_lines(failures: Iterable[Failure]) -> list[str]:
    """Each failed cell with its reason and remedy."""
    return [
        f"{failure.workload.model.name}, batch {failure.workload.batch}: {failure.error}: "
        f"{failure.reason} {failure.remedy}".strip()
        for failure in failures
    ]


def timed_line(run: Run) -> str:
    """How much of the wall time was spent on warm-up and samples."""
    timed_s = sum(process.timed_s for m in run.measurements for process in m.processes)
    wall_s = run.study.wall_s
    # A fake clock runs ahead of the wall; there is no share of it.
    share = f" ({timed_s / wall_s:.0%})" if wall_s > timed_s else ""
    return f"Measured for {wall_s:.1f} s, of which {timed_s:.1f} s timed inference{share}."
