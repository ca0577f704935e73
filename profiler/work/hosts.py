"""Where a worker runs: a fresh Python process here, or on a board.

A board is locked from the first job there until `release` or the end of this process. A runtime
that works through a shell (`nnprof.profiler.ports.Shell`) needs no Python on the board: its worker
runs here, and the shell there.
"""

from __future__ import annotations

import atexit
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import IO

import msgspec

from nnprof import registry
from nnprof._version import __version__
from nnprof.errors import (
    ConnectionLost,
    NnprofError,
    Unavailable,
    UnknownName,
    UsageError,
    WorkerCrashed,
    WorkerTimeout,
)
from nnprof.profiler.place import boards, computes, environment, lifeline, listening, shells
from nnprof.profiler.place.boards import Board
from nnprof.profiler.place.listening import Hear
from nnprof.profiler.place.ssh import Link
from nnprof.profiler.ports import Shell
from nnprof.profiler.work.carried import Kept
from nnprof.profiler.work.connections import BoardShell, Connections
from nnprof.profiler.work.jobs import Answer, Asking, Fault, Kind_co, Reply
from nnprof.types import LOCAL, MOST_THREADS, Target

_WORKER = "nnprof.profiler.work.worker"
# One line, since it passes through a login shell; the version is looked at before the job is read.
_OTHER_VERSION = "nnprof there: "
_REMOTE = (
    "import sys, importlib.util as util; "
    "there = util.find_spec('nnprof') and __import__('nnprof').__version__; "
    f"there == sys.argv[1] or sys.exit('{_OTHER_VERSION}' + str(there)); "
    f"from {_WORKER} import main; main()"
)
_NEVER_RAN = {126: "cannot run", 127: "has no program"}
_STARTERS = ("setpriv:", "timeout:", "nnprof:")  # who says so, where the program itself does not

_ENDED_BY_OTHERS = (-signal.SIGTERM, -signal.SIGKILL)
_GOING_DOWN_S = 1.0  # from the end of a board's programs to the end of its connections
_ANSWERS_S = 10.0

_LONGEST_WORDS = 1000  # that are repeated of what a worker said

connections = Connections()  # of this process
_made = Kept()  # for boards

Heard = Callable[[Reply], None]  # is given an answer as far as it goes


def run(job: Asking[Kind_co], limit_s: float, heard: Heard | None = None) -> Kind_co:
    """Have a fresh worker do the job where its target is.

    Args:
        job: what to do.
        limit_s: how long it may take.
        heard: is given each line of the answer as it comes.

    Raises:
        WorkerTimeout: it had not answered after `limit_s`; it is ended.
        WorkerCrashed: it ended without an answer.
        ConnectionLost: the board did not stay with us.
        Unavailable: the board cannot be reached, is in use, or lacks something.
        NnprofError: it could not do the job; the error is the one raised in the worker.

    A cell whose clean pass was done when its worker ended is Measured all the same; `lost` says so.
    """
    try:
        return _done(job, limit_s, heard)
    except NnprofError as error:
        return _kept(job, error)


def _done(job: Asking[Kind_co], limit_s: float, heard: Heard | None) -> Kind_co:
    if job.target.host == LOCAL:
        return run_local(job, limit_s, heard=heard)
    board = boards.find(job.target.host)
    link = connections.to(board)
    driven = shells.is_driven(job.target, registry.find("backend", job.target.backend))
    try:
        if driven:
            return run_local(job, limit_s, shells.way_to(link.shell), heard=heard)
        return _run_remote(job, limit_s, (board, link), _hear(heard))
    except ConnectionLost as error:
        raise connections.explained(error, board, link).after(error.told) from error
    except (WorkerTimeout, WorkerCrashed):
        if driven:
            connections.drop(board)  # with the connection ends what that worker had started there
        raise


def named_target(
    device: str = "cpu",
    *,
    on: str | None = None,
    backend: str | None = None,
    threads: int = 1,
    options: Mapping[str, str] = MappingProxyType({}),
) -> Target:
    """What --device, --on and --backend mean, with devices.toml. May connect, to ask its kind.

    None is what is usual: of `backend` for the device, of `on` (what of it computes) for both.

    Raises:
        UnknownName: there is no such device or backend.
        Unavailable: the backend does not compute on that part, or the device has no such part.
        UsageError: fewer than one thread; devices.toml has a mistake; the board cannot be reached.
    """
    if threads < 1:
        raise UsageError(f"--threads {threads} is below 1.", "Ask for at least one thread.")
    if threads > MOST_THREADS:
        raise UsageError(f"No machine has {threads} processors.", "Ask for fewer --threads.")
    board = boards.meant_by(device)
    backend = backend or (board.backend if board else "")
    if backend and backend not in registry.names("backend"):
        raise UnknownName("backend", backend, registry.names("backend"))
    kind = device if board is None else board.device or connections.to(board).kind
    part = on or (board.on if board else "")
    backend = backend or computes.backend_for(registry.find("device", kind), part)
    return Target(
        backend=backend,
        device=kind,
        on=computes.chosen(backend, kind, part),
        host=board.name if board else LOCAL,
        threads=threads,
        options={**(board.options if board else {}), **options},
    )


def shell(host: str) -> Shell:
    """Where programs run on the host of a target; its connection stays, as for a job.

    Raises:
        UsageError: there is no such board, or it cannot be reached.
    """
    return shells.LocalShell() if host == LOCAL else BoardShell(connections, boards.find(host))


def release() -> None:
    """Close all connections; boards are free for others."""
    connections.close()
    _made.forget()


atexit.register(release)


