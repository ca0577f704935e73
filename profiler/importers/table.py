"""Times that any tool measured, as a table: one row per op or whole network → measurements.

The columns are documented in docs/import.md. What a table does not tell stays unknown: no shape, no
count and no setting is guessed. Pure, but for `read`, which opens the file.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import msgspec

from nnprof.errors import BadFile, UsageError
from nnprof.networks.families import parse_network
from nnprof.profiler.graph import counts, opgraph
from nnprof.profiler.importers import sheets, sources
from nnprof.types import (
    Check,
    Measurement,
    Model,
    OpPass,
    OpTime,
    Plan,
    Target,
    Workload,
)

UNKNOWN = "unknown"
METHOD = "imported"
# Of cells that another tool measured: nothing of it is true, nothing of it is read.
NO_PLAN = Plan(op_method="none")

Shape = tuple[int, ...]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says of files that do not say it themselves; None is unknown.

    Where a table has a column of that name, a value picks its rows.
    """

    network: str | None = None
    batch: int | None = None
    device: str | None = None
    runtime: str | None = None
    precision: str | None = None
    threads: int | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table, as given; None where the cell is empty or the column missing."""

    line: int
    network: str
    batch: int
    seconds: float
    op: str | None = None
    kind: str | None = None
    node: str | None = None
    index: int | None = None
    repetition: int | None = None
    repetitions: int | None = None
    min_s: float | None = None
    max_s: float | None = None
    cin: int | None = None
    h: int | None = None
    w: int | None = None
    cout: int | None = None
    hout: int | None = None
    wout: int | None = None
    k: int | None = None
    stride: int | None = None
    pad: int | None = None
    groups: int | None = None
    input: tuple[Shape, ...] | None = None
    weights: tuple[Shape, ...] | None = None
    output: tuple[Shape, ...] | None = None
    flops: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    bytes_weights: int | None = None
    kernel: str | None = None
    device: str | None = None
    runtime: str | None = None
    version: str | None = None
    precision: str | None = None
    threads: int | None = None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows, and the columns that were not read, because their names say nothing to us."""

    rows: tuple[Row, ...]
    ignored: tuple[str, ...]


# --- cells of the table ---------------------------------------------------------------------------


def _whole(least: int) -> Callable[[float], int]:
    def parse(number: float) -> int:
        # A table that went through other programs has 3.0 for 3.
        if not number.is_integer() or not least <= number < _MOST:
            raise ValueError
        return int(number)

    parse.__doc__ = f"a whole number of at least {least}"
    return parse


def _time(factor: float) -> Callable[[float], float]:
    def parse(number: float) -> float:
        if not 0 <= number * factor < _LONGEST_S:
            raise ValueError
        return number * factor

    parse.__doc__ = "a time of at least 0"
    return parse


def _shapes(text: str) -> tuple[Shape, ...]:
    if not _SHAPES.fullmatch(text):
        raise ValueError
    shapes = tuple(tuple(map(int, re.split("[xX×]", one))) for one in text.split(";"))
    if any(math.prod(shape) >= _MOST or min(shape) < 1 for shape in shapes):
        raise ValueError
    return shapes


_shapes.__doc__ = "shapes such as 16x1x28x28, several apart by semicolons"


def _kind(text: str) -> str:
    if text not in _KINDS:
        raise ValueError
    return text


_SHAPES = re.compile(r"\d+(?:[xX×]\d+)*(?:;\d+(?:[xX×]\d+)*)*", re.ASCII)
_MOST = 2**53  # up to here every whole number has a float of its own
_LONGEST_S = 1e9  # thirty years
_KINDS = ("conv", "gemm", "pool", "elementwise", "softmax", "recurrent", "memory", "other")
_kind.__doc__ = f"one of {', '.join(_KINDS)}"

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_TIMES = {
    f"{name}_{unit}": (field, _time(factor))
    for name, field in (("time", "seconds"), ("min", "min_s"), ("max", "max_s"))
    for unit, factor in _UNITS.items()
}
_TEXTS = ("network", "op", "node", "kernel", "device", "runtime", "version", "precision")
_COUNTS = ("batch", "repetitions", "cin", "h", "w", "cout", "hout", "wout", "k", "stride", "groups")
_FROM_0 = (
    *("index", "repetition", "pad", "flops", "bytes_in", "bytes_out", "bytes_weights", "threads"),
)
_NUMBERS: dict[str, tuple[str, Callable[[float], Any]]] = {
    **{name: (name, _whole(1)) for name in _COUNTS},
    **{name: (name, _whole(0)) for name in _FROM_0},
    **_TIMES,
}
_WORDED: dict[str, tuple[str, Callable[[str], Any]]] = {
    **{name: (name, str) for name in _TEXTS},
    **{name: (name, _shapes) for name in ("input", "weights", "output")},
    "kind": ("kind", _kind),
}
_COLUMNS = {*_NUMBERS, *_WORDED}

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
_KIND_OF = {"Pooling": "pool", "LRN": "elementwise", "Dropout": "memory"}
_WHOLE_NETWORK = "network"
_SIZES = {"fp32": 4, "fp16": 2, "int8": 1}


