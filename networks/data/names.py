"""The name of a data set with its arguments, read and written: `reuters(words=10000)`.

`prices:FILE.csv` is short for the first argument alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, get_type_hints

import msgspec

from nnprof.errors import BadNotation

Argument = str | int
_CALL = re.compile(r"(?P<name>[\w-]+)\s*\((?P<arguments>.*)\)", re.DOTALL)
_RESERVED = set(",()")


def parse(text: str) -> tuple[str, dict[str, str], str]:
    """A data set's name, its arguments, and what stands behind a colon; values stay text.

    Raises:
        BadNotation: the text is no name, or an argument is not NAME=VALUE, or stands there twice.
    """
    text = text.strip()
    name, colon, first = text.partition(":")
    if colon and "(" not in name:
        return name.strip(), {}, first.strip()
    call = _CALL.fullmatch(text)
    if not call:
        if "(" in text or ")" in text:
            remedy = "Write it like this: reuters(words=10000)."
            raise BadNotation(text, 1, "Incomplete arguments of a data set", remedy)
        return text, {}, ""
    arguments: dict[str, str] = {}
    column = call.start("arguments") + 1
    for part in call["arguments"].split(",") if call["arguments"].strip() else ():
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not key.isidentifier() or not value or key in arguments:
            remedy = "Write NAME=VALUE, each once, with commas between."
            raise BadNotation(text, column, f"'{part.strip()}' is not understood", remedy)
        arguments[key] = value
        column += len(part) + 1
    return call["name"], arguments, ""


def text_of(name: str, arguments: Mapping[str, Argument]) -> str:
    """The name with its arguments, which `parse` reads again.

    Raises:
        BadNotation: a value has a comma or a bracket, or begins or ends in a space.
    """
    for key, value in arguments.items():
        shown = str(value)
        if _RESERVED & set(shown) or shown != shown.strip() or not shown:
            raise BadNotation(
                shown, 1, f"The {key} of a data set has a comma, a bracket, or nothing in it",
                "Give the file or the column another name.",
            )  # fmt: skip
    return f"{name}({', '.join(f'{key}={value}' for key, value in arguments.items())})"


def bound(function: Callable[..., Any], text: str) -> dict[str, Argument]:
    """The arguments in `text` as `function` takes them.

    Raises:
        BadNotation: the function has no such argument, needs one more, or the value is no number
            where it takes one.
    """
    name, given, first = parse(text)
    known = signature(function).parameters
    usage = f"{name} takes {', '.join(known)}." if known else f"{name} takes no arguments."
    if first:
        given = dict.fromkeys([*known][:1], first)
        if not given:
            raise BadNotation(text, len(name) + 1, "Nothing is known to stand here", usage)
    hints = get_type_hints(function)
    values: dict[str, Argument] = {}
    for key, value in given.items():
        if key not in known:
            raise BadNotation(text, text.index(key) + 1, f"'{key}' is not known", usage)
        try:
            values[key] = msgspec.convert(value, hints[key], strict=False)
        except msgspec.ValidationError as error:
            column = text.rindex(value) + 1
            raise BadNotation(text, column, f"'{key}' takes a number", usage) from error
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in values:
            raise BadNotation(text, len(text) + 1, f"'{key}' is missing", usage)
    return values
