"""Connections to boards: each is opened when it is first needed, and stays until `close`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from subprocess import CompletedProcess, Popen

from nnprof.errors import ConnectionLost, NnprofError
from nnprof.profiler.place.boards import Board
from nnprof.profiler.place.ssh import Link


class Connections:
    """At most one link to each board, which is locked for us as long as the link is there."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self._gone: dict[str, NnprofError] = {}
        self._then: dict[str, Callable[[], None]] = {}
        self._trimmed: set[str] = set()

    def to(self, board: Board) -> Link:
        """The board's link, opened if need be.

        Raises:
            Unavailable: the board cannot be reached. Once a broken connection could not be opened
                again, the same error comes at once: each remaining cell would wait for it.
            BoardBusy: somebody else measures there.
        """
        if board.name in self._gone:
            raise self._gone[board.name]
        if board.name not in self._links:
            self._links[board.name] = Link(board)
            # Only now is nothing of the folder in use: later links follow one that broke in work.
            if board.name not in self._trimmed:
                self._trimmed.add(board.name)
                self._links[board.name].shell.trim(board.cache_bytes)
            self._prepare(board)
        return self._links[board.name]

    def _prepare(self, board: Board) -> None:
        """Have a link that was just opened made what `reopened` asks for; else there is none."""
        try:
            self._then.get(board.name, lambda: None)()
        except BaseException:
            self.drop(board)
            raise

    @contextmanager
    def reopened(self, board: Board, then: Callable[[], None]) -> Iterator[None]:
        """Meanwhile each link to the board that is opened has `then` called; see `ports.Shell`."""
        self._then[board.name] = then
        try:
            yield
        finally:
            del self._then[board.name]

    def has(self, board: Board) -> bool:
        """Whether there is a link to the board, as far as we know."""
        return board.name in self._links

    def drop(self, board: Board) -> None:
        """Close the board's link; what runs there through it ends."""
        if board.name in self._links:
            self._links.pop(board.name).close()

    def explained(self, error: ConnectionLost, board: Board, link: Link) -> NnprofError:
        """What became of a board whose link broke: one try to connect again, no more."""
        self.drop(board)
        try:
            again = self.to(board)
        except NnprofError as reason:
            self._gone[board.name] = reason
            return ConnectionLost(
                f"{error.reason} {reason.reason}", "Once it is back, go on with --resume."
            )
        if again.boot != link.boot:
            return ConnectionLost(
                f"{board.name} was restarted while it measured.",
                "Look at its power supply and temperature, then measure again with --resume.",
            )
        return ConnectionLost(
            f"{error.reason} The board can be reached again.", "Measure this cell with --resume."
        )

    def close(self) -> None:
        """Close all links, and forget which boards were gone."""
        while self._links:
            self._links.popitem()[1].close()
        self._gone.clear()
        self._trimmed.clear()


class BoardShell:
    """A `nnprof.profiler.ports.Shell` that outlives its link: each call takes the present link."""

    def __init__(self, connections: Connections, board: Board) -> None:
        self._connections, self._board = connections, board

    def _link(self) -> Link:
        """The present one, opened anew where it has ended."""
        if self._connections.to(self._board).ended:
            self._connections.drop(self._board)
        return self._connections.to(self._board)

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_s: float
    ) -> CompletedProcess[bytes]:
        """Run a program there."""
        return self._link().shell.run(argv, stdin=stdin, timeout_s=timeout_s)

    def start(self, argv: Sequence[str]) -> Popen[bytes]:
        """Start a program there."""
        return self._link().shell.start(argv)

    def reopened(self, then: Callable[[], None]) -> AbstractContextManager[None]:
        """Have `then` called on each link that follows."""
        return self._connections.reopened(self._board, then)

    def path(self, name: str) -> str:
        """Where a file of ours is there."""
        return self._link().shell.path(name)

    def put(self, local: Path, name: str) -> str:
        """Send a file."""
        return self._link().shell.put(local, name)

    def get(self, remote: str) -> bytes:
        """Read a file."""
        return self._link().shell.get(remote)
