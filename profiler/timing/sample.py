"""The clean pass: warm up, sample, stop; and parts of a network alone. A session times itself."""

from __future__ import annotations

import gc
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import msgspec

from nnprof.profiler import waits
from nnprof.profiler.ports import Backend, Part, Session
from nnprof.types import Model, Plan, Target, Workload

_MOST_SAMPLES = 100  # of one process: more only make the file larger
_WINDOW = 5
_SETTLED = 0.02
_FLOOR_LOOPS = 500
_FLOOR_SAMPLES = 9
_PART_SAMPLE_S = 0.003
LEAST_ROUNDS = 5
_PAUSES = 20


class CleanPass(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds per inference in the warm-up and of each sample; `timed_s` is their whole time.

    `waited_s` is what of each sample passed in waiting for a processor, () where nobody counts it.
    """

    warmups_s: tuple[float, ...]
    samples_s: tuple[float, ...]
    waited_s: tuple[float, ...]
    loops: int
    timed_s: float


def clean_pass(session: Session, plan: Plan) -> CleanPass:
    """End-to-end time with nothing else switched on: the truth the rest is held against."""
    part = waits.Undisturbed(session, session.clock)
    with no_collector():
        warmups_s, warm_s = warm_up(session, plan)
        level_s = median(warmups_s[-_WINDOW:])
        wanted_s = max(plan.sample_min_s, plan.sample_s / _MOST_SAMPLES)
        loops = max(1, math.ceil(wanted_s / level_s))
        samples: list[waits.Sample] = []
        spent_s = 0.0
        while spent_s < plan.sample_s or len(samples) < plan.min_samples:
            samples.append(part.timed(loops))
            spent_s += samples[-1].seconds
    return CleanPass(
        warmups_s=tuple(warmups_s),
        samples_s=tuple(one.seconds / loops for one in samples),
        waited_s=tuple(one.waited_s / loops for one in samples) if part.counted else (),
        loops=loops,
        timed_s=warm_s + spent_s,
    )


def floor_s(session: Session) -> float:
    """Seconds of one call, from a session on an identity graph: what the harness itself costs."""
    part = waits.Undisturbed(session, session.clock)
    with no_collector():
        samples = [part.sample(_FLOOR_LOOPS) / _FLOOR_LOOPS for _ in range(_FLOOR_SAMPLES)]
    return median(samples)


def of_graph(model: Model) -> Workload:
    """One of our own graphs of trivial nodes as what is asked."""
    return Workload(model=model, batch=1)


def floor_of(model: Model, target: Target, backend: Backend) -> float:
    """The same of a graph that is opened and closed for it."""
    session = backend.open(of_graph(model), target)
    try:
        return floor_s(session)
    finally:
        session.close()


class Timed(NamedTuple):
    """Seconds per inference of each part, and the seconds of inference that it took to know."""

    each_s: tuple[float, ...]
    spent_s: float


def alone(part: Part, budget_s: float) -> Timed:
    """One op run over and over on the same buffers."""
    with no_collector():
        spent_s = part.sample(1)
        once_s = part.sample(1)
        loops = max(1, math.ceil(_PART_SAMPLE_S / once_s))
        first_s = part.sample(loops)
        count = int(min(_MOST_SAMPLES, max(LEAST_ROUNDS, budget_s / first_s)))
        samples_s = [part.sample(loops) for _ in range(count)]
    spent_s += once_s + first_s + sum(samples_s)
    return Timed((median(samples_s) / loops,), spent_s)


def interleaved(parts: Sequence[Part], budget_s: float) -> Timed:
    """All parts in shuffled rounds, so that drift hits all alike.

    Before each sample the part runs once untimed, because the others have emptied its caches.
    """
    with no_collector():
        spent_s = sum(part.sample(1) for part in parts)
        once_s = [part.sample(1) for part in parts]
        loops = [max(1, math.ceil(_PART_SAMPLE_S / seconds)) for seconds in once_s]
        round_s = sum(seconds * (1 + count) for seconds, count in zip(once_s, loops, strict=True))
        rounds = int(min(_MOST_SAMPLES, max(LEAST_ROUNDS, budget_s / round_s)))
        order = list(range(len(parts)))
        samples_s: list[list[float]] = [[] for _ in parts]
        for number in range(rounds):
            random.Random(number).shuffle(order)  # noqa: S311  repeatable, not secret
            for index in order:
                spent_s += parts[index].sample(1)
                samples_s[index].append(parts[index].sample(loops[index]))
    each_s = tuple(median(own) / count for own, count in zip(samples_s, loops, strict=True))
    return Timed(each_s, spent_s + sum(once_s) + sum(map(sum, samples_s)))


def after_pauses_s(session: Session, gap_s: float) -> tuple[float, ...]:
    """Seconds of single inferences, each after a pause: what a camera at that rate would see."""
    samples_s = []
    session.sample(1)
    with no_collector():
        for _ in range(_PAUSES):
            if gap_s:
                session.pause(gap_s)
            samples_s.append(session.sample(1))
    return tuple(samples_s)


def warm_up(session: Session, plan: Plan) -> tuple[list[float], float]:
    """Until two windows in a row agree, but within the plan's limits; at least one inference."""
    warmups_s: list[float] = []
    spent_s, loops = 0.0, 1
    while True:
        seconds = session.sample(loops)
        spent_s += seconds
        warmups_s.append(seconds / loops)
        if spent_s >= plan.warmup_limit_s:
            return warmups_s, spent_s
        if spent_s >= plan.warmup_s and _settled(warmups_s):
            return warmups_s, spent_s
        if seconds < plan.sample_min_s:  # the first ones are cold, so grow in steps
            loops = min(4 * loops, math.ceil(plan.sample_min_s * loops / seconds))


def _settled(warmups_s: list[float]) -> bool:
    if len(warmups_s) < 2 * _WINDOW:
        return False
    earlier = median(warmups_s[-2 * _WINDOW : -_WINDOW])
    return abs(median(warmups_s[-_WINDOW:]) / earlier - 1) < _SETTLED


@contextmanager
def no_collector() -> Iterator[None]:
    """Python's garbage collector must not run inside a sample."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
