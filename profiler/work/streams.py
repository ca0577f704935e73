"""Several sessions at once, each in a process of its own: what all of them get done together.

Processes, not threads: they share no interpreter lock, no allocator and no pool of threads, an
error of one ends one, and that is how several programs on a board work. Each is pinned to
processors of its own as far as they last. They open and warm up, begin at one moment, and work
until the last has had its time. What is measured lies between the moment when all had begun and the
moment when the first had ended; an inference that is partly in it counts as a part.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from time import perf_counter
from typing import IO, NamedTuple, TypeVar, cast

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.errors import WorkerCrashed
from nnprof.profiler import stats
from nnprof.profiler.devices import linux
from nnprof.profiler.place import lifeline, shells, spread
from nnprof.profiler.ports import Backend, Device
from nnprof.profiler.timing import sample
from nnprof.profiler.work.jobs import Fault, Measure, Measured
from nnprof.profiler.work.stream import Done, Go, Ready, Said, Work
from nnprof.types import Stream

_MODULE = "nnprof.profiler.work.stream"
_SOON_S = 0.05  # from the word to begin until the beginning, so that all have read it
_SLICES = 20  # of the time in common: the samples of a cell
_KEPT = 700  # inferences of each stream in a Run: enough for a 99th percentile of its own
_DECIMALS = 10  # a tenth of a nanosecond, as of other single inferences
_LEAST = 2  # a sample is a mean over so many or more, and has no tail to speak of

_SaidT = TypeVar("_SaidT", Ready, Done)


def sets_of(job: Measure, device: Device, backend: Backend) -> spread.Sets:
    """The processors of each stream; to be asked before this process is pinned.

    Raises:
        Unavailable: there are too few processors for one stream.
    """
    if not getattr(backend, "computes", True):
        return ((),) * job.target.streams
    return spread.spread(device, job.target.threads, job.target.streams)


def run(job: Measure, device: Device, backend: Backend) -> Measured:
    """What this worker does of a cell with streams: the floor, pinned; then it only waits.

    Raises:
        NnprofError: see `sets_of` and `measure`.
    """
    free, sets = os.sched_getaffinity(0), sets_of(job, device, backend)
    spread.pin(device, backend, job.target.threads)
    floor_s = sample.floor_of(job.floor, job.target, backend)
    os.sched_setaffinity(0, free)  # each stream is pinned to its own
    return measure(job, device, sets, floor_s)


def measure(job: Measure, device: Device, sets: spread.Sets, floor_s: float) -> Measured:
    """All streams of a cell in this process's children.

    Raises:
        NnprofError: one stream failed; which one is said.
    """
    every = tuple(sorted({one for own in sets for one in own}))
    before = device.read(every, job.target.on)
    with _children(sets) as children:
        ready = _opened(children, job, sets)
        slowest_s = max(one.warmups_s[-1] for one in ready)
        done = _together(children, max(job.plan.streams_s, job.plan.min_samples * slowest_s))
    samples_s, loops = together(done)
    return Measured(
        clock=ready[0].clock,
        facts=_facts(ready[0], sets),
        samples_s=samples_s,
        warmups_s=ready[0].warmups_s,
        loops=loops,
        state=stats.classify(samples_s),
        floor_s=floor_s,
        open_s=median(one.open_s for one in ready),
        timed_s=sum(sum(one.warmups_s) for one in ready) + sum(sum(one.samples_s) for one in done),
        processors=every,
        cores=linux.kinds(every),
        siblings=linux.siblings(every),
        before=before,
        after=device.read(every, job.target.on),
        streams=tuple(
            Stream(processors=own, samples_s=_thinned(one.samples_s))
            for own, one in zip(sets, done, strict=True)
        ),
    )


def _facts(first: Ready, sets: spread.Sets) -> dict[str, object]:
    return {
        **first.facts,
        "streams": f"{len(sets)} processes, {_share(sets)}",
        "processor_sets": [list(own) for own in sets],
    }


def _share(sets: spread.Sets) -> str:
    """How they share the processors, in words."""
    distinct = len(set(sets))
    if not any(sets):
        return "not pinned"
    if distinct == len(sets):
        return "each on processors of its own"
    return f"which share {distinct} set{'s' if distinct > 1 else ''} of processors"


class _Child(NamedTuple):
    """A stream's process; `name` is what a sentence calls it."""

    name: str
    process: subprocess.Popen[bytes]
    tell: IO[bytes]
    hear: IO[bytes]


