"""`--format`: the forms that a command has, and the error for a word that is none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from nnprof import registry

TABLE, JSON = "table", "json"
_BUILT_IN = (TABLE, "csv", "md", JSON)


def fixed(words: str, *known: str) -> Any:
    """The option of a command that has these forms and no others; `words` are its help."""
    return _option(words, known, lambda: known)


def of_rows(words: str) -> Any:
    """The option of a command that has rows: a table, and each form under `nnprof.outputs`."""
    return _option(words, _BUILT_IN, _registered)


def of_exports(words: str) -> Any:
    """The option of a format that is to be written: each form under `nnprof.exports`."""

    def parsed(word: str) -> str:
        return _known(word, registry.names("export"))

    return typer.Option("--format", "-f", parser=parsed, metavar="FORMAT", help=words)


def _registered() -> tuple[str, ...]:
    more = registry.names("output")
    return (*_BUILT_IN, *(name for name in more if name not in _BUILT_IN))


def _option(words: str, shown: tuple[str, ...], known: Callable[[], tuple[str, ...]]) -> Any:
    def parsed(word: str) -> str:
        return _known(word, known())

    return typer.Option("--format", parser=parsed, metavar=f"<{'|'.join(shown)}>", help=words)


def _known(word: str, known: tuple[str, ...]) -> str:
    if word not in known:
        raise ValueError(f"'{word}' is not one of {', '.join(map(repr, known))}.")
    return word
