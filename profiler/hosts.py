"""Where a worker runs. Here: a fresh Python process on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from typing import Any

import msgspec

from nnprof import errors
from nnprof.errors import NnprofError, WorkerCrashed, WorkerTimeout
from nnprof.profiler.worker import Answer, Fault, Job, Looped, Measured, Probed

_COMMAND = (sys.executable, "-c", "from nnprof.profiler.worker import main; main()")


def run_local(job: Job, limit_s: float) -> Probed | Measured | Looped:
    """Have a fresh worker do the job.

    Raises:
        WorkerTimeout: it had not answered after `limit_s`; it is ended.
        WorkerCrashed: it ended without an answer.
        NnprofError: it could not do the job; the error is the one raised in the worker.
    """
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            cwd="/",  # nothing in the user's folder may shadow a module
            start_new_session=True,  # Ctrl-C is for us, who then end the worker
        ) as worker,
    ):
        try:
            output, _ = worker.communicate(msgspec.json.encode(job), timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise WorkerTimeout(
                f"The worker had not answered after {limit_s:.0f} s and was ended.",
                "Raise the limit with --limit, or ask for a smaller batch.",
            ) from None
        finally:
            _end(worker)
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").strip().splitlines()
    return _answer(output, worker.returncode, said[-1] if said else "")


def _end(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def _answer(output: bytes, code: int, said: str) -> Probed | Measured | Looped:
    try:
        answer: Answer = msgspec.json.decode(output, type=Answer)
    except msgspec.DecodeError:
        raise _crash(code, said) from None
    if isinstance(answer, Fault):
        raise _error(answer)
    return answer


def _crash(code: int, said: str) -> WorkerCrashed:
    last = f" It said: {said}" if said else ""
    if code == -signal.SIGKILL:
        return WorkerCrashed(
            f"The worker was killed from outside (signal 9), most likely for memory.{last}",
            "Ask for a smaller batch, or free memory.",
        )
    how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
    return WorkerCrashed(
        f"The worker ended with {how} and no answer.{last}",
        "Try the same cell alone; if it crashes again, the runtime has a bug with this model.",
    )


def _error(fault: Fault) -> NnprofError:
    kind: Any = getattr(errors, fault.error, NnprofError)
    # Some errors are built from parts; here the whole sentence is at hand.
    error: NnprofError = kind.__new__(kind)
    NnprofError.__init__(error, fault.reason, fault.remedy)
    return error
