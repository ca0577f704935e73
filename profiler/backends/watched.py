"""Op times by looks at the clock between the ops of an inference, less what a look costs.

For runtimes without a timer that let somebody look in: MNN's callbacks, ncnn's blobs. A part of
each look lies between its reading of the clock and the op, and would count as the op's. So after
each inference the same looks are made with nothing to do between them (it is called idle), and what
they read is taken off, op by op. The doubt of an op's time is what this may be wrong by: how much
the cost varies from one idle inference to the next, and how much more looking costs amid the ops,
which leave its code and data colder. The second is seen outside the ops, where both kinds of
inference do nothing but look: what they take there more than the idle ones, for each op.

Inferences are timed in blocks. To ask the kernel for waits (`waits`) takes microseconds in which
the caches cool, which is more than some ops take: it is done around a block, not an inference, and
the blocks that waited least are kept. Where an inference is so long that on a busy machine each one
waits, its looks are at a clock that stands still meanwhile, idle ones as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np

from nnprof.profiler import ports, stats, waits
from nnprof.profiler.ports import OpNode
from nnprof.types import OpPass, OpTime

_BLOCK_S = 2e-3
_LONG_S = 5e-3  # more than a scheduler lets others wait, as a rule: Linux' base slice is 3 to 4 ms
_MOST_RUNS = 1000
_MIDDLE = (15.9, 84.1)  # per cent: one standard deviation to each side of a normal


class Looked(NamedTuple):
    """Seconds of an inference, watched or idle, and those between the looks around each op."""

    seconds: float
    ops_s: Sequence[float]


Look = Callable[[], float]  # at a clock: seconds since whenever


class _Watched:
    """Watched inferences as a part, each followed by an idle one; keeps what was seen."""

    def __init__(self, watch: Callable[[Look], Looked], idle: Callable[[Look], Looked]) -> None:
        self._watch, self._idle = watch, idle
        self.look: Look = perf_counter
        self.looked: list[Looked] = []
        self.idle: list[Looked] = []

    def sample(self, loops: int) -> float:
        """Seconds of a block, all that belongs to it among them: it is what waits are told of."""
        start = perf_counter()
        for _ in range(loops):
            self.looked.append(self._watch(self.look))
            self.idle.append(self._idle(self.look))
        return perf_counter() - start

    def close(self) -> None:
        """Nothing is its own."""


def op_pass(
    nodes: Sequence[OpNode],
    watch: Callable[[Look], Looked],
    idle: Callable[[Look], Looked],
    budget_s: float,
    kernels: Sequence[str] = (),
) -> OpPass:
    """A pass by watched inferences, those of the blocks that waited least for a processor.

    Args:
        nodes: the ops, in order of execution.
        watch: runs an inference, and looks around each op at the clock that it is given.
        idle: makes the same looks with nothing to do between them.
        budget_s: for all of it.
        kernels: the implementation of each op, where known.
    """
    watched = _Watched(watch, idle)
    part = waits.Undisturbed(watched, "perf_counter")
    warm = [part.timed(1) for _ in range(2)]
    usual_s = min(one.seconds for one in warm)
    loops = max(1, int(_BLOCK_S / usual_s))
    blocks = max(1, min(_MOST_RUNS // loops, int(budget_s / (usual_s * loops))))
    with waits.own_clock() as own:
        watched.look = own if usual_s > _LONG_S else perf_counter
        timed = [part.timed(loops) for _ in range(blocks)]
    whole = stats.least_disturbed(*zip(*timed, strict=True))
    kept = [len(warm) + block * loops + at for block in whole for at in range(loops)]
    looked = [watched.looked[one] for one in kept]
    return OpPass(
        method="runtime",
        latency_s=median(one.seconds for one in looked),
        ops=_ops(nodes, looked, [watched.idle[one] for one in kept], kernels),
        timed_s=sum(one.seconds for one in (*warm, *timed)),
    )


def _ops(
    nodes: Sequence[OpNode],
    looked: Sequence[Looked],
    idle: Sequence[Looked],
    kernels: Sequence[str],
) -> tuple[OpTime, ...]:
    """The ops, less what looking costs, with their doubts."""
    idle_s = np.array([one.ops_s for one in idle])
    seconds = np.median([one.ops_s for one in looked], axis=0) - np.median(idle_s, axis=0)
    low_s, high_s = np.percentile(idle_s, _MIDDLE, axis=0)
    dearer_s = (_outside_s(looked) - _outside_s(idle)) / max(1, len(nodes))
    doubts_s = np.hypot((high_s - low_s) / 2, max(0.0, dearer_s))
    return tuple(
        ports.timed(
            node,
            at,
            max(0.0, float(seconds[at])),
            "runtime",
            runs=len(looked),
            kernel=kernels[at] if kernels else "",
            doubt_s=float(doubts_s[at]),
        )
        for at, node in enumerate(nodes)
    )


def _outside_s(looked: Sequence[Looked]) -> float:
    """Seconds of an inference that lie in no op."""
    return median(one.seconds - sum(one.ops_s) for one in looked)
