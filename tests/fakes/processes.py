"""Processes that a test starts end with it, also when it fails."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil

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
