"""One of several streams: opens its session, waits until all are ready, infers until the end.

It is a process of its own, started by the worker (`streams`), and ends with it. On its standard
input come a job and, once all streams are ready, the moment to begin at; out go what its warm-up
told and then its inferences, each a line of JSON. What the runtime prints goes to stderr.
"""

from __future__ import annotations

import gc
import os
import sys
from time import perf_counter, sleep
from typing import IO

import msgspec

from nnprof import registry
from nnprof.errors import NnprofError
from nnprof.profiler.ports import Backend, Session
from nnprof.profiler.timing import sample
from nnprof.profiler.work import carried
from nnprof.profiler.work.jobs import Fault, Made
from nnprof.types import Clock, Plan, Target, Workload

_MOST = 200_000  # inferences; far more than any list of them needs


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream is to do; `made` is as in a job."""

    workload: Workload
    target: Target
    plan: Plan
    processors: tuple[int, ...]
    made: tuple[Made, ...] = ()


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """A stream whose warm-up is over; seconds of each inference of it."""

    clock: Clock
    facts: dict[str, object]
    warmups_s: tuple[float, ...]
    open_s: float


class Go(msgspec.Struct, frozen=True, kw_only=True):
    """Begin at `at_s` of the clock that all processes of a machine share, for `seconds`."""

    at_s: float
    seconds: float


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """When each inference began, since `Go.at_s`, and how long it took."""

    begun_s: tuple[float, ...]
    samples_s: tuple[float, ...]


Said = Ready | Done | Fault


def main() -> None:
    """Do one job; what goes wrong on purpose is said."""
    answers = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(answers, "wb") as out:
        try:
            _do(out)
        except NnprofError as error:
            _say(out, Fault.of(error))
        except MemoryError:
            reason = "All streams together do not fit into memory."
            remedy = "Ask for fewer streams, or a smaller batch."
            _say(out, Fault(error="OutOfMemory", reason=reason, remedy=remedy))


def _do(out: IO[bytes]) -> None:
    work = msgspec.json.decode(sys.stdin.buffer.readline(), type=Work)
    if work.processors:
        os.sched_setaffinity(0, work.processors)
    known: Backend = registry.find("backend", work.target.backend)
    backend = carried.opening(known, (work.workload,), work.made)
    start = perf_counter()
    session = backend.open(work.workload, work.target)
    open_s = perf_counter() - start
    warmups_s, _ = sample.warm_up(session, work.plan)
    clock, facts = session.clock, session.facts
    gc.collect()  # now, for it may take longer than the others wait
    gc.disable()
    _say(out, Ready(clock=clock, facts=facts, warmups_s=tuple(warmups_s), open_s=open_s))
    go = msgspec.json.decode(sys.stdin.buffer.readline(), type=Go)
    computes = getattr(backend, "computes", True)
    _say(out, _inferred(session, go) if computes else _kept_time(session, go))
    sys.stdin.buffer.readline()  # until all have ended: who leaves makes room for the others
    session.close()


def _inferred(session: Session, go: Go) -> Done:
    """Inferences one after the other from that moment to the end."""
    begun_s: list[float] = []
    samples_s: list[float] = []
    sleep(max(0.0, go.at_s - perf_counter() - 0.002))
    while (now := perf_counter()) < go.at_s:
        pass
    while now < go.at_s + go.seconds and len(samples_s) < _MOST:
        samples_s.append(session.sample(1))
        begun_s.append(now - go.at_s)
        now = perf_counter()
    return Done(begun_s=tuple(begun_s), samples_s=tuple(samples_s))


def _kept_time(session: Session, go: Go) -> Done:
    """The same of a runtime that computes nothing, and keeps a time of its own."""
    begun_s: list[float] = []
    samples_s: list[float] = []
    now = 0.0
    while now < go.seconds and len(samples_s) < _MOST:
        samples_s.append(session.sample(1))
        begun_s.append(now)
        now += samples_s[-1]
    return Done(begun_s=tuple(begun_s), samples_s=tuple(samples_s))


def _say(out: IO[bytes], what: Said) -> None:
    out.write(msgspec.json.encode(what) + b"\n")
    out.flush()


if __name__ == "__main__":
    main()
