"""Names from data are text: what a file, a board or a user calls something, fit to be shown.

A name goes through one of these functions on its way out. Inside nnprof it stays as it came.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import unicodedata
from pathlib import Path
from typing import Any

import msgspec

_JOINERS = "\u200c\u200d"  # scripts and emoji need them; no other format character shows
# What a spreadsheet takes for the start of a formula (OWASP, "CSV injection").
_FORMULA = tuple("=+-@")
_MARKDOWN = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        **{letter: f"\\{letter}" for letter in "\\`*[]|~@$"},
    }
)
# Underscores but for single ones inside a word; links that need no brackets; a heading.
_MARKDOWN_WORDS = re.compile(r"(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|^#")


def plain(text: str) -> str:
    """On one line, without what a terminal would obey instead of show.

    Line ends and tabs become spaces; control characters (ESC among them) and those that turn the
    direction of writing go; halves of characters, as in names that are not UTF-8, become U+FFFD.
    """
    if text.isprintable():
        return text
    return "".join(map(_shown, text)).strip()


def _shown(letter: str) -> str:
    kind = unicodedata.category(letter)
    if letter in "\t\n\r\v\f\x1c\x1d\x1e\x85" or kind in ("Zl", "Zp"):
        return " "
    if kind == "Cs":
        return "\ufffd"
    return "" if kind == "Cc" or (kind == "Cf" and letter not in _JOINERS) else letter


def markdown(text: str) -> str:
    """Plain text that a reader of Markdown or HTML sees as it is: no markup, link or mention."""
    return _MARKDOWN_WORDS.sub(r"\\\g<0>", plain(text).translate(_MARKDOWN))


def csv_cell(value: Any) -> Any:
    """A value for CSV: text is plain, and behind a ' where a spreadsheet would compute it."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def json_lines(value: Any, indent: int = 1) -> str:
    """JSON for standard output, in which what is not plain is escaped."""
    return shown_json(msgspec.json.format(msgspec.json.encode(value), indent=indent).decode())


def shown_json(text: str) -> str:
    """JSON with line ends as they are, and what else is not plain escaped."""
    if all(line.isprintable() for line in text.split("\n")):
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\n" else _escaped(letter) for letter in text
    )


def _escaped(letter: str) -> str:
    code = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{code[start : start + 4]}" for start in range(0, len(code), 4))


def shell_word(path: str | Path) -> str:
    """A path as a word that can be copied to a command line, whatever it is made of."""
    text = str(path)
    if plain(text) == text:
        return shlex.quote(text)
    letters = (
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f"$'{''.join(letters)}'"


def duration(seconds: float) -> str:
    """A time, rounded up to what matters of it: "8 s", "1 min 20 s", "25 min", "2 h 5 min"."""
    steps = ((60, 1), (600, 10), (3600, 60), (36_000, 300))
    each_s = next((each for most, each in steps if seconds <= most), 3600)
    whole_s = max(1, math.ceil(seconds / each_s) * each_s)
    hours, minutes, rest = whole_s // 3600, whole_s // 60 % 60, whole_s % 60
    parts = (hours, "h"), (minutes, "min"), (rest, "s")
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def clock(seconds: float, *, tenths: bool = False) -> str:
    """A time since the beginning: "3:20", "1:03:20"; with tenths "0:01.4"."""
    count = round(seconds * 10) if tenths else round(seconds) * 10
    hours, minutes, rest = count // 36000, count // 600 % 60, count % 600
    text = f"{minutes:02d}:{rest // 10:02d}" if hours else f"{minutes}:{rest // 10:02d}"
    return f"{f'{hours}:' if hours else ''}{text}{f'.{rest % 10}' if tenths else ''}"
