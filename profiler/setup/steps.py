"""`nnprof setup`: what is done on a board and here, step by step; each is told once it is done.

Nothing is begun on the board before all that can be known is known. What was begun is remembered
there (`kept`), so that the same command goes on after a cut, and `remove` finds all of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from nnprof import registry
from nnprof._version import __version__
from nnprof.errors import (
    ConnectionLost,
    Unavailable,
    UnknownName,
    UsageError,
    WorkerTimeout,
)
from nnprof.files import write_atomically
from nnprof.profiler.place import boards, installed
from nnprof.profiler.place.boards import Board
from nnprof.profiler.place.ssh import Link
from nnprof.profiler.setup import check, install, kept, plan, table, there, wheels
from nnprof.profiler.setup.plan import State, megabytes
from nnprof.profiler.setup.wheels import OWN
from nnprof.profiler.work import hosts
from nnprof.types import Target

_WITH_RUNTIME = "jetson"  # a kind of board whose system has a runtime's Python packages


class Step(NamedTuple):
    """A step, told when it is done, or with `dry_run` in place of doing it.

    Attributes:
        what: "board", "carry", "make", "install", "write", "check", "remove" or "there".
        words: what of it, for people.
        changes: whether it changes something there or here.
    """

    what: str
    words: str
    changes: bool = True


def set_up(
    host: str, *, name: str | None = None, backend: str | None = None, dry_run: bool = False
) -> Iterator[Step]:
    """Install nnprof and a runtime on a board, write its table, and see that it works.

    Args:
        host: what ssh takes, `ssh://user@host:port`, or the name of a board of devices.toml.
        name: what the board is to be called; None: as it is called already, or as its host.
        backend: the runtime; None: that of its table, or the usual one.
        dry_run: change nothing, and tell what would be done.

    Raises:
        UsageError: it cannot be done; what was begun stays, and goes on when it is asked for again.
    """
    board, text = _meant(host, name)
    runtime, extra = _runtime(backend or board.backend or Target().backend)
    keys = {"on": "cpu"}
    if runtime != Target().backend:
        keys["backend"] = runtime
    new = table.written(text, board, {**keys, "python": kept.PYTHON})
    boards.parsed(new.encode(), boards.file())
    yield Step("board", f"{board.name}, by {board.by_hand}", changes=False)
    with _connected(board) as link, _nothing_left(link):
        state = _look(link, board, extra)
        room = f"{megabytes(state.there.free_bytes)} free"
        yield Step("there", f"{state.there.words}, {room}", changes=False)
        yield from _installed(link, state, dry_run=dry_run)
        yield from _written(board, text, new, dry_run=dry_run)
        yield from _checked(link, board, runtime, dry_run=dry_run)


def _meant(host: str, name: str | None) -> tuple[Board, str]:
    """The board, and the text of devices.toml."""
    path = boards.file()
    board = table.meant(host, name, boards.load())
    return board, path.read_text(encoding="utf-8") if path.exists() else ""


def _runtime(name: str) -> tuple[str, str]:
    """A runtime, and the extra of nnprof that brings it.

    Raises:
        UsageError: pip does not install it, or its converter, which boards do not need, is not
            here.
    """
    if name not in registry.names("backend"):
        raise UnknownName("backend", name, registry.names("backend"))
    backend = registry.find("backend", name)
    extra = getattr(backend, "extra", None)
    if extra is None:
        raise UsageError(
            f"setup cannot install {name}: its backend names no extra of nnprof that brings it.",
            "Install it there by hand, if it is not there already (docs/remote.md); or choose "
            "another one with --backend.",
        )
    if hasattr(backend, "converter"):
        backend.converter()
    return name, extra


@contextmanager
def _connected(board: Board) -> Iterator[Link]:
    """A connection to the board, which is closed at the end; its errors as they are said here."""
    try:
        yield hosts.connections.to(board)
    except (ConnectionLost, WorkerTimeout) as error:
        raise Unavailable(
            error.reason, "Type the same command again: it goes on where this one ended."
        ) from error
    finally:
        hosts.connections.drop(board)


@contextmanager
def _nothing_left(link: Link) -> Iterator[None]:
    """What the connection alone made there goes again, unless setup began."""
    try:
        yield
    finally:
        if link.made and kept.load(link.shell) is None:
            install.remove(link.shell, (), link.made[::-1])


def _look(link: Link, board: Board, extra: str) -> State:
    """What the board has."""
    made = kept.load(link.shell)
    found = there.look(link.shell, board.name)
    python = f"{kept.environment(link.shell)}/bin/python"
    answer = installed.ask(link.shell, python) if made else ""
    alive = not isinstance(answer, str) and answer.packages.get(OWN) == __version__
    return State(found, made, alive, wheels.source_digest(), extra)


def _installed(link: Link, state: State, *, dry_run: bool) -> Iterator[Step]:
    """Carry, make and install what is missing."""
    if state.done and state.made:
        yield Step("there", _versions(state.made.versions, state.extra), changes=False)
        return
    shell = link.shell
    with tempfile.TemporaryDirectory(prefix="nnprof-setup-") as folder:
        gathered = wheels.gather(state.there, state.extras, Path(folder))
        needed = plan.to_carry(state, gathered)
        plan.require_room(shell.way.board.name, state, needed)
        before = state.made or kept.Made(paths=(*link.made, *kept.missing(shell)))
        made = replace(before, extras=state.extras, source="")
        if not dry_run:
            kept.save(shell, made)
        carried = () if dry_run else install.carry(shell, needed)
        total = sum(one.bytes for one in needed)
        yield Step("carry", f"{len(needed)} wheels, {megabytes(total)}")
        if not state.whole:
            if not dry_run:
                install.make(shell, state.there, system=link.kind == _WITH_RUNTIME)
            yield Step("make", f"{kept.environment(shell)}")
        versions = {one.name: one.version for one in gathered}
        if not dry_run:
            install.install(shell, carried)
            install.forget_wheels(shell)
            versions = {**(before.versions if state.whole else {}), **versions}
            kept.save(shell, replace(made, source=state.source, versions=versions))
        room = sum(one.unpacked for one in needed)
        yield Step("install", f"{_versions(versions, state.extra)}; {megabytes(room)}")


def _versions(versions: Mapping[str, str], extra: str) -> str:
    """Versions of nnprof and the runtime, with the version of here where that is another one."""
    told = []
    for name in (OWN, *wheels.brought_by(extra)):
        here = wheels.version_here(name)
        differs = f" ({here} here)" if here and here != versions.get(name) else ""
        label = "nnprof" if name == OWN else name
        told.append(f"{label} {versions.get(name, '')}{differs}")
    return ", ".join(told)


def _written(board: Board, text: str, new: str, *, dry_run: bool) -> Iterator[Step]:
    """The board's table in devices.toml."""
    words = f"[{board.name}] in {boards.file()}"
    if new == text:
        yield Step("there", words, changes=False)
        return
    if not dry_run:
        write_atomically(boards.file(), new.encode())
    yield Step("write", words)


