"""How long a process that was ready to run waited for a processor: what another one there cost it.

Linux counts it in nanoseconds for each thread, where it keeps such statistics (the second number
of /proc/PID/task/TID/schedstat, docs.kernel.org/scheduler/sched-stats). A sample that another
program interrupted is as long as both together; less its wait it is the network's own time, but
for what the other one left cold in the caches (docs/quiet.md says how much that mends). What the
hypervisor took away is not in it: /proc/stat counts that, and by ticks of 10 ms only.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nnprof.profiler import stats
from nnprof.profiler.ports import Part
from nnprof.types import Clock

_TASKS = Path("/proc/self/task")
_MOST = 0.99  # of a sample: a wait just before or after it is counted with it
_WAITED = 1  # of the numbers in schedstat: run time, wait, time slices


class Sample(NamedTuple):
    """Seconds of a sample, and how many of them its slowest thread waited for a processor."""

    seconds: float
    waited_s: float


class Undisturbed:
    """A part whose samples are told without what they waited for a processor.

    Attributes:
        counted: whether waits are known: a clock of ours timed what this process ran.
    """

    def __init__(self, part: Part, clock: Clock) -> None:
        self._part = part
        self._processors = len(os.sched_getaffinity(0))
        self.counted = clock == "perf_counter" and bool(_so_far_s())

    def sample(self, loops: int) -> float:
        """Seconds of `loops` inferences, less waits where they are lost time (`stats.own_s`)."""
        seconds, waited_s = self.timed(loops)
        return stats.own_s((seconds,), (waited_s,), self._processors)[0]

    def timed(self, loops: int) -> Sample:
        """Seconds of `loops` inferences, and of waiting in them; 0 where that is not known."""
        if not self.counted:
            return Sample(self._part.sample(loops), 0.0)
        before, busy_s = _so_far_s(), time.process_time()
        seconds = self._part.sample(loops)
        busy_s, after = time.process_time() - busy_s, _so_far_s()
        longest_s = max((now_s - before.get(one, 0.0) for one, now_s in after.items()), default=0.0)
        # A thread that waits for another one of ours loses nothing: no more is lost than what our
        # processors together did not work for us.
        others_s = self._processors * seconds - busy_s
        return Sample(seconds, max(0.0, min(longest_s, others_s, _MOST * seconds)))

    def close(self) -> None:
        """Close the part."""
        self._part.close()


def _so_far_s() -> dict[str, float]:
    """Seconds that each thread of this process has waited; empty where the kernel does not say."""
    found: dict[str, float] = {}
    for task in _TASKS.iterdir() if _TASKS.is_dir() else ():
        with suppress(OSError, ValueError, IndexError):  # it has ended, or nobody counts
            found[task.name] = int((task / "schedstat").read_bytes().split()[_WAITED]) * 1e-9
    return found