def run_local(
    job: Asking[Kind_co],
    limit_s: float,
    more: Mapping[str, str] | None = None,
    *,
    heard: Heard | None = None,
) -> Kind_co:
    """Have a fresh worker do the job here, with `more` in its environment; `heard`: see `run`.

    Raises:
        WorkerTimeout: it had not answered after `limit_s`; it is ended.
        WorkerCrashed: it ended without an answer.
        NnprofError: it could not do the job; the error is the one raised in the worker.
    """
    with _complaints() as complaints, _worker(complaints, more or {}) as worker:
        try:
            given = msgspec.json.encode(job)
            output, _ = listening.communicate(worker, given, limit_s, _hear(heard))
        except subprocess.TimeoutExpired as late:
            raise WorkerTimeout(
                f"The worker had not answered after {limit_s:.0f} s and was ended.",
                "Raise the limit with --limit, or ask for a smaller batch.",
            ).after(late.output or b"") from None
        finally:
            _end(worker)
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").strip().splitlines()
    try:
        return _answer(job, output, worker.returncode, said[-1] if said else "")
    except WorkerCrashed as crash:
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            raise
        raise WorkerCrashed(
            f"{crash.reason} It may have {limit / 1e6:.0f} MB of address space, which can be too "
            "little to start the runtime.",
            "Raise the limit: ulimit -v.",
        ).after(crash.told) from None


def _complaints() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise UsageError(
            f"No temporary file can be made: {error.strerror or error}.",
            "Free some space, or set TMPDIR to a folder that can be written to.",
        ) from error


def _worker(complaints: IO[bytes], more: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            lifeline.command(_WORKER),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={**environment.passed(os.environ), **more},
            cwd="/",  # nothing in the user's folder may shadow a module
            start_new_session=True,  # Ctrl-C is for us, who then end the worker
        )
    except OSError as error:
        raise WorkerCrashed(
            f"No worker could be started: {error.strerror or error}.",
            "Look at the limits on processes and memory (ulimit -a), then go on with --resume.",
        ) from error


def _run_remote(
    job: Asking[Kind_co], limit_s: float, there: tuple[Board, Link], hear: Hear | None
) -> Kind_co:
    board, link = there
    ready = _made.given(job, run_local)
    sent = msgspec.json.encode(ready.moved(link.shell.put))
    argv = [board.python, "-c", _REMOTE, __version__]
    done = link.shell.run(argv, stdin=sent, timeout_s=limit_s, hear=hear)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    last = said[-1] if said else ""
    install = f"Install nnprof {__version__} there for {board.python}, or name its python in "
    install += f"{boards.file()}; docs/remote.md says how."
    if done.returncode in _NEVER_RAN and last.startswith(_STARTERS):
        raise Unavailable(f"{board.name} {_NEVER_RAN[done.returncode]} {board.python}.", install)
    if last.startswith(_OTHER_VERSION):
        its = last.removeprefix(_OTHER_VERSION)
        what = "has no nnprof" if its == "None" else f"has nnprof {its}, not {__version__}"
        raise Unavailable(f"{board.python} on {board.name} {what}.", install)
    code = shells.plain_code(done.returncode)
    if code in _ENDED_BY_OTHERS:
        _require_stays(link, done.stdout)
    return _answer(job, done.stdout, code, last)


def _require_stays(link: Link, told: bytes) -> None:
    """Look whether a worker was killed because its board goes down, which ends its programs first.

    Raises:
        ConnectionLost: the board is gone, or no longer answers.
    """
    time.sleep(_GOING_DOWN_S)
    try:
        link.shell.run(["true"], timeout_s=_ANSWERS_S)
    except (ConnectionLost, WorkerTimeout) as gone:
        raise ConnectionLost(gone.reason, gone.remedy).after(told) from None


def _end(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def _answer(job: Asking[Kind_co], output: bytes, code: int, said: str) -> Kind_co:
    answer = next(_told(output), None)
    if answer is None or not answer.whole:
        raise _crash(code, said[:_LONGEST_WORDS]).after(output)
    if isinstance(answer, Fault):
        raise answer.raised()
    if not isinstance(answer, job.answer):
        raise WorkerCrashed(
            f"The worker was asked to {type(job).__name__.lower()}, and answered something else.",
            "Is another program answering in its place?",
        )
    return answer


def _told(output: bytes) -> Iterator[Reply]:
    """What a worker answered, the last first; a line that was cut off is none."""
    for line in reversed(output.splitlines()):
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer: Reply = msgspec.json.decode(line, type=Answer)
            yield answer


def _hear(heard: Heard | None) -> Hear | None:
    """Gives what a line of an answer says to `heard`."""
    if heard is None:
        return None

    def hear(line: bytes) -> None:
        for answer in _told(line):
            heard(answer)

    return hear


def _kept(job: Asking[Kind_co], error: NnprofError) -> Kind_co:
    """What a worker had told of its answer when its error came.

    Raises:
        NnprofError: the error itself, where that was nothing.
    """
    for sofar in _told(error.told):
        if isinstance(sofar, job.answer) and (kept := sofar.cut_off(error)):
            return kept
    raise error


def _crash(code: int, said: str) -> WorkerCrashed:
    last = f" It said: {said}" if said else ""
    if code == -signal.SIGKILL:
        return WorkerCrashed(
            f"The worker was killed from outside (signal 9), most likely for memory.{last}",
            "Ask for a smaller batch, or free memory.",
        )
    return WorkerCrashed(
        f"The worker ended with {shells.ended_with(code)} and no answer.{last}",
        "Try the same cell alone; if it crashes again, the runtime has a bug with this model.",
    )