# --- reading --------------------------------------------------------------------------------------


def read(path: Path, rename: Mapping[str, str] = MappingProxyType({})) -> Table:
    """The rows of a .csv file, packed or not; `rename` gives columns other names first.

    Raises:
        BadFile: it cannot be read, or a row is wrong; says which row and column.
    """
    return parse(sources.text_of(sources.read(path), str(path)), str(path), rename)


def parse(text: str, source: str, rename: Mapping[str, str] = MappingProxyType({})) -> Table:
    """The rows of a table's text, as any spreadsheet saves it (`sheets`). `source` is for errors.

    Raises:
        UsageError: a column to rename is not there, or is to have a name that says nothing to us.
        BadFile: there is no header, no row, or a row is wrong; says which row and column.
    """
    sheet = sheets.read(text, source)
    header = _renamed([" ".join(name.split()).lower() for name in sheet.header], rename, source)
    _check_header(header, source)
    numeric = [at for at, name in enumerate(header) if name in _NUMBERS]
    numbers = [cells[at] for _, cells in sheet.rows for at in numeric]
    comma = sheets.has_decimal_commas(numbers, sheet.separator, source)
    rows = tuple(
        _row(dict(zip(header, cells, strict=True)), line, f"{source}, row {line}", comma=comma)
        for line, cells in sheet.rows
    )
    if not rows:
        raise BadFile(f"{source} has no rows under its header.")
    ignored = tuple(name for name in header if name and name not in _COLUMNS)
    return Table(rows=rows, ignored=ignored)


def _renamed(header: Sequence[str], rename: Mapping[str, str], source: str) -> list[str]:
    words = {theirs.lower(): ours.lower() for theirs, ours in rename.items()}
    for theirs in words:
        if theirs not in header:
            raise UsageError(
                f"{source} has no column '{theirs}' to rename.", f"It has: {', '.join(header)}."
            )
    for theirs, ours in words.items():
        if ours not in _COLUMNS:
            raise UsageError(
                f"'{ours}' is none of our columns, so '{theirs}' cannot be renamed to it.",
                "docs/import.md lists the columns; --rename takes one pair, and may be repeated.",
            )
    return [words.get(name, name) for name in header]


def _check_header(header: Sequence[str], source: str) -> None:
    remedy = "docs/import.md lists the columns."
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise BadFile(f"{source} has the column '{twice[0]}' twice.", remedy)
    for field, names in (
        ("network", ["network"]),
        ("batch", ["batch"]),
        ("a time", [f"time_{unit}" for unit in _UNITS]),
    ):
        present = [name for name in names if name in header]
        if not present:
            raise BadFile(
                f"{source} has no column for {field}: {' or '.join(names)}.",
                f"Where it has another name, give --rename THEIRS=OURS; {remedy}",
            )
        if len(present) > 1:
            raise BadFile(f"{source} gives {field} twice: {' and '.join(present)}.", remedy)


def _row(cells: dict[str, str], line: int, where: str, *, comma: bool) -> Row:
    values: dict[str, Any] = {}
    for name, cell in cells.items():
        text = cell.strip()
        if not text or name not in _COLUMNS:
            continue
        try:
            if name in _NUMBERS:
                field, wanted = _NUMBERS[name][0], _NUMBERS[name][1].__doc__
                values[field] = _NUMBERS[name][1](sheets.number(text, decimal_comma=comma))
            else:
                field, wanted = _WORDED[name][0], _WORDED[name][1].__doc__
                values[field] = _WORDED[name][1](text)
        except (ValueError, OverflowError):
            raise BadFile(f"{where}, column {name}: '{text[:80]}' is not {wanted}.") from None
    if "op" in cells:
        values.setdefault("op", UNKNOWN)  # an op that has no name; a whole network says so
    missing = [name for name in ("network", "batch", "seconds") if name not in values]
    if missing:
        raise BadFile(f"{where}: no {missing[0].replace('seconds', 'time')}.")
    row = Row(line=line, **values)
    if is_network(row) and not row.seconds:
        raise BadFile(f"{where}: a whole network cannot take no time.")
    return row


