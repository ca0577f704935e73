"""Tables as spreadsheets of any locale save them: rows of text, and numbers as Python reads them.

Pure. Where semicolons part the columns, every comma is a decimal one, as in German, French and many
other locales. With other separators a comma may also part thousands: a table whose numbers leave
that open is refused. The line `sep=;` is Excel's own; saved again it has empty cells behind.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from nnprof.errors import BadFile

MOST_ROWS = 1_000_000

_SEPARATOR = re.compile(r'\s*"?sep=(\\t|.?)[;,|\t]*"?[;,|\t]*\s*', re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
# Spaces and apostrophes can part nothing but thousands.
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[ \u00a0\u2009\u202f'\u2019]\d{3})+(?:[.,]\d+)?", re.ASCII)
_GAPS = re.compile(r"[ \u00a0\u2009\u202f'\u2019]")
_POINT = re.compile(r"\d\.\d", re.ASCII)
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_ONE_SIGN = "Save it with one decimal sign and without separators of thousands."


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """Names of columns as they stand, and rows below with their numbers in the file."""

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    separator: str


def read(text: str, source: str) -> Sheet:
    """A table's text, whatever ends its lines; `source` is for errors.

    Raises:
        BadFile: a row has more or fewer cells than the header, or a quote does not end; there are
            no rows, or more than `MOST_ROWS`.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first, _, rest = text.partition("\n")
    said = _SEPARATOR.fullmatch(first)
    separator = _separator(text)
    if said:
        separator = "\t" if said[1] in ("", "\\t") else said[1]
    reader = csv.reader(io.StringIO(rest if said else text), delimiter=separator, strict=True)
    skipped = 1 if said else 0
    try:
        filled = _filled(reader, skipped)
        _, header = next(filled, (0, []))
        while header and not header[-1].strip():
            header.pop()
        rows = tuple(_rows(filled, len(header), source))
    except (csv.Error, ValueError) as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(f"{source}, row {reader.line_num + skipped}: {error}.") from error
    return Sheet(header=tuple(header), rows=rows, separator=separator)


def _separator(text: str) -> str:
    """The character that parts the header into most columns."""
    header = next((line for line in text.split("\n", 50)[:50] if line.strip()), "")

    def columns(separator: str) -> int:
        try:
            return len(next(csv.reader([header], delimiter=separator), []))
        except csv.Error:
            return 0

    return max(",;\t|", key=columns)


def _filled(reader: Iterable[list[str]], skipped: int) -> Iterator[tuple[int, list[str]]]:
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num + skipped, cells  # type: ignore[attr-defined]


def _rows(
    filled: Iterable[tuple[int, list[str]]], columns: int, source: str
) -> Iterator[tuple[int, tuple[str, ...]]]:
    for count, (line, cells) in enumerate(filled):
        if count >= MOST_ROWS:
            raise BadFile(
                f"{source} has more than {MOST_ROWS} rows.", "Split it, and import the parts."
            )
        while len(cells) > columns and not cells[-1].strip():
            cells.pop()
        if len(cells) != columns:
            raise BadFile(
                f"{source}, row {line}: {len(cells)} cells, but the header has {columns}."
            )
        yield line, tuple(cells)


def has_decimal_commas(numbers: Sequence[str], separator: str, source: str) -> bool:
    """Whether a comma in these cells is a decimal one.

    Raises:
        BadFile: some numbers have a point, or commas part thousands, or may do so.
    """
    numbers = [text.strip() for text in numbers]
    commas = [text for text in numbers if "," in text]
    if not commas:
        return False
    both = [text for text in commas if "." in text]
    points = [text for text in numbers if _POINT.search(text)]
    if points and not both:
        raise BadFile(
            f"{source} has '{commas[0]}' with a comma and '{points[0]}' with a point.", _ONE_SIGN
        )
    thousands = both or [text for text in commas if text.count(",") > 1]
    if thousands or (separator != ";" and all(map(_EITHER.fullmatch, commas))):
        text = (thousands or commas)[0]
        reason = "has separators of thousands" if thousands else "may be a thousand or about one"
        raise BadFile(f"{source}: '{text}' {reason}.", _ONE_SIGN)
    return True


def number(text: str, *, decimal_comma: bool) -> float:
    """A cell's number.

    Raises:
        ValueError: the cell is no number; nor is `nan`, nor digits of other scripts.
    """
    text = text.strip()
    if _GROUPED.fullmatch(text):
        text = _GAPS.sub("", text)
    if decimal_comma:
        text = text.replace(",", ".")
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return float(text)
