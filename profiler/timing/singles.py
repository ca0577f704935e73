"""Inferences timed one by one: what their percentiles and missed deadlines are made of.

A pass of its own, because a sample of the clean pass is a mean over many inferences wherever one
is short. What a deadline feels counts here: waits for other programs are told, and not taken off.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from time import perf_counter

from nnprof.profiler import waits
from nnprof.profiler.ports import Part, Session
from nnprof.profiler.tails import late_s
from nnprof.profiler.timing import frame
from nnprof.profiler.timing.sample import no_collector
from nnprof.types import Plan, Singles, Workload

_MOST_SAMPLES = 2000  # of one process: more hardly tell more, since processes differ
_DECIMALS = 10  # a tenth of a nanosecond is less than any clock tells, and keeps the file short
_FIRST = 3
_READINGS = 200


def of_cell(workload: Workload, session: Session, plan: Plan, driven: bool) -> Singles:
    """Single inferences of a workload, or whole images where its tiles are cut from one.

    Args:
        workload: that the session was opened for.
        session: open, its clean pass done.
        plan: how long, and how far apart.
        driven: whether the session works on a board from afar, where nothing is cut.

    Raises:
        OutOfMemory: the tiles of the image do not fit.
    """
    if workload.image is None:
        return measure(session, session, plan)
    if driven:
        why = "images are not cut there: our worker is not on the board"
        return Singles(period_s=plan.period_s, unknown=why)
    return measure(frame.in_parts(workload, session), session, plan)


def measure(part: Part, session: Session, plan: Plan) -> Singles:
    """Single inferences of a part for `plan.singles_s`, paced as the plan says; at least one.

    Paced, each begins at the next multiple of the period or, where the one before has not ended by
    then, right after that: then it is late. No image is dropped.

    Args:
        part: what is one inference, or one image; `sample(1)` is asked for again and again.
        session: that the part belongs to; its clock, and its pauses.
        plan: how long, and how far apart.
    """
    if plan.period_s and not getattr(session, "live", True):
        why = "its inferences are over before they are told, so that nothing can pace them"
        return Singles(period_s=plan.period_s, unknown=why)
    usual_s = median(part.sample(1) for _ in range(_FIRST))  # the first may take new memory
    timed = waits.Undisturbed(part, session.clock, kept=True)
    simulated = getattr(session, "simulated", False)
    found: list[waits.Sample] = []
    with no_collector(), timed:
        begin_s, due_s, ended_s = perf_counter(), 0.0, 0.0
        while not found or max(due_s, ended_s) < plan.singles_s:
            if plan.period_s:
                early_s = due_s - (ended_s if simulated else perf_counter() - begin_s)
                if early_s > 0:
                    session.pause(early_s)
                found.append(timed.timed(1))
            else:
                found.append(timed.timed_lightly(usual_s))
            ended_s = max(ended_s, due_s) + found[-1].seconds
            due_s = len(found) * plan.period_s
            if len(found) == _MOST_SAMPLES:
                break
    samples_s = tuple(round(one.seconds, _DECIMALS) for one in found)
    return Singles(
        samples_s=samples_s,
        late_s=late_s(samples_s, plan.period_s),
        waited_s=tuple(round(one.waited_s, _DECIMALS) for one in found) if timed.counted else (),
        period_s=plan.period_s,
        resolution_s=_resolution_s(session, [one.seconds for one in found]),
    )


def _resolution_s(session: Session, samples_s: Sequence[float]) -> float:
    """The smallest step of the clock: of ours seen by reading it, of others between samples."""
    readings: Sequence[float] = sorted(samples_s)
    if session.clock == "perf_counter":
        readings = [perf_counter() for _ in range(_READINGS)]
    steps = [later - earlier for earlier, later in pairwise(readings) if later > earlier]
    return min(steps, default=0.0)
