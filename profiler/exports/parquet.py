"""Three tidy tables as Parquet: cells, ops, samples. Each row has the Run's id and its cell.

Types are the same in each Run, so that the files of many can be read as one table. Units stand in
the names of columns; what is unknown is null.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nnprof.errors import Unavailable
from nnprof.profiler.exports import cells, judged
from nnprof.profiler.exports.export import Asked, Export, Made
from nnprof.profiler.report import rows
from nnprof.types import Measurement, Run

if TYPE_CHECKING:
    import pyarrow

Row = dict[str, Any]

_KEY = ("run_id", "cell")
_TEXT = (
    *("run_id", "study", "created", "network", "precision", "backend", "device", "on", "host"),
    *("state", "stopped", "rail", "conversion", "sha256", "options", "error", "reason", "remedy"),
    *(
        "op",
        "kind",
        "method",
        "bound",
        "node",
        "origin",
        "key",
        "kernel",
        "phase",
        "process_state",
        "verdict",
    ),
)
_WHOLE = (
    *("cell", "batch", "threads", "streams", "samples", "processes", "tiles_per_frame", "index"),
    *(
        "flops",
        "live_bytes",
        "bytes_in",
        "bytes_out",
        "bytes_weights",
        "process",
        "loops",
        "sample",
    ),
)
CELLS = (
    *_KEY,
    *("study", "created", *rows.COLUMNS, *rows.FRAME_COLUMNS, *judged.NUMBERS),
    *("host", "streams", "sha256", "options", "error", "reason", "remedy"),
)
OPS = (*_KEY, *rows.OP_COLUMNS, "kernel")
SAMPLES = (*_KEY, "process", "process_state", "phase", "sample", "loops", "seconds", "waited_s")


def make(asked: Asked) -> Made:
    """cells.parquet, ops.parquet and samples.parquet.

    Raises:
        Unavailable: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401  only whether it is there
    except ImportError as error:
        raise Unavailable(
            "Parquet is written by pyarrow, which is not installed.",
            "pip install 'nnprof-embedded[parquet]'",
        ) from error
    run = asked.run
    tables = {
        "cells": (cell_rows(run, asked.budget_s), CELLS),
        "ops": (op_rows(run), OPS),
        "samples": (sample_rows(run), SAMPLES),
    }
    return Made({f"{name}.parquet": _packed(*table) for name, table in tables.items()})


def cell_rows(run: Run, budget_s: float | None = None) -> list[Row]:
    """One row for each cell, failed ones too, numbered from 1 as `nnprof show` lists them."""
    failed: list[Row] = [{} for _ in run.measurements]
    failed += [
        {"error": one.error, "reason": one.reason, "remedy": one.remedy} for one in run.failures
    ]
    known = judged.by_cell(run, budget_s)
    about = {"study": run.study.name, "created": run.study.created}
    return [
        {
            **{"run_id": cells.run_id(run), "cell": number},
            **{**about, **row, **failure},
            **(judged.numbers(one) if (one := judged.of(known, cell)) else {}),
            **{"host": cell.target.host, "streams": cell.target.streams},
            "sha256": cell.workload.model.sha256 or None,
            "options": " ".join(f"{k}={v}" for k, v in sorted(cell.target.options.items())),
        }
        for number, (cell, row, failure) in enumerate(
            zip(cells.every(run), rows.rows(run), failed, strict=True), start=1
        )
    ]


def op_rows(run: Run) -> list[Row]:
    """One row for each op of each cell."""
    keys = [
        (number, op.kernel or None)
        for number, cell in enumerate(run.measurements, start=1)
        for op in (cell.ops.ops if cell.ops else ())
    ]
    own = cells.run_id(run)
    return [
        {"run_id": own, "cell": number, **row, "kernel": kernel}
        for (number, kernel), row in zip(keys, rows.op_rows(run), strict=True)
    ]


def sample_rows(run: Run) -> list[Row]:
    """One row for each warm-up, sample and single inference."""
    own = cells.run_id(run)
    return [
        {"run_id": own, "cell": number, **row}
        for number, cell in enumerate(run.measurements, start=1)
        for row in _samples(cell)
    ]


def _samples(cell: Measurement) -> Iterator[Row]:
    for number, samples_s in enumerate(cell.samples_s):
        process = cell.processes[number] if cell.processes else None
        about: Row = {"process": number + 1, "process_state": process and process.state}
        loops = process.loops if process else None
        waits = process.waited_s if process else ()
        singles = process.singles.samples_s if process and process.singles else ()
        for phase, times, count in (
            ("warm-up", cell.warmups_s[number], loops),
            ("sample", samples_s, loops),
            ("single", singles, 1),
        ):
            for index, seconds in enumerate(times):
                waited = waits[index] if phase == "sample" and waits else None
                own = {"phase": phase, "sample": index + 1, "loops": count}
                yield {**about, **own, "seconds": seconds, "waited_s": waited}


def _packed(table: Sequence[Row], columns: Sequence[str]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, _type(name)) for name in columns])
    packed = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(table), schema=schema), packed)
    return packed.getvalue()


def _type(column: str) -> pyarrow.DataType:
    import pyarrow as pa

    if column in _TEXT:
        return pa.string()
    return pa.int64() if column in _WHOLE else pa.float64()


EXPORT = Export(make, several=True)
