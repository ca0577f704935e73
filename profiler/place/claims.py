"""Locks on what is measured on: two nnprofs on one processor would time each other.

There is one lock for each processor, and one for a device such as a GPU, in a folder that all users
of this machine share. The threads of one core are locked together. Another nnprof on other
processors goes on and is named in the Run: caches, memory and the clocks' budget are shared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nnprof import locks, registry
from nnprof.profiler.devices import linux
from nnprof.profiler.place import spread
from nnprof.types import LOCAL, Target

FOLDER_VARIABLE = "NNPROF_LOCKS"
_PREFIX = "nnprof-processor-"


def folder() -> Path:
    """Where the locks of this machine are: /tmp, which all its users share, or NNPROF_LOCKS."""
    return Path(os.environ.get(FOLDER_VARIABLE) or "/tmp")  # noqa: S108  see nnprof.locks


@contextmanager
def held(target: Target, wait: Callable[[str], None] | None = None) -> Iterator[tuple[str, ...]]:
    """Lock the processors of a target here; yields who measures on others at this moment.

    A board has a lock of its own (`ssh`). A backend that computes nothing needs no lock.

    Raises:
        Busy: another nnprof measures there, and `wait` is None (see `nnprof.locks.held`).
        Unavailable: the target has fewer processors.
    """
    places = tuple(_places(target))
    with ExitStack() as stack:
        for name, words in places:
            path = folder() / f"{name}.lock"
            what = f"{words} of this machine is measured on"
            stack.enter_context(locks.held(path, what, wait=wait, shared=True))
        yield _others({f"{name}.lock" for name, _ in places}) if places else ()


def holders(target: Target) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who measures on the processors of a target here, and who on others; nothing is locked."""
    own = {f"{name}.lock" for name, _ in _places(target)}
    found = [locks.is_held(folder() / name) for name in sorted(own)]
    on_ours = dict.fromkeys(locks.said(one) for one in found if one is not None)
    return tuple(on_ours), tuple(one for one in _others(own) if one not in on_ours)


def _places(target: Target) -> Iterator[tuple[str, str]]:
    """Names of locks, and what each keeps, in the one order in which all take them."""
    backend = registry.find("backend", target.backend)
    if target.host != LOCAL or not getattr(backend, "computes", True):
        return
    device = registry.find("device", target.device)
    # Of fewer streams, too: a Run measures with one, with two, and so on.
    processors = {
        one
        for streams in range(1, target.streams + 1)
        for own in spread.spread(device, target.threads, streams)
        for one in own
    }
    for processor in sorted({*processors, *linux.siblings(tuple(processors))}):
        yield f"{_PREFIX}{processor}", f"Processor {processor}"
    if target.on != Target().on:  # more than its processors
        yield f"nnprof-device-{target.device}", f"The device {target.device}"


def _others(own: set[str]) -> tuple[str, ...]:
    """Who measures on other processors of this machine at this moment."""
    found = []
    for path in sorted(folder().glob(f"{_PREFIX}*.lock")):
        holder = None if path.name in own else locks.is_held(path)
        if holder is not None:
            found.append(locks.said(holder))
    return tuple(dict.fromkeys(found))
