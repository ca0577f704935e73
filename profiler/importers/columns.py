"""A table that any tool wrote → its rows, as given; docs/import.md says what each column means.

A cell that is empty stays None: nothing is guessed. Pure, but for `read`, which opens the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import msgspec

from nnprof.errors import BadFile, UsageError
from nnprof.profiler.importers import sheets, sources
from nnprof.profiler.importers.importer import UNKNOWN
from nnprof.profiler.importers.shapes import Shape, Shapes
from nnprof.types import Kind, Precision


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table; None where the cell is empty or the column missing."""

    line: int
    network: str
    batch: int
    seconds: float
    op: str | None = None
    kind: Kind | None = None
    node: str | None = None
    index: int | None = None
    repetition: int | None = None
    repetitions: int | None = None
    min_s: float | None = None
    max_s: float | None = None
    shapes: Shapes = Shapes()
    flops: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    bytes_weights: int | None = None
    kernel: str | None = None
    device: str | None = None
    runtime: str | None = None
    version: str | None = None
    precision: Precision | None = None
    threads: int | None = None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows, and the names of columns that nnprof does not know and did not read."""

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


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    parse.__doc__ = f"one of {', '.join(words)}"
    return parse


_SHAPES = re.compile(r"\d+(?:[xX×]\d+)*(?:;\d+(?:[xX×]\d+)*)*", re.ASCII)
_MOST = 2**53  # up to here every whole number has a float of its own
_LONGEST_S = 1e9  # thirty years

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_TIMES = {
    f"{name}_{unit}": (field, _time(factor))
    for name, field in (("time", "seconds"), ("min", "min_s"), ("max", "max_s"))
    for unit, factor in _UNITS.items()
}
_TEXTS = ("network", "op", "node", "kernel", "device", "runtime", "version")
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
    "kind": ("kind", _one_of(get_args(Kind))),
    "precision": ("precision", _one_of(get_args(Precision))),
}
_COLUMNS = {*_NUMBERS, *_WORDED}
_WHOLE_NETWORK = "network"


# --- reading --------------------------------------------------------------------------------------


def read(path: Path, rename: Mapping[str, str] = MappingProxyType({})) -> Table:
    """The rows of a .csv file, packed or not; `rename` gives columns other names first.

    Raises:
        BadFile: the file cannot be read, or a row is wrong; says which row and column.
    """
    return parse(sources.text_of(sources.read(path), str(path)), str(path), rename)


def parse(text: str, source: str, rename: Mapping[str, str] = MappingProxyType({})) -> Table:
    """The rows of a table's text, as any spreadsheet saves it (`sheets`). `source` is for errors.

    Raises:
        UsageError: a column to rename is not there, or its new name is none of ours.
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
    sizes = {name: values.pop(name) for name in Shapes.__struct_fields__ if name in values}
    row = Row(line=line, shapes=Shapes(**sizes), **values)
    if is_network(row) and not row.seconds:
        raise BadFile(f"{where}: a whole network cannot take no time.")
    return row


def is_network(row: Row) -> bool:
    """Whether the row times a whole network: its op is "network", or the table has no ops."""
    return row.op is None or row.op.lower() == _WHOLE_NETWORK
