"""The table of a board in devices.toml: found, written, taken away; all else in the file stays.

A table that setup wrote says so on its first line, and so does a line that it added to a table of
the user's: those go again, and no others. Texts go in and come out; `steps` reads and writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit
from msgspec.structs import replace
from tomlkit.items import Table

from nnprof.errors import UsageError
from nnprof.profiler.place import boards
from nnprof.profiler.place.boards import Board

MARK = "by nnprof setup"
_URL = "ssh://"


def meant(host: str, name: str | None, known: Mapping[str, Board]) -> Board:
    """The board that a user means: one of devices.toml, by its name or its address, or a new one.

    Args:
        host: what ssh takes, `ssh://user@host:port`, or the name of a known board.
        name: what the board is to be called; None: as it is called already, or as its host.
        known: the boards of devices.toml.

    Raises:
        UsageError: that is no host, or another board has the name.
    """
    if host in known and name in (None, host):
        return known[host]
    board = boards.from_url(host) if host.startswith(_URL) else _of_host(host)
    same = [one for one in known.values() if (one.host, one.port) == (board.host, board.port)]
    for one in same:
        if name in (None, one.name):
            return one
    chosen = name or board.host.rpartition("@")[2]
    if chosen in known:
        raise UsageError(
            f"{boards.file()} has another board called '{chosen}'.",
            "Give this one a name of its own: --name NAME.",
        )
    return replace(board, name=chosen)


def _of_host(host: str) -> Board:
    try:
        return Board(host=host)
    except ValueError as error:
        raise UsageError(f"{error}.", "Or write ssh://user@host:port.") from error


def written(text: str, board: Board, keys: Mapping[str, str]) -> str:
    """The file with the board in it.

    Args:
        text: of the file.
        board: with its name, host and port.
        keys: what setup has to say of it beside; what a table of the user's says already stays.

    Raises:
        UsageError: the user's table names another Python.
    """
    table = tomlkit.parse(text).get(board.name)
    if table is None:
        made = tomlkit.table()
        made.comment(MARK)
        made.add("host", board.host)
        if board.port is not None:
            made.add("port", board.port)
        for key, value in keys.items():
            made.add(key, value)
        block = tomlkit.document()
        block.add(board.name, made)
        return f"{_ended(text)}{tomlkit.dumps(block)}"
    has = table.get("python")
    if has not in (None, keys["python"]):
        raise UsageError(
            f"{boards.file()} says that {board.name} has its nnprof at {has}.",
            "Take that line out, or give another table: --name NAME.",
        )
    return _with_line(text, board.name, "python", keys["python"]) if has is None else text


def _ended(text: str) -> str:
    """A text behind which a table can begin."""
    if not text:
        return ""
    return f"{text}\n" if text.endswith("\n") else f"{text}\n\n"


def _with_line(text: str, name: str, key: str, value: str) -> str:
    """The file with a line more at the end of a table's own lines."""
    whole = tomlkit.parse(text)
    lines = _lines(whole, name)
    item = tomlkit.string(value)
    item.comment(MARK)
    item.trivia.trail = "\n"
    at = max((index for index, (of, one) in enumerate(lines) if _is_line(of, one)), default=-1)
    lines.insert(at + 1, (tomlkit.key(key), item))
    return f"{tomlkit.dumps(whole)}"


def _is_line(key: Any, item: Any) -> bool:
    return key is not None and not isinstance(item, Table)


def _lines(whole: tomlkit.TOMLDocument, name: str) -> list[Any]:
    """What a table is made of: (key or None, item), comments and white space too."""
    lines: list[Any] = _table(whole, name).value.body
    return lines


def _table(whole: tomlkit.TOMLDocument, name: str) -> Table:
    """The table of a board, in one piece.

    Raises:
        UsageError: tables of others stand between its parts.
    """
    table = whole[name]
    if isinstance(table, Table):
        return table
    raise UsageError(
        f"{boards.file()}: [{name}] is written in several places, or in one line.",
        "Put its lines together below its name.",
    )


def without(text: str, name: str) -> str:
    """The file without what setup wrote of a board; comments behind its table stay."""
    whole = tomlkit.parse(text)
    if name not in whole:
        return text
    lines = _lines(whole, name)
    if MARK not in _table(whole, name).trivia.comment:
        lines[:] = [one for one in lines if one[0] is None or MARK not in one[1].trivia.comment]
        return f"{tomlkit.dumps(whole)}"
    last = max(index for index, (key, _) in enumerate(lines) if key is not None)
    at = next(i for i, (key, _) in enumerate(whole.body) if key is not None and key.key == name)
    whole.body[at : at + 1] = lines[last + 1 :]
    rest = f"{tomlkit.dumps(whole)}"
    return rest.removesuffix("\n") if rest.endswith("\n\n") or rest == "\n" else rest
