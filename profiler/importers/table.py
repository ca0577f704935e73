"""Rows of a table (`columns`) → measurements, and the importer of tables.

What a table does not tell stays unknown: no shape, no count and no setting is guessed. Pure.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from nnprof.errors import BadFile, UsageError
from nnprof.profiler.graph import counts, opgraph
from nnprof.profiler.importers import columns, sources
from nnprof.profiler.importers.cell import named_model
from nnprof.profiler.importers.columns import Row, is_network
from nnprof.profiler.importers.importer import (
    METHOD,
    NO_PLAN,
    UNKNOWN,
    File,
    Found,
    Importer,
    Told,
)
from nnprof.profiler.importers.shapes import Shape, tensors
from nnprof.types import Check, Kind, Measurement, Method, OpPass, OpTime, Target, Workload

# Words of other frameworks for ONNX's ops.
_WORDS = {
    **{"convolution": "Conv", "conv2d": "Conv", "depthwiseconv2d": "Conv", "conv": "Conv"},
    **{"innerproduct": "Gemm", "fullyconnected": "Gemm", "linear": "Gemm", "dense": "Gemm"},
    **{"fc": "Gemm", "gemm": "Gemm", "matmul": "MatMul", "relu": "Relu", "softmax": "Softmax"},
    **{"maxpool2d": "MaxPool", "maxpool": "MaxPool", "averagepool": "AveragePool"},
    **{"avgpool": "AveragePool", "avgpool2d": "AveragePool", "pooling": "Pooling"},
    **{"concatenation": "Concat", "concat": "Concat", "batchnorm": "BatchNormalization"},
    **{"add": "Add", "eltwise": "Add", "lrn": "LRN", "dropout": "Dropout", "reshape": "Reshape"},
}
_KIND_OF: dict[str, Kind] = {"Pooling": "pool", "LRN": "elementwise", "Dropout": "memory"}
_SIZES = {"fp32": 4, "fp16": 2, "int8": 1}


# --- one device, one runtime ----------------------------------------------------------------------


def chosen(rows: Iterable[Row], told: Told) -> tuple[Row, ...]:
    """The rows that match what the user told, which also fills their empty cells.

    Raises:
        UsageError: no row is left, or rows are of several devices, runtimes or versions.
    """
    kept = list(rows)
    for name in ("network", "batch", "device", "runtime", "precision", "threads"):
        word = getattr(told, name)
        if word is None:
            continue
        given = sorted({str(value) for row in kept if (value := getattr(row, name)) is not None})
        kept = [row for row in kept if getattr(row, name) in (None, word)]
        if not kept:
            raise UsageError(
                f"No row has the {name} '{word}'.", f"The table has: {', '.join(given)}."
            )
        kept = [msgspec.structs.replace(row, **{name: word}) for row in kept]
    for name in ("device", "runtime", "version"):
        found = sorted({value for row in kept if (value := getattr(row, name)) is not None})
        if len(found) > 1:
            raise UsageError(
                f"The table has times of {len(found)} {name}s: {', '.join(found)}.",
                f"A Run holds those of one; choose it with --{name}."
                if name != "version"
                else "A Run holds those of one; split the table.",
            )
    return tuple(kept)


# --- rows → measurements --------------------------------------------------------------------------


def measurements(rows: Iterable[Row]) -> tuple[Measurement, ...]:
    """One measurement per network, batch, precision and number of threads, in order of first row.

    Without a row of the whole network the latency is the sum of its ops, and a check says so.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.network, row.batch, row.precision, row.threads].append(row)
    return tuple(_measurement(group) for group in groups.values())


def _measurement(rows: Sequence[Row]) -> Measurement:
    first = rows[0]
    whole = [row for row in rows if is_network(row)]
    estimate, passes = _ops([row for row in rows if not is_network(row)])
    if whole:
        samples, facts = _samples(whole)
        stand_in = None
    else:
        samples, facts = (estimate.latency_s,) if estimate else (), {}
        stand_in = "the sum of its ops"
    if not samples or not samples[0] > 0:
        raise BadFile(f"Row {first.line}: none of the ops of {first.network} took any time.")
    return Measurement(
        workload=Workload(
            model=named_model(first.network),
            batch=first.batch,
            precision=first.precision or UNKNOWN,
            data=UNKNOWN,
        ),
        target=Target(
            backend=first.runtime or UNKNOWN,
            device=first.device or UNKNOWN,
            host=UNKNOWN,
            threads=first.threads or 0,
        ),
        plan=NO_PLAN,
        clock=UNKNOWN,
        samples_s=(samples,),
        warmups_s=((),),
        processes=(),
        ops=estimate,
        op_passes=passes,
        facts=facts,
        checks=(Check(code="not_clean", data={"what": stand_in}),) if stand_in else (),
        stopped=METHOD,
    )


def _samples(rows: Sequence[Row]) -> tuple[tuple[float, ...], dict[str, Any]]:
    """Samples of a whole network, one a row; and the facts of a single row's repetitions."""
    facts: dict[str, Any] = {}
    if len(rows) == 1:
        known = {"repetitions": rows[0].repetitions, "min_s": rows[0].min_s, "max_s": rows[0].max_s}
        facts = {name: value for name, value in known.items() if value is not None}
    return tuple(row.seconds for row in rows), facts


