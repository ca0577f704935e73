"""A board over SSH, by the user's own OpenSSH client, so that their config, keys and agent hold.

One connection serves a whole bench (ControlMaster): `Link` opens it, and the one program that it
runs at the far end holds the board's lock. Everything else goes through it as an `SshShell`. When
the connection dies, for whatever reason, the kernel of the board gives the lock back and ends what
we started there. Nothing but OpenSSH, bash, coreutils and util-linux is needed on the board.
"""

from __future__ import annotations

import getpass
import os
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from threading import Event
from typing import IO, Any

import msgspec

from nnprof.errors import (
    BoardBusy,
    CellError,
    ConnectionLost,
    NnprofError,
    NoSpace,
    Unavailable,
    WorkerTimeout,
)
from nnprof.exporters.identity import sha256_of
from nnprof.profiler.place import far_end, listening, ssh_client
from nnprof.profiler.place.boards import Board
from nnprof.profiler.place.listening import Hear

_CONNECT_LIMIT_S = 40.0
_FILE_LIMIT_S = 600.0
_GRACE_S = 10.0  # for the far end to end a program at its limit, before we call it silent
_BROKEN = 255  # what ssh answers when it, and not the program, failed
_TIMED_OUT = (124, 137)  # of coreutils' timeout
_GREETING = 8  # lines
_LONGEST_GREETING = 1 << 16
_SHORT = 60
_AGAIN = "Go on with --resume once it can be reached."


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How any process of ours gets to a board that one of them has a link to.

    `control` is the connection's socket; `home` and `folder` are the user's and ours on the board.
    """

    board: Board
    control: str
    home: str
    folder: str


class SshShell:
    """A board where programs run: a `nnprof.profiler.ports.Shell` through an open connection."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self._sent: dict[str, str] = {}

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout_s: float,
        hear: Hear | None = None,
    ) -> CompletedProcess[bytes]:
        """Run a program in our folder; `~/` is its home, and `hear` gets each line as it comes."""
        program = argv[0]
        if program.startswith("~/"):
            program = self.way.home + program[1:]
        begin = time.monotonic()
        done = self._session(
            far_end.RUN,
            self.way.folder,
            f"{timeout_s}",
            program,
            *argv[1:],
            stdin=stdin,
            limit_s=timeout_s,
            hear=hear,
        )
        _true_code(done)
        if done.returncode in _TIMED_OUT and time.monotonic() - begin >= timeout_s:
            raise WorkerTimeout(
                f"{Path(program).name} on {self.way.board.name} had not ended after "
                f"{timeout_s:.0f} s and was ended.",
                "Raise the limit with --limit, or ask for a smaller batch.",
            ).after(done.stdout)
        return done

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own, and tell it meanwhile that we are there."""
        client = subprocess.Popen(
            self._client(far_end.APART, *argv),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us, who then close
        )
        ssh_client.beat(client, Event())
        return client

    def reopened(self, then: Callable[[], None]) -> AbstractContextManager[None]:
        """It is one connection, and no other is made."""
        del then
        return nullcontext()

    def path(self, name: str) -> str:
        """In the cache of the account on the board."""
        return f"{self.way.folder}/{name}"

    def put(self, local: Path, name: str) -> str:
        """Send what is not there yet, whole or not at all; both ends agree on its sha256."""
        there = self.path(name)
        if name in self._sent:
            return there
        digest = sha256_of(local)
        present = self._session(far_end.SUM, there, limit_s=_FILE_LIMIT_S)
        if present.stdout.split()[:1] != [digest.encode()]:
            with local.open("rb") as content:
                done = self._session(
                    far_end.PUT, there, digest, stdin=content, limit_s=_FILE_LIMIT_S
                )
            self._require_room(done)
        self._sent[name] = digest
        return there

    def _require_room(self, done: CompletedProcess[bytes]) -> None:
        said = done.stderr.decode(errors="replace")
        board = self.way.board.name
        if "No space left" in said or "quota exceeded" in said:
            raise NoSpace(
                f"{board} has no room for the model in {self.way.folder}.",
                "Free some space there; that folder itself may be emptied.",
            )
        if done.returncode:
            raise CellError(
                f"{board} could not keep the model in {self.way.folder}: {ssh_client.last(said)}.",
                "Look whether the account may write there.",
            )

    def trim(self, most_bytes: int) -> None:
        """Let the least recently used files of our folder go beyond that; nobody may use it now."""
        self._session(far_end.TRIM, self.way.folder, f"{most_bytes}", limit_s=_FILE_LIMIT_S)

    def get(self, remote: str) -> bytes:
        """Read."""
        done = self._session(far_end.GET, remote, limit_s=_FILE_LIMIT_S)
        said = done.stderr.decode(errors="replace")
        if "No such file" in said:
            raise FileNotFoundError(remote)
        if done.returncode:
            why = ssh_client.last(said)
            raise CellError(f"{self.way.board.name} does not let us read {remote}: {why}.")
        return done.stdout

    def _client(self, script: str, *arguments: str) -> list[str]:
        """What runs one of our scripts at the far end of the connection."""
        # Without the connection ssh would make another one, without the lock: the proxy forbids.
        only = ("-o", "ControlMaster=no", "-o", "ProxyCommand=false")
        client = ssh_client.called(self.way.board, self.way.control, *only)
        return [*client, ssh_client.command(script, *arguments)]

    def _session(
        self,
        script: str,
        *arguments: str,
        stdin: bytes | IO[bytes] | None = None,
        limit_s: float,
        hear: Hear | None = None,
    ) -> CompletedProcess[bytes]:
        """One of our scripts at the far end.

        Raises:
            ConnectionLost: it broke, or has been silent past the limit.
        """
        command = self._client(script, *arguments)
        given = stdin if isinstance(stdin, bytes) else None
        source = subprocess.PIPE if isinstance(stdin, bytes) else stdin or subprocess.DEVNULL
        with subprocess.Popen(
            command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as client:
            try:
                out, err = listening.communicate(client, given, limit_s + _GRACE_S, hear)
            except subprocess.TimeoutExpired as late:
                raise ConnectionLost(
                    f"{self.way.board.name} has been silent for {limit_s + _GRACE_S:.0f} s.", _AGAIN
                ).after(late.output or b"") from None
            finally:
                client.kill()
        if client.returncode == _BROKEN:
            broken = ConnectionLost(f"The connection to {self.way.board.name} broke.", _AGAIN)
            raise broken.after(out)
        return CompletedProcess(command, client.returncode, out, err)


def _true_code(done: CompletedProcess[bytes]) -> None:
    """What `far_end.RUN` said last is the code; it is no part of what the program said."""
    said, mark, code = done.stderr.rpartition(f"\n{far_end.ENDED}".encode())
    if mark and code.strip().isdigit():
        done.returncode, done.stderr = int(code), said


class Link:
    """A connection to a board, with the board locked for us until it is closed, or breaks.

    Attributes:
        shell: runs programs there.
        kind: of device, as far as can be told from outside: "jetson", "pi" or "cpu".
        boot: the kernel's name for the time since the board was started.
        made: files and folders there that this connection made, the outermost first.
        holder, before: what the lock says, of us: since when and who; and what it said before.
        look: what was found by who looked at the board through this connection; None: nobody did.

    Raises:
        Unavailable: the board cannot be reached, does not know us, or lacks a program.
        BoardBusy: somebody else measures there.
    """

    def __init__(self, board: Board) -> None:
        if shutil.which("ssh") is None:
            raise Unavailable("OpenSSH's client is not installed here.", "Install openssh-client.")
        self._board = board
        self.look: Any = None
        # Short, since the path of a socket may have 100 letters only; and nobody else's.
        self._folder = Path(tempfile.mkdtemp(prefix="nnprof-ssh-", dir=_short_folder()))
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed with the link
        control = str(self._folder / "control")
        self._master = subprocess.Popen(
            [*ssh_client.called(board, control, "-M"), ssh_client.command(far_end.LOCK, _who())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            start_new_session=True,  # Ctrl-C is for us, who then close
        )
        self._closing = Event()
        try:
            self.kind, self.boot, home, folder, made, *lock = self._greeting()
        except BaseException:
            self.close()
            raise
        self.holder, self.before = lock
        self.made = tuple(one for one in made.split("\t") if one)
        self.shell = SshShell(Way(board=board, control=control, home=home, folder=folder))
        ssh_client.beat(self._master, self._closing)

    def _greeting(self) -> list[str]:
        """What the board says of itself once the lock is ours."""
        lines = self._lines()
        word, _, rest = (
            lines[0].removeprefix(far_end.MARK).strip().partition(" ") if lines else ("", "", "")
        )
        if lines and not lines[0].startswith(far_end.MARK):
            raise Unavailable(
                f"The login on {self._board.name} prints '{lines[0]}' where only data may pass.",
                "Let ~/.bashrc there print for people only: put [ -t 1 ] || return at its top.",
            )
        if word == "ready" and len(lines) >= _GREETING:  # more, by what others wrote there
            return lines[1:_GREETING]
        if word == "busy":
            raise _busy(self._board, rest)
        if word == "link":
            raise Unavailable(
                f"{self._board.name} has something else than a file at {rest}.",
                "That is the lock; remove it there.",
            )
        if word == "lacks":
            raise Unavailable(f"{self._board.name} has no {rest}.", "Install it there.")
        raise self._refusal()

    def _refusal(self) -> NnprofError:
        with suppress(subprocess.TimeoutExpired):
            self._master.wait(_GRACE_S / 10)
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace")
        if self._master.returncode in (None, _BROKEN):
            return ssh_client.unreachable(self._board, said)
        return Unavailable(
            f"{self._board.name} cannot be used: {ssh_client.last(said)}.",
            f"Look at it by hand: {self._board.by_hand}",
        )

    def _lines(self) -> list[str]:
        """What comes until the greeting is whole, or nothing more comes."""
        assert self._master.stdout is not None  # noqa: S101  we asked for a pipe
        pipe, text = self._master.stdout.fileno(), b""
        deadline = time.monotonic() + _CONNECT_LIMIT_S
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while (
                text.count(b"\n") < _GREETING
                and len(text) < _LONGEST_GREETING
                and selector.select(deadline - time.monotonic())
            ):
                piece = os.read(pipe, 4096)
                if not piece:
                    break
                text += piece
        return text.decode(errors="replace").splitlines()

    @property
    def ended(self) -> bool:
        """Whether ssh has noticed that the connection broke."""
        return self._master.poll() is not None

    def close(self) -> None:
        """End the connection, and with it all that runs there; give the lock back."""
        self._closing.set()
        assert self._master.stdin is not None  # noqa: S101  we asked for a pipe
        with suppress(OSError, ValueError):
            self._master.stdin.close()  # the far end's lock holder ends, and so does ssh
        try:
            self._master.wait(_GRACE_S / 5)
        except subprocess.TimeoutExpired:  # other things run there, or the network is gone
            self._master.kill()
        for stream in (self._master.stdout, self._complaints):
            with suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        self._master.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _who() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()})"


def _busy(board: Board, words: str) -> BoardBusy:
    """From the board's time, since when, and who; by the board's clock, which may be wrong."""
    now, _, rest = words.partition(" ")
    since, _, who = rest.partition(" ")
    start = ""
    # Anybody may write there; OverflowError: a date of no calendar.
    with suppress(ValueError, OverflowError):
        age = timedelta(seconds=int(now) - int(since))
        start = f" since {datetime.now() - age:%H:%M} ({age} h)"
    return BoardBusy(
        f"{board.name} is in use by {who or 'somebody'}{start}.",
        "Wait for its end, or ask; the lock goes when that program ends.",
    )


def _short_folder() -> str | None:
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    return folder if len(folder) < _SHORT and os.access(folder, os.W_OK) else "/tmp"  # noqa: S108
