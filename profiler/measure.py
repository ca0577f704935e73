"""Warm up, sample, stop. Knows no backend: a session times itself."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import msgspec

from nnprof.profiler.ports import Session
from nnprof.types import Plan

_MOST_SAMPLES = 100  # of one process: more only make the file larger
_WINDOW = 5
_SETTLED = 0.02
_FLOOR_LOOPS = 500
_FLOOR_SAMPLES = 9


class CleanPass(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds per inference in the warm-up and of each sample; `timed_s` is their whole time."""

    warmups_s: tuple[float, ...]
    samples_s: tuple[float, ...]
    loops: int
    timed_s: float


def clean_pass(session: Session, plan: Plan) -> CleanPass:
    """End-to-end time with nothing else switched on: the truth the rest is held against."""
    with _no_collector():
        warmups_s, warm_s = _warm_up(session, plan)
        level_s = median(warmups_s[-_WINDOW:])
        wanted_s = max(plan.sample_min_s, plan.sample_s / _MOST_SAMPLES)
        loops = max(1, math.ceil(wanted_s / level_s))
        samples_s: list[float] = []
        spent_s = 0.0
        while spent_s < plan.sample_s or len(samples_s) < plan.min_samples:
            seconds = session.sample(loops)
            spent_s += seconds
            samples_s.append(seconds / loops)
    return CleanPass(
        warmups_s=tuple(warmups_s),
        samples_s=tuple(samples_s),
        loops=loops,
        timed_s=warm_s + spent_s,
    )


def floor_s(session: Session) -> float:
    """Seconds of one call, from a session on an identity graph: what the harness itself costs."""
    with _no_collector():
        samples = [session.sample(_FLOOR_LOOPS) / _FLOOR_LOOPS for _ in range(_FLOOR_SAMPLES)]
    return median(samples)


def _warm_up(session: Session, plan: Plan) -> tuple[list[float], float]:
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
def _no_collector() -> Iterator[None]:
    """Python's garbage collector must not run inside a sample."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
