"""Locks between nnprof's processes: one holder at a time, freed by the kernel when it ends.

A lock is a file that flock(2) is held on. The text in the file says who holds it, for messages to
others. The file is found by name, and never through a link. It may be removed at any time: a
process whose open file no longer has the name holds nothing, and tries again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import msgspec

from nnprof.errors import Busy, UsageError
from nnprof.text import plain

_LONGEST = 4096  # bytes of what a holder says of itself
_SHOWN = 80  # letters of its command
_LOOKS, _LOOK_S = 20, 0.05  # until one that has just begun has said who it is
_TRIES = 2
_mine: dict[Path, tuple[int, int]] = {}  # what this process holds: the open file, how often


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lock: a process of a host, since when (by its clock), and what it was told."""

    pid: int
    host: str
    since: str
    command: str


@contextmanager
def held(
    path: Path, what: str, *, wait: Callable[[str], None] | None = None, shared: bool = False
) -> Iterator[None]:
    """Hold the lock that a file stands for; a process may hold one several times over.

    Args:
        path: the file. One that is not shared goes when its last holder in this process ends.
        what: what the lock keeps, as the sentence begins: "/tmp/run.json is being written".
        wait: gets the sentence, once, and then we wait; without it others' locks are an error.
        shared: between users: all may open and write the file, and it stays.

    Raises:
        Busy: another process holds it, and we do not wait.
        UsageError: no such file can be had, or it is not ours to use.
    """
    path = path.parent.resolve() / path.name  # not through a link in its own place
    number, count = _mine.get(path) or (_taken(path, what, wait, shared=shared), 0)
    _mine[path] = number, count + 1
    try:
        yield
    finally:
        number, count = _mine.pop(path)
        if count > 1:
            _mine[path] = number, count - 1
        else:
            if not shared:
                with suppress(OSError):
                    path.unlink()  # while it is ours: the next one makes another
            os.close(number)


def is_held(path: Path) -> Holder | None:
    """Who else holds a lock, as far as it says; None where nobody does."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(number)
    except OSError:
        return None
    finally:
        os.close(number)
    return None


def _taken(path: Path, what: str, wait: Callable[[str], None] | None, *, shared: bool) -> int:
    """The file's number with the lock on it, and us written into it."""
    while True:
        number = _opened(path, shared=shared)
        try:
            _lock(number, path, what, wait)
            if _leads_to(path, number):
                _sign(number)
                return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)  # its last holder removed it


def _opened(path: Path, *, shared: bool) -> int:
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        number = _first(path, flags, shared=shared)
    except OSError as error:
        words = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise UsageError(
            f"The lock '{path}' cannot be used: {words}.",
            "Look at its folder, or use another one.",
        ) from error
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(number)
        raise UsageError(f"The lock '{path}' is no file of its own.", "Remove it.")
    return number


def _first(path: Path, flags: int, *, shared: bool) -> int:
    """Open the file, or make it: never both at once, which the kernel forbids in shared folders."""
    while True:
        for mode in (os.O_RDWR, os.O_RDONLY):  # somebody else's may be ours to lock alone
            with suppress(FileNotFoundError, PermissionError):
                return os.open(path, mode | flags)
        with suppress(FileExistsError):
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | flags, 0o666)
            if shared:
                os.fchmod(number, 0o666)
            return number
        if not os.access(path, os.R_OK, follow_symlinks=False):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _lock(number: int, path: Path, what: str, wait: Callable[[str], None] | None) -> None:
    try:
        _try(number)
    except BlockingIOError:
        who = said(_holder(number))
        if wait is None:
            raise Busy(f"{what} by {who}.", "Wait for its end; nnprof bench --wait does.") from None
        wait(f"{what} by {who}; waiting for its end.")
        fcntl.flock(number, fcntl.LOCK_EX)
    except OSError as error:
        raise UsageError(
            f"No lock can be had on '{path}': {error.strerror}.",
            "Its file system has none; use a folder on another one.",
        ) from error


def _try(number: int) -> None:
    """A few times: others take a lock for a moment to see whether it is held (`is_held`)."""
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOOK_S)
    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _leads_to(path: Path, number: int) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    ours = os.fstat(number)
    return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)


def _sign(number: int) -> None:
    """Say who we are; where the file is not ours to write, or the disk is full, we stay unnamed."""
    holder = Holder(
        pid=os.getpid(),
        host=socket.gethostname(),
        since=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=shlex.join(("nnprof", *sys.argv[1:]))[: _SHOWN + 1],
    )
    with suppress(OSError):
        os.ftruncate(number, 0)
        os.pwrite(number, msgspec.json.encode(holder), 0)


def _holder(number: int) -> Holder:
    """Who holds a lock that we did not get; an unnamed one where it does not say."""
    for _ in range(_LOOKS):
        with suppress(msgspec.MsgspecError, UnicodeError, OSError):
            holder = msgspec.json.decode(os.pread(number, _LONGEST, 0), type=Holder)
            if _lives(holder):
                return holder
        time.sleep(_LOOK_S)
    return Holder(pid=0, host="", since="", command="")


def _lives(holder: Holder) -> bool:
    """Whether the one that signed can be the holder: an older signature may still stand there."""
    if holder.host != socket.gethostname():
        return True
    try:
        os.kill(holder.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return holder.pid > 0


def said(holder: Holder) -> str:
    """A holder in words."""
    if not holder.pid:
        return "another program"
    since = holder.since
    with suppress(ValueError):
        since = f"{datetime.fromisoformat(holder.since):%Y-%m-%d %H:%M}"
    where = "" if holder.host == socket.gethostname() else f" on {holder.host}"
    command = holder.command
    short = command if len(command) <= _SHOWN else f"{command[:_SHOWN]}…"
    return plain(f"process {holder.pid}{where} since {since} ({short})")
