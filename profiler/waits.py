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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from nnprof.profiler import stats
from nnprof.profiler.ports import Opening, Part
from nnprof.types import Clock

_TASKS = Path("/proc/self/task")
_MOST = 0.99  # of a sample: a wait just before or after it is counted with it
_LONG = 1.5  # times as long as usual: an inference that something may have put off
_LONGEST = 100  # bytes of such a file
_WAITED = 1  # of the numbers in schedstat: run time, wait, time slices


class Sample(NamedTuple):
    """Seconds of a sample, and how many of them its slowest thread waited for a processor."""

    seconds: float
    waited_s: float


class Undisturbed:
    """A part whose samples are told without what they waited for a processor.

    With `kept`, and inside a `with`, the files of the threads that there are stay open: a look then
    takes microseconds, and can be had before each inference. Threads that begin later are not seen.

    Attributes:
        counted: whether waits are known: a clock of ours timed what this process ran.
    """

    def __init__(self, part: Part, clock: Clock, *, kept: bool = False) -> None:
        self._part = part
        self._processors = len(os.sched_getaffinity(0))
        self._files = ExitStack()
        self._open: dict[str, int] = {}
        self.counted = clock == "perf_counter" and bool(_so_far_s())
        self._seen = _so_far_s()
        for task in _TASKS.iterdir() if kept and self.counted else ():
            with suppress(OSError):  # it has ended
                self._open[task.name] = os.open(task / "schedstat", os.O_RDONLY)
                self._files.callback(os.close, self._open[task.name])

    def __enter__(self) -> Undisturbed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files of the threads; the part stays open."""
        self._files.close()
        self._open.clear()

    def _so_far_s(self) -> dict[str, float]:
        return _read_s(self._open) if self._open else _so_far_s()

    def sample(self, loops: int) -> float:
        """Seconds of `loops` inferences, less waits where they are lost time (`stats.own_s`)."""
        seconds, waited_s = self.timed(loops)
        return stats.own_s((seconds,), (waited_s,), self._processors)[0]

    def timed(self, loops: int) -> Sample:
        """Seconds of `loops` inferences, and of waiting in them; 0 where that is not known."""
        if not self.counted:
            return Sample(self._part.sample(loops), 0.0)
        before, busy_s = self._so_far_s(), time.process_time()
        seconds = self._part.sample(loops)
        busy_s, after = time.process_time() - busy_s, self._so_far_s()
        longest_s = max((now_s - before.get(one, 0.0) for one, now_s in after.items()), default=0.0)
        # A thread that waits for another one of ours loses nothing: no more is lost than what our
        # processors together did not work for us.
        others_s = self._processors * seconds - busy_s
        return Sample(seconds, max(0.0, min(longest_s, others_s, _MOST * seconds)))

    def timed_lightly(self, usual_s: float) -> Sample:
        """Seconds of one inference; its wait only where it took half as long again as usual.

        To look at the kernel's counters takes microseconds in which the caches cool. What passed
        since the last look is given to this inference, as far as it took longer than usual.
        """
        seconds = self._part.sample(1)
        if not self.counted or seconds < _LONG * usual_s:
            return Sample(seconds, 0.0)
        before, self._seen = self._seen, self._so_far_s()
        longest_s = max(
            (now_s - before.get(one, now_s) for one, now_s in self._seen.items()), default=0.0
        )
        return Sample(seconds, max(0.0, min(longest_s, seconds - usual_s)))

    def close(self) -> None:
        """Close the part."""
        self._part.close()


class Stopwatch:
    """Laps of this thread, each with what it waited for a processor in it."""

    def __init__(self) -> None:
        self._waited_s, self._at_s = _own_s(), time.perf_counter()

    def lap(self) -> Sample:
        """Since the last one; the next one begins."""
        at_s, waited_s = time.perf_counter(), _own_s()
        seconds = at_s - self._at_s
        lap = Sample(seconds, max(0.0, min(waited_s - self._waited_s, _MOST * seconds)))
        self._waited_s, self._at_s = waited_s, time.perf_counter()
        return lap


@contextmanager
def own_clock() -> Iterator[Callable[[], float]]:
    """A clock in seconds that stands still while this thread waits for a processor.

    Like `stats.own_s` that is so on one processor only, where what this thread waits is lost. On
    several, and where nobody counts waits, it is `time.perf_counter`. A reading takes a microsecond
    or two.
    """
    with ExitStack() as files:
        clock: Callable[[], float] = time.perf_counter
        with suppress(OSError):  # nobody counts
            if len(os.sched_getaffinity(0)) == 1:
                file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
                files.callback(os.close, file)
                clock = partial(_less_waits_s, file)
        yield clock


def _less_waits_s(file: int) -> float:
    return time.perf_counter() - int(os.pread(file, _LONGEST, 0).split()[_WAITED]) * 1e-9


def opened(build: Sample, first: Sample) -> Opening:
    """What opening a session took: to make it, and its first inference."""
    return Opening(
        build_s=build.seconds,
        first_s=first.seconds,
        waited_s=build.waited_s + first.waited_s,
    )


def _own_s() -> float:
    """Seconds that this thread has waited for a processor so far; 0 where nobody counts them."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/thread-self/schedstat").read_bytes().split()[_WAITED]) * 1e-9
    return 0.0


def _so_far_s() -> dict[str, float]:
    """Seconds that each thread of this process has waited; empty where the kernel does not say."""
    found: dict[str, float] = {}
    for task in _TASKS.iterdir() if _TASKS.is_dir() else ():
        with suppress(OSError, ValueError, IndexError):  # it has ended, or nobody counts
            found[task.name] = int((task / "schedstat").read_bytes().split()[_WAITED]) * 1e-9
    return found


def _read_s(files: Mapping[str, int]) -> dict[str, float]:
    """The same from files that are open."""
    found: dict[str, float] = {}
    for name, file in files.items():
        with suppress(OSError, ValueError, IndexError):
            found[name] = int(os.pread(file, _LONGEST, 0).split()[_WAITED]) * 1e-9
    return found
