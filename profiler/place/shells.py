"""Shells: how programs such as trtexec run here or on a board (`nnprof.profiler.ports.Shell`)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import msgspec
import platformdirs

from nnprof.errors import Unavailable, WorkerTimeout
from nnprof.exporters.identity import sha256_of
from nnprof.profiler.place import lifeline
from nnprof.profiler.place.ssh import SshShell, Way
from nnprof.profiler.ports import Shell
from nnprof.types import LOCAL, Target

_WAY = "NNPROF_WAY"
NO_SUCH_PROGRAM = 127  # as command interpreters, and so ssh, report it
_BY_SIGNAL = 128  # which they add to the number of the signal that ended a program
_LAST_SIGNAL = 64


def plain_code(code: int) -> int:
    """The code of a program as Python has it, minus the signal, from that of an interpreter.

    A code above 128 + the last signal is the program's own: -1 in C is 255.
    """
    number = code - _BY_SIGNAL
    return -number if 0 < number <= _LAST_SIGNAL else code


def ended_with(code: int) -> str:
    """How a program ended, in words, whatever its code: `exit code 3`, `signal 11 (SIGSEGV)`."""
    if code >= 0:
        return f"exit code {code}"
    number = -code
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:  # Python names the first and the last of the real-time signals only
        first = getattr(signal, "SIGRTMIN", number + 1)
        return f"signal {number}" + (f" (SIGRTMIN+{number - first})" if number > first else "")


class LocalShell:
    """This machine."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(platformdirs.user_cache_dir("nnprof")) / "programs"

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_s: float
    ) -> CompletedProcess[bytes]:
        """Run a program in a process group of its own, so that its children end with it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                start_new_session=True,
                # A worker that is ended at its limit takes what it started with it.
                preexec_fn=partial(lifeline.end_with, os.getpid()),  # noqa: PLW1509  no threads here
            )
        except (FileNotFoundError, PermissionError) as error:
            said = f"{argv[0]}: {error.strerror}".encode()
            return CompletedProcess(argv, NO_SUCH_PROGRAM, b"", said)
        with process:
            try:
                out, err = process.communicate(stdin, timeout=timeout_s)
            except subprocess.TimeoutExpired:
                raise WorkerTimeout(
                    f"{Path(argv[0]).name} had not ended after {timeout_s:.0f} s and was ended.",
                    "Raise the limit with --limit, or ask for a smaller batch.",
                ) from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        return CompletedProcess(argv, process.returncode, out, err)

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program that only the end of its standard input tells of ours."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            argv,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            start_new_session=True,
        )

    def reopened(self, then: Callable[[], None]) -> AbstractContextManager[None]:
        """The way to this machine does not break."""
        del then
        return nullcontext()

    def path(self, name: str) -> str:
        """In the user's cache, if nothing else was said."""
        return str(self._folder / name)

    def put(self, local: Path, name: str) -> str:
        """Copy, whole or not at all, if that content is not there yet."""
        there = self._folder / name
        if not there.is_file() or sha256_of(there) != sha256_of(local):
            there.parent.mkdir(parents=True, exist_ok=True)
            draft = there.with_name(f".{there.name}.{os.getpid()}.tmp")
            shutil.copyfile(local, draft)
            draft.replace(there)
        return str(there)

    def get(self, remote: str) -> bytes:
        """Read."""
        return Path(remote).read_bytes()


def is_driven(target: Target, backend: object) -> bool:
    """Whether the runtime's programs run on another host, and its worker here."""
    return target.host != LOCAL and getattr(backend, "through_shell", False)


def way_to(shell: SshShell) -> dict[str, str]:
    """What a worker of ours must have in its environment for `at` to find the board."""
    return {_WAY: msgspec.json.encode(shell.way).decode()}


def at(host: str) -> Shell:
    """The place that a `Target.host` names, as seen from a worker.

    Raises:
        Unavailable: nobody gave this process a way to it.
    """
    if host == LOCAL:
        return LocalShell()
    way = os.environ.get(_WAY)
    if way is None:
        raise Unavailable(f"This process has no connection to '{host}'.", "Run nnprof on it.")
    return SshShell(msgspec.json.decode(way, type=Way))
