"""Processes that a test starts end with it, also when it fails."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

LEAVING_S = 10.0  # for what is on its way out when its test is over
HANG_S = 120.0  # a test waits no longer for something that is bound to happen; no claim


@contextlib.contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """The process; at the end it has ended with all that it started, and its pipes are closed.

    It is given no time to end by itself after an error; else it may take as long as a hang would.
    """
    try:
        yield process
        process.wait(HANG_S)
    finally:
        kill(process.pid)
        with process:  # closes its pipes and waits
            pass


@contextlib.contextmanager
def killed(process: subprocess.Popen[Any]) -> Iterator[None]:
    """At the end the process is killed (-9), and nothing else is done to what it started."""
    try:
        yield
    finally:
        process.kill()


def kill(pid: int) -> None:
    """End a process and all its descendants; nothing where it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for one in (*root.children(recursive=True), root):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def children() -> set[int]:
    """The children of this process that have not ended."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        # A thread may end between the two looks.
        with contextlib.suppress(OSError):
            found.update(map(int, (task / "children").read_text().split()))
    return {pid for pid in found if not _ended(pid)}


def end_new(before: set[int]) -> list[str]:
    """End the children that there were not `before`; the commands of those that did not themselves.

    Helpers of libraries, which serve for as long as this process lives, are left alone.
    """
    deadline = time.monotonic() + LEAVING_S
    while (new := children() - before) and time.monotonic() < deadline:
        if all(map(_serves, new)):
            return []
        time.sleep(0.02)
    left = []
    for pid in new:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.append(" ".join(psutil.Process(pid).cmdline()))
            kill(pid)
    if left:
        gc.collect()  # so that its pipes complain now, and not in another test
    return left


def _ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _serves(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        words = " ".join(psutil.Process(pid).cmdline())
        return any(name in words for name in ("resource_tracker", "torch/_inductor", "forkserver"))
    return False


def until(happened: Callable[[], Any], process: subprocess.Popen[Any] | None = None) -> Any:
    """What `happened` says once it says something; an error if that can no longer come.

    That is when the process has ended, or after the time of a hang.
    """
    deadline = time.monotonic() + HANG_S
    while not (said := happened()):
        assert process is None or process.poll() is None, "the process has ended"
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return said
