"""The only process that times: a job as JSON on stdin → an answer as JSON on stdout.

The protocol is the types of this file, so a worker can be anywhere that has a stdin. Whatever the
runtime prints goes to stderr.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from time import perf_counter
from typing import Any

import msgspec
import psutil

from nnprof import registry
from nnprof.errors import NnprofError
from nnprof.profiler import environment, measure, stats
from nnprof.profiler.ports import Backend, Device
from nnprof.types import Model, OpPass, Plan, Reading, Target, Workload


class Probe(msgspec.Struct, frozen=True, kw_only=True, tag="probe"):
    """Say what this place is, and whether it can open these workloads. Nothing is timed."""

    target: Target
    workloads: tuple[Workload, ...] = ()


class Probed(msgspec.Struct, frozen=True, kw_only=True, tag="probed"):
    """The answer to a Probe."""

    environment: dict[str, Any]


class Measure(msgspec.Struct, frozen=True, kw_only=True, tag="measure"):
    """Measure one cell in this process. `floor`: an identity graph; `ops`: time the ops too."""

    workload: Workload
    target: Target
    plan: Plan
    floor: Model
    ops: bool


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag="measured"):
    """The answer to a Measure; see `nnprof.types.Process` and `Measurement` for the fields."""

    clock: str
    facts: dict[str, Any]
    samples_s: tuple[float, ...]
    warmups_s: tuple[float, ...]
    loops: int
    state: str
    floor_s: float
    open_s: float
    timed_s: float
    processors: tuple[int, ...]
    before: Reading
    after: Reading
    ops: OpPass | None


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag="fault"):
    """The answer to any job that could not be done. `error` names a class of `nnprof.errors`."""

    error: str
    reason: str
    remedy: str


Job = Probe | Measure
Answer = Probed | Measured | Fault


def do(job: Job) -> Answer:
    """Carry out one job; what goes wrong on purpose becomes a Fault."""
    try:
        device: Device = registry.find("device", job.target.device)
        backend: Backend = registry.find("backend", job.target.backend)
        if isinstance(job, Probe):
            return _probe(job, device, backend)
        return _measure(job, device, backend)
    except NnprofError as error:
        return Fault(error=type(error).__name__, reason=error.reason, remedy=error.remedy)
    except MemoryError:
        return Fault(
            error="OutOfMemory",
            reason="The cell does not fit into memory.",
            remedy="Ask for a smaller batch.",
        )


def _probe(job: Probe, device: Device, backend: Backend) -> Probed:
    device.processors(job.target.threads)
    facts = environment.capture(job.target, device, backend)
    for workload in job.workloads:
        backend.open(workload, job.target).close()
    return Probed(environment=facts)


def _measure(job: Measure, device: Device, backend: Backend) -> Measured:
    processors = device.processors(job.target.threads)
    if processors:
        os.sched_setaffinity(0, processors)
    identity = backend.open(Workload(model=job.floor, batch=1), job.target)
    floor_s = measure.floor_s(identity)
    identity.close()
    start = perf_counter()
    session = backend.open(job.workload, job.target)
    open_s = perf_counter() - start
    before = device.read(processors)
    clean = measure.clean_pass(session, job.plan)
    after = device.read(processors)
    ops = session.op_times(job.plan.op_s) if job.ops else None
    session.close()
    return Measured(
        clock=session.clock,
        facts=session.facts,
        samples_s=clean.samples_s,
        warmups_s=clean.warmups_s,
        loops=clean.loops,
        state=stats.classify(clean.samples_s),
        floor_s=floor_s,
        open_s=open_s,
        timed_s=clean.timed_s,
        processors=processors,
        before=before,
        after=after,
        ops=ops,
    )


def _end_with_parent() -> None:
    """Die when the parent dies: an orphan would disturb whatever is measured next (Linux only)."""
    pr_set_pdeathsig = 1
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _limit_memory() -> None:
    """Let an allocation fail here before the kernel ends somebody else's process."""
    limit = psutil.virtual_memory().available + psutil.Process().memory_info().vms
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main() -> None:
    """Read one job, answer it."""
    _end_with_parent()
    answers = os.dup(1)
    os.dup2(2, 1)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    if job.target.device == "cpu":
        _limit_memory()
    with os.fdopen(answers, "wb") as out:
        out.write(msgspec.json.encode(do(job)))


if __name__ == "__main__":
    main()
