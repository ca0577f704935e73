"""Waiting until other programs leave a machine alone: before a process starts, and not for ever.

What a neighbour on our own processor takes is counted and taken off (`profiler.waits`). One on
another processor takes of the memory and of the shared cache, and nobody counts that: all there is
to do is to wait for its end. Short bursts are not worth it; whole builds are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from nnprof.profiler.devices import linux, snapshot
from nnprof.profiler.work import hosts
from nnprof.types import LOCAL

_LOG = logging.getLogger(__name__)
_WINDOW_S = 0.5  # looked at: /proc/stat counts hundredths of a second
_QUIET = 0.2  # processors' worth of work by others that is none: what an idle system itself does


class Waited(NamedTuple):
    """Seconds until others had ended, or nobody waited longer; processors that they then kept busy.

    `others` is None where the host does not tell.
    """

    seconds: float
    others: float | None


def wait(host: str, limit_s: float, pause: Callable[[float], None] = time.sleep) -> Waited:
    """Wait until others use less than a fifth of one processor, at most `limit_s` seconds.

    Args:
        host: of a target; its programs are looked at, and none of ours runs there meanwhile.
        limit_s: after which it goes on all the same; 0: nobody looks.
        pause: what passes the time.
    """
    waited_s = 0.0
    if not limit_s:
        return Waited(waited_s, None)
    before_s = _worked_s(host)
    while True:
        pause(_WINDOW_S)
        waited_s += _WINDOW_S
        now_s = _worked_s(host)
        if before_s is None or now_s is None:
            return Waited(0.0, None)
        others = (now_s - before_s) / _WINDOW_S
        if others < _QUIET:
            return Waited(waited_s - _WINDOW_S, others)
        if waited_s >= limit_s:
            return Waited(waited_s, others)
        _LOG.info(
            "waiting for quiet: others keep %.1f processors busy, %.0f of at most %.0f s",
            *(others, waited_s, limit_s),
        )
        before_s = now_s


def _worked_s(host: str) -> float | None:
    """Seconds that the processors of a host have worked, together, since it started."""
    shell = None if host == LOCAL else hosts.shell(host)
    return linux.worked_s(snapshot.of(shell, ("/proc/stat",)))
