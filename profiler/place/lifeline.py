"""Processes of ours that end when the one that started them ends, whenever that is.

On Linux the kernel is told so before anything else is imported; a parent that had died by then is
noticed by its pid. This file imports nothing slow: until `begin` has run, a child could outlive us.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from importlib import import_module

_PR_SET_PDEATHSIG = 1  # prctl(2)
_START = "from nnprof.profiler.place.lifeline import begin; begin()"
_ORPHANED = 70  # nobody reads it


def command(module: str) -> tuple[str, ...]:
    """What starts `main` of a module in a fresh Python that ends with this process."""
    return (sys.executable, "-c", _START, str(os.getpid()), module)


def begin() -> None:
    """The first thing that such a process does: see `command`."""
    end_with(int(sys.argv[1]))
    import_module(sys.argv[2]).main()


def end_with(parent: int) -> None:
    """Die when the process `parent`, which started this one, dies, or if it is dead already.

    An orphan would disturb whatever is measured next. Where the kernel cannot do it (not Linux),
    only a parent that is dead already is noticed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel knew; the signal will not come
        os._exit(_ORPHANED)