def is_network(row: Row) -> bool:
    """Whether the row times a whole network, not an op: it says so, or the table has no ops."""
    return row.op is None or row.op.lower() == _WHOLE_NETWORK


# --- one device, one runtime ----------------------------------------------------------------------


def chosen(rows: Iterable[Row], told: Told) -> tuple[Row, ...]:
    """The rows that the user's words pick, with those words where a row has none.

    Raises:
        UsageError: none is left, or they are of several devices or runtimes.
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

    Where only ops were timed their sum stands in for the latency, with a check that says so.
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


def named_model(text: str) -> Model:
    """A network of which no file is at hand; its notation too where the name is one."""
    try:
        spec = parse_network(text)
    except UsageError:
        name, notation = text, None
    else:
        name, notation = spec.name, spec.notation
    return Model(
        name=name,
        path="",
        sha256="",
        opset=0,
        inputs=(),
        outputs=(),
        network=notation,
        weights=UNKNOWN,
        normalisation=UNKNOWN,
    )


def _samples(rows: Sequence[Row]) -> tuple[tuple[float, ...], dict[str, Any]]:
    """Times of one whole network: a row each, or one row with what is known of its repetitions."""
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
    passes = [
        _pass(name, ops, seconds)
        for name, seconds in (
            ("smallest", [_extreme(group, min, "min_s") for group in groups]),
            ("largest", [_extreme(group, max, "max_s") for group in groups]),
        )
        if None not in seconds
    ]
    return _pass(METHOD, ops, [op.seconds for op in ops]), tuple(passes)


def _extreme(group: Sequence[Row], pick: Callable[..., float], column: str) -> float | None:
    given = [value for row in group if (value := getattr(row, column)) is not None]
    if len(group) > 1:
        return pick(row.seconds for row in group)
    return given[0] if given else None


def _pass(method: str, ops: Sequence[OpTime], seconds: Sequence[float | None]) -> OpPass:
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
    inputs, weights, outputs = _tensors(row, kind)
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


Tensors = tuple[tuple[Shape, ...], tuple[Shape, ...], tuple[Shape, ...]]


def _tensors(row: Row, kind: str) -> Tensors:
    """Shapes of inputs, weights and outputs: as given, or from the numbers; () where unknown."""
    if row.output:
        return row.input or (), row.weights or (), row.output
    if row.cin is None:
        return (), (), ()
    if kind == "gemm":
        return _product(row, row.cin)
    taken = _image(row.batch, row.cin, row.h, row.w)
    side = row.hout or _slid(row.h, row)
    made = _image(row.batch, row.cout or row.cin, side, row.wout or _slid(row.w, row))
    if kind == "conv":
        groups = row.groups or 1
        if row.k is None or row.cout is None or side is None:
            return (), (), ()
        return (taken,), ((row.cout, row.cin // groups, row.k, row.k),), (made,)
    if kind == "pool" and side is None:
        return (), (), ()
    if row.h is not None and side is None:  # ops that keep the size
        made = _image(row.batch, row.cout or row.cin, row.h, row.w)
    return (taken,), (), (made,)


def _product(row: Row, cin: int) -> Tensors:
    if row.cout is None:
        return (), (), ()
    inner = cin * (row.h or 1) * (row.w or row.h or 1)
    return ((row.batch, inner),), ((row.cout, inner),), ((row.batch, row.cout),)


def _image(batch: int, channels: int, height: int | None, width: int | None) -> Shape:
    """Maps without a width are square; without a height there is no map."""
    return (batch, channels) if height is None else (batch, channels, height, width or height)


def _slid(size: int | None, row: Row) -> int | None:
    """What a window leaves of a side, where stride and padding are told and the window fits."""
    if size is None or row.k is None or row.stride is None or row.pad is None:
        return None
    if size + 2 * row.pad < row.k:
        return None
    return (size + 2 * row.pad - row.k) // row.stride + 1


def _flops(
    row: Row, op: str, kind: str, shapes: tuple[Shape, ...], outputs: tuple[Shape, ...]
) -> int | None:
    if not outputs or (kind == "pool" and row.k is None) or (kind == "conv" and len(shapes) < 2):
        return None
    window = {"kernel_shape": (row.k, row.k)} if row.k else {}
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
    parts = (op, shapes, outputs, row.k, row.stride, row.groups, row.precision)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
