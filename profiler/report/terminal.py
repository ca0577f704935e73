"""A Run as tables of a terminal."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnprof.profiler import stats
from nnprof.profiler.place.limits import Roofline
from nnprof.terminal import Table, styled
from nnprof.types import (
    LOCAL,
    Measurement,
    Model,
    OpTime,
    Run,
    Target,
)

if TYPE_CHECKING:
    from rich.text import Text


from nnprof.profiler.report.digits import aligned, digits
from nnprof.profiler.report.names import file_mark, labels, names
from nnprof.profiler.report.rows import accuracy_of, against, row_of


def heading(run: Run) -> list[str]:
    """What all cells of a Run share, in one line or two."""
    first = run.study.cells[0]
    version = run.environment.get("backend", {}).get("version", "")
    counts = sorted({cell.target.threads for cell in run.study.cells})
    threads = ", ".join(_threads(count) for count in counts)
    runtime = f"{first.target.backend} {version}".strip()
    shared = (
        f"{run.study.name} on {_place(first.target)}, {runtime}, "
        f"{', '.join(_told('precision', one) for one in _precisions(run))}, {threads}"
    )
    common, _ = labels(names(run))
    return [shared, common] if common else [shared]


def _place(target: Target) -> str:
    """`cpu`; `jetson gpu at ssh://me@orin`."""
    here = target.host == LOCAL
    return target.where if here else f"{target.where} at {target.host}"


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}" if count else "threads unknown"


def _told(what: str, word: str) -> str:
    return f"{what} unknown" if word == "unknown" else word


def cell_table(run: Run) -> Table:
    """One line per cell."""
    _, short = labels(names(run))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("network", overflow="fold")
    for name in ("batch", "tiles/ms", "ms/tile", "latency ms", "± %", "Σops/clean"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    previous: tuple[str, str] | None = None
    for measurement in run.measurements:
        model = measurement.workload.model
        label = short[model.name] + marked(run, model)
        same = (model.name, model.sha256)  # of imported models only the name is known
        table.add_row("" if same == previous else label, *_cell_line(measurement))
        previous = same
    for failure in run.failures:
        model, batch = failure.workload.model, str(failure.workload.batch)
        label = short[model.name] + marked(run, model)
        table.add_row(label, batch, *["–"] * 5, styled("failed", "red"))
    return table


def _precisions(run: Run) -> list[str]:
    return list(dict.fromkeys(cell.workload.precision for cell in run.study.cells))


def marked(run: Run, model: Model) -> str:
    """A model's file, where another has its name; precision and accuracy, where not all is fp32."""
    mark = file_mark(run, model)
    if len(_precisions(run)) < 2 and not run.accuracies:
        return mark
    right = accuracy_of(run, model.sha256)
    return f"{mark}, {model.precision}" + (f" ({right:.2%} right)" if right is not None else "")


def _cell_line(measurement: Measurement) -> list[str | Text]:
    row = row_of(measurement)
    half = stats.relative_half_width(measurement)
    state = row["state"]
    return [
        str(row["batch"]),
        digits(row["tiles_per_ms"]),
        digits(row["ms_per_tile"]),
        digits(row["latency_ms"]),
        "–" if math.isinf(half) else f"{half * 100:.1f}",
        digits(row["ops_over_clean"], 3),
        styled(state, "" if state == "steady" else "yellow"),
    ]


def kind_table(measurement: Measurement) -> Table:
    """Time per kind of op, the longest first."""
    by_kind: dict[str, list[OpTime]] = defaultdict(list)
    for op in _ops(measurement):
        by_kind[op.kind].append(op)
    spent = {kind: sum(op.seconds for op in group) for kind, group in by_kind.items()}
    kinds = sorted(spent, key=lambda kind: -spent[kind])
    table = _op_layout("kind", "ops")
    numbers = _op_numbers([spent[kind] for kind in kinds], measurement.workload.tiles)
    for kind, own in zip(kinds, numbers, strict=True):
        methods = ", ".join(sorted({op.method for op in by_kind[kind]}))
        table.add_row(kind, *own, str(len(by_kind[kind])), methods)
    return table


def op_table(measurement: Measurement, known: Roofline | None = None) -> Table:
    """Time per op in order of execution; with limits, how close each comes to which of them."""
    ops = _ops(measurement)
    table = _op_layout("op", "± %", *(["of limit"] if known else []))
    numbers = _op_numbers([op.seconds for op in ops], measurement.workload.tiles)
    for op, own in zip(ops, numbers, strict=True):
        limit = against(op, known)
        reached = f"{limit['of_limit']:.0%} {limit['bound']}" if limit["bound"] else "–"
        word = op.node if op.op == "unknown" else op.op  # an imported one may have a name only
        table.add_row(
            f"{op.index} {word}", *own, _half(op), *([reached] if known else []), op.method
        )
    return table


def _ops(measurement: Measurement) -> tuple[OpTime, ...]:
    return measurement.ops.ops if measurement.ops else ()


def _half(op: OpTime) -> str:
    if op.low_s is None or op.high_s is None or not op.seconds:
        return "–"
    return f"{(op.high_s - op.low_s) / 2 / op.seconds * 100:.0f}"


def _op_layout(first: str, *more: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in ("ms", "ms/tile", "share", *more):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("method", no_wrap=True)
    return table


def _op_numbers(seconds: Sequence[float], tiles: int | None) -> list[tuple[str, str, str]]:
    """Ms and ms/tile aligned on the decimal point, and the share of Σops."""
    total_s = sum(seconds)
    ms = aligned([value * 1e3 for value in seconds])
    ms_per_tile = ["–"] * len(ms)
    if tiles:
        ms_per_tile = aligned([value * 1e3 / tiles for value in seconds])
    shares = [f"{value / total_s:.1%}" if total_s else "–" for value in seconds]
    return list(zip(ms, ms_per_tile, shares, strict=True))