def _ops(rows: Sequence[Row]) -> tuple[OpPass | None, tuple[OpPass, ...]]:
    """The estimate of each op, and passes with the least and the largest of its repetitions."""
    if not rows:
        return None, ()
    by_op: dict[int, list[Row]] = defaultdict(list)
    for place, row in enumerate(rows):
        by_op[place if row.index is None else row.index].append(row)
    groups = [by_op[index] for index in sorted(by_op)]
    for group in groups:
        repeated = [row.repetition for row in group]
        if len(group) > 1 and (None in repeated or len(set(repeated)) < len(group)):
            raise BadFile(
                f"Rows {group[0].line} and {group[1].line} time the same op "
                f"(index {group[0].index} of {group[0].network}, batch {group[0].batch}).",
                "Give each op an index of its own, or number its repetitions.",
            )
    ops = tuple(_op(group, index) for index, group in enumerate(groups))
    extremes: dict[Method, list[float | None]] = {
        "smallest": [_extreme(group, min, "min_s") for group in groups],
        "largest": [_extreme(group, max, "max_s") for group in groups],
    }
    passes = [
        _pass(name, ops, seconds) for name, seconds in extremes.items() if None not in seconds
    ]
    return _pass(METHOD, ops, [op.seconds for op in ops]), tuple(passes)


def _extreme(group: Sequence[Row], pick: Callable[..., float], column: str) -> float | None:
    given = [value for row in group if (value := getattr(row, column)) is not None]
    if len(group) > 1:
        return pick(row.seconds for row in group)
    return given[0] if given else None


def _pass(method: Method, ops: Sequence[OpTime], seconds: Sequence[float | None]) -> OpPass:
    timed = tuple(
        msgspec.structs.replace(op, seconds=value, method=method)
        for op, value in zip(ops, seconds, strict=True)
        if value is not None
    )
    return OpPass(method=method, latency_s=sum(op.seconds for op in timed), ops=timed)


def _op(group: Sequence[Row], index: int) -> OpTime:
    row = group[0]
    op = _WORDS.get((row.op or "").lower(), row.op or UNKNOWN)
    kind = row.kind or _KIND_OF.get(op) or opgraph.kind_of(op)
    inputs, weights, outputs = tensors(row.shapes, row.batch, kind)
    known = bool(outputs)
    shapes = (*inputs, *weights) if known else ()
    size = _SIZES.get(row.precision or "")
    return OpTime(
        index=index,
        node=row.node or f"{index} {op}",
        op=op,
        kind=kind,
        inputs=shapes,
        outputs=outputs,
        origin=(row.node,) if row.node else (),
        kernel=row.kernel or "",
        seconds=median(one.seconds for one in group),
        runs=len(group) if len(group) > 1 else row.repetitions or 1,
        method=METHOD,
        key=_key(row, op, shapes, outputs) if known else "",
        flops=row.flops if row.flops is not None else _flops(row, op, kind, shapes, outputs),
        bytes_in=_bytes(row.bytes_in, inputs, size, known),
        bytes_out=_bytes(row.bytes_out, outputs, size, known),
        bytes_weights=_bytes(row.bytes_weights, weights, size, known),
    )


def _flops(
    row: Row, op: str, kind: str, shapes: tuple[Shape, ...], outputs: tuple[Shape, ...]
) -> int | None:
    if (
        not outputs
        or (kind == "pool" and row.shapes.k is None)
        or (kind == "conv" and len(shapes) < 2)
    ):
        return None
    window = {"kernel_shape": (row.shapes.k, row.shapes.k)} if row.shapes.k else {}
    if kind == "pool":
        return counts.flops("MaxPool", shapes, outputs, window)
    return counts.flops(op, shapes, outputs, window) if shapes else None


def _bytes(
    given: int | None, shapes: tuple[Shape, ...], size: int | None, known: bool
) -> int | None:
    if given is not None or not known or size is None:
        return given
    return size * sum(math.prod(shape) for shape in shapes)


def _key(row: Row, op: str, shapes: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> str:
    parts = (op, shapes, outputs, row.shapes.k, row.shapes.stride, row.shapes.groups, row.precision)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _read(files: Sequence[File], told: Told, onnx: Path | None, rename: Mapping[str, str]) -> Found:
    if onnx is not None:
        raise UsageError("A table names its networks itself.", "Leave --onnx out.")
    read = [columns.parse(file.text, str(file.path), rename) for file in files]
    rows = chosen([row for table in read for row in table.rows], told)
    return Found(
        measurements=measurements(rows),
        version=next((row.version for row in rows if row.version), None),
        ignored=tuple(dict.fromkeys(name for table in read for name in table.ignored)),
    )


IMPORTER = Importer(
    name="table",
    takes="a .csv table",
    # Any other text: a table has no mark of its own. XML and JSON are never a table.
    form=lambda text: "" if sources.start(text)[:1] in ("[", "{", "<") else "table",
    read=_read,
    order=9,
    has_columns=True,
)