@contextmanager
def _children(sets: spread.Sets) -> Iterator[list[_Child]]:
    """A process for each stream; none is left at the end."""
    children: list[_Child] = []
    try:
        for number in range(1, len(sets) + 1):
            process = subprocess.Popen(
                lifeline.command(_MODULE),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd="/",
            )
            pipes = cast("tuple[IO[bytes], IO[bytes]]", (process.stdin, process.stdout))
            children.append(_Child(f"Stream {number} of {len(sets)}", process, *pipes))
        yield children
    finally:
        for child in children:
            child.process.kill()
            child.process.wait()
            child.hear.close()
            with suppress(BrokenPipeError):
                child.tell.close()


def _opened(children: Sequence[_Child], job: Measure, sets: spread.Sets) -> list[Ready]:
    """What all streams say once they are ready; each works on tiles of its own seed."""
    for index, (child, own) in enumerate(zip(children, sets, strict=True)):
        workload = replace(job.workload, seed=job.workload.seed + 1000 * index)
        work = Work(
            workload=workload,
            target=job.target,
            plan=job.plan,
            processors=own,
            made=job.made[:1],  # of the cell's own
        )
        _tell(child, work)
    found = {child.name: _said(child, Ready) for child in _as_they_speak(children)}
    return [found[child.name] for child in children]


def _together(children: Sequence[_Child], seconds: float) -> list[Done]:
    """Let all begin at one moment, and wait until all have ended."""
    at_s = perf_counter() + _SOON_S
    for child in children:
        _tell(child, Go(at_s=at_s, seconds=seconds))
    found = {child.name: _said(child, Done) for child in _as_they_speak(children)}
    return [found[child.name] for child in children]


def _as_they_speak(children: Sequence[_Child]) -> Iterator[_Child]:
    """Each stream when it has something to say, or has ended; a dead one must not be waited for."""
    waiting = {child.hear: child for child in children}
    while waiting:
        for pipe in select.select([*waiting], [], [])[0]:
            yield waiting.pop(pipe)


def _tell(child: _Child, what: Work | Go) -> None:
    with suppress(BrokenPipeError):  # it has ended; what it said, or did not, comes next
        child.tell.write(msgspec.json.encode(what) + b"\n")
        child.tell.flush()


def _said(child: _Child, _: type[_SaidT]) -> _SaidT:
    """The next line of a stream.

    Raises:
        NnprofError: it failed, with its own reason; or it ended without a word.
    """
    line = child.hear.readline()
    if not line:
        code = child.process.wait()
        raise WorkerCrashed(
            f"{child.name} ended with {shells.ended_with(code)} and no answer.",
            "Try fewer streams; if one alone crashes, too, the runtime has a bug with this model.",
        )
    said = msgspec.json.decode(line, type=Said)
    if isinstance(said, Fault):
        raise said.raised(f"{child.name}: ")
    return cast("_SaidT", said)


def together(done: Sequence[Done]) -> tuple[tuple[float, ...], int]:
    """Seconds per inference of all streams together, in slices of the time that all worked.

    Of an inference that lies in several slices each has its part. Also how many inferences lie in a
    slice at least.
    """
    start = max(one.begun_s[0] for one in done)
    end = min(one.begun_s[-1] + one.samples_s[-1] for one in done)
    total = sum(float(np.diff(_counts(one, np.array([start, end])))[0]) for one in done)
    slices = max(1, min(_SLICES, int(total) // _LEAST))
    edges = np.linspace(start, end, slices + 1)
    per_slice = sum((np.diff(_counts(one, edges)) for one in done), np.zeros(slices))
    length = (end - start) / slices
    samples = tuple(length / float(part) for part in per_slice if part > 0)
    return samples, max(_LEAST, int(min(per_slice)))


def _counts(done: Done, moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many inferences a stream had ended at these moments, with the part of the one at work."""
    begun = np.array(done.begun_s)
    ended = np.maximum.accumulate(begun + np.array(done.samples_s))
    at = np.column_stack([begun, ended]).ravel()
    number = np.arange(len(begun), dtype=float)
    counted = np.column_stack([number, number + 1]).ravel()
    return np.asarray(np.interp(moments, at, counted))


def _thinned(samples_s: Sequence[float]) -> tuple[float, ...]:
    """At most so many of them, evenly from beginning to end."""
    step = max(1, -(-len(samples_s) // _KEPT))
    return tuple(round(one, _DECIMALS) for one in samples_s[::step])
