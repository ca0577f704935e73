"""Which processors a worker, and each of several streams, is pinned to."""

from __future__ import annotations

import os
from contextlib import suppress

from nnprof.errors import Unavailable
from nnprof.profiler.ports import Backend, Device

Sets = tuple[tuple[int, ...], ...]


def pin(device: Device, backend: Backend, threads: int) -> tuple[int, ...]:
    """Keep this process on the processors of a worker with so many threads; which they are."""
    processors = device.processors(threads) if getattr(backend, "computes", True) else ()
    if processors:
        os.sched_setaffinity(0, processors)
    return processors


def spread(device: Device, threads: int, streams: int) -> Sets:
    """A set of `threads` processors for each stream; where there are too few, streams take turns.

    Raises:
        Unavailable: there are too few for one.
    """
    first = device.processors(threads)
    if not first:
        return ((),) * streams
    for count in range(streams, 1, -1):
        with suppress(Unavailable):
            every = device.processors(count * threads)
            own = [every[at : at + threads] for at in range(0, count * threads, threads)]
            return tuple(own[index % count] for index in range(streams))
    return (first,) * streams
