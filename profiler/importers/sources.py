"""Files of other tools as text: read, unpacked and decoded, within bounds.

Tables come from spreadsheets of any locale, logs from shells of any platform. So UTF-8 and UTF-16
are read with and without a byte order mark; other text is taken for Windows' code page 1252.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

from nnprof.errors import BadFile

MOST_BYTES = 256 << 20  # unpacked; Python needs about ten times as much to hold it

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_GZIP = b"\x1f\x8b"
# First bytes of files that are no text → what they are, and what to do.
_OTHERS = (
    (b"PK\x03\x04", "is a spreadsheet or an archive", "Save the sheet as CSV, and import that."),
    (b"\xd0\xcf\x11\xe0", "is a spreadsheet", "Save the sheet as CSV, and import that."),
    (b"BZh", "is packed with bzip2", "Unpack it first: bunzip2 FILE"),
    (b"\xfd7zXZ", "is packed with xz", "Unpack it first: unxz FILE"),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd", "Unpack it first: unzstd FILE"),
    (b"%PDF", "is a PDF", "Import the table that it was made from."),
    (b"\x89PNG", "is a picture", "Import the table that it was made from."),
)
# trtexec separates names of layers by 1E and 1F, and colours of a terminal begin with 1B.
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1a\x1c\x1d\x7f\ufffe\uffff]")
_MANY = 0.05
_START = 1 << 16  # characters
_LITERAL = 4  # "fals" is cut off, too


def read(path: Path) -> bytes:
    """Content of a file of at most `MOST_BYTES`.

    Raises:
        BadFile: the file cannot be read, is a folder, or is larger.
    """
    try:
        if path.is_dir():
            raise BadFile(f"{path} is a folder.", "Give the files in it.")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadFile(f"{path} cannot be read: {reason}.") from error
    return _bounded(data, str(path))


def text_of(data: bytes, source: str) -> str:
    """The text of a file, unpacked, without a byte order mark; `source` is for errors.

    Raises:
        BadFile: the file is empty, damaged, too large, or no text.
    """
    if data.startswith(_GZIP):
        data = _unpacked(data, source)
    for magic, what, remedy in _OTHERS:
        if data.startswith(magic):
            raise BadFile(f"{source} {what}.", remedy)
    text = _decoded(data)
    if text is not None and not text.strip("\ufeff \t\r\n\0"):
        raise BadFile(f"{source} is empty.", "Was the program that should write it killed?")
    if text is None or len(_NO_TEXT.findall(text)) > _MANY * len(text):
        raise BadFile(
            f"{source} is no text.", "Tables (CSV), JSON and logs can be imported, packed or not."
        )
    return text


def start(text: str) -> str:
    """The beginning of a file, without white space before it: enough to tell its format."""
    return text[:_START].lstrip()


def json_of(text: str, source: str, remedy: str) -> Any:
    """What JSON says; bare control characters in names are read, too.

    Args:
        text: of the whole file.
        source: for errors.
        remedy: how to get a whole file.

    Raises:
        BadFile: the file is cut off or damaged; the message says where.
    """
    try:
        return json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        raise _damaged(text, source, remedy, error) from None
    except (ValueError, RecursionError) as error:  # a number or a nesting of thousands
        reason = "a number is too long" if isinstance(error, ValueError) else "it nests too deep"
        raise BadFile(f"{source} is damaged: {reason}.", remedy) from None


def _damaged(text: str, source: str, remedy: str, error: json.JSONDecodeError) -> BadFile:
    end, here = len(text.rstrip()), text[error.pos : error.pos + 1]
    where = f"in line {error.lineno}, column {error.colno}"
    before = text[: error.pos].rstrip()[-1:]
    if (here == "," and before in (",", "[", "{")) or (here in ("]", "}") and before == ","):
        return BadFile(
            f"{source} has a stray comma {where}.", "Delete it, or write the file again."
        )
    if error.msg.startswith("Unterminated") or error.pos >= end - _LITERAL:
        line = text.count("\n", 0, end) + 1
        return BadFile(f"{source} is cut off: it ends in line {line}.", remedy)
    return BadFile(f"{source} is damaged {where}: {error.msg}.", remedy)


def _bounded(data: bytes, source: str, how: str = "") -> bytes:
    if len(data) > MOST_BYTES:
        raise BadFile(
            f"{source} is larger than {MOST_BYTES >> 20} MiB{how}.",
            "Split the table, or profile fewer inferences: a hundred settle a median.",
        )
    return data


def _unpacked(data: bytes, source: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return _bounded(file.read(MOST_BYTES + 1), source, " when unpacked")
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(
            f"{source} cannot be unpacked: {str(error).rstrip('.')}.", "Copy or pack it again."
        ) from error


def _decoded(data: bytes) -> str | None:
    """The text; None in an encoding that we do not know."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _as(encoding, data[len(mark) :])
    # Letters of any language with a separator or a digit here and there.
    start = data[:400]
    for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[0::2])):
        if len(start) > 3 and zeros.count(0) * 2 > len(zeros) and start.count(0) <= len(zeros):
            return _as(encoding, data)
    text = _as("utf-8", data)
    return _as("cp1252", data) if text is None else text


def _as(encoding: str, data: bytes) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None