def _checked(link: Link, board: Board, runtime: str, *, dry_run: bool) -> Iterator[Step]:
    """See that it works."""
    words = "the bundled network on its tiles"
    if not dry_run:
        with _remembered(link):
            words = check.check(hosts.named_target(board.name, backend=runtime)).words
    yield Step("check", words, changes=False)


@contextmanager
def _remembered(link: Link) -> Iterator[None]:
    """What comes to be there meanwhile, outside of setup's own folder, is remembered."""
    before = install.seen(link.shell)
    try:
        yield
    finally:
        left = install.seen(link.shell) - before
        made = kept.load(link.shell)
        if left and made:
            kept.save(link.shell, replace(made, paths=(*made.paths, *sorted(left))))


def remove(host: str, *, name: str | None = None, dry_run: bool = False) -> Iterator[Step]:
    """Take away all that setup made on a board, and what it wrote of it in devices.toml.

    Args:
        host: as in `set_up`.
        name: as in `set_up`.
        dry_run: change nothing, and tell what would be taken away.

    Raises:
        UsageError: it cannot be done.
    """
    board, text = _meant(host, name)
    yield Step("board", f"{board.name}, by {board.by_hand}", changes=False)
    with _connected(board) as link:
        yield from _removed(link, dry_run=dry_run)
    new = table.without(text, board.name)
    if new != text:
        if not dry_run and new:
            write_atomically(boards.file(), new.encode())
        elif not dry_run:
            boards.file().unlink()
        yield Step("remove", f"[{board.name}] of {boards.file()}")


def _removed(link: Link, *, dry_run: bool) -> Iterator[Step]:
    """What is on the board."""
    shell, made = link.shell, kept.load(link.shell)
    folder, cache = kept.folder(shell), install.cache(shell)
    if made is None and folder in kept.missing(shell):
        install.remove(shell, (), link.made[::-1])
        yield Step("there", f"nothing of setup's on {shell.way.board.name}", changes=False)
        return
    paths = (*(made.paths if made else ()), *link.made)
    trees, rest = plan.removal(paths, cache, folder)
    if not dry_run:
        install.remove(shell, trees, rest)
    yield Step("remove", f"{', '.join(trees)} on {shell.way.board.name}")
