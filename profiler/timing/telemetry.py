"""The device while it is measured, read by a process of its own that keeps off the worker's cores.

The worker tells it when to begin and when to end, and meets it nowhere in between: nothing of this
runs in a timed path. What telemetry costs is measured by `run.machine` and kept in `place.watcher`.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import IO, TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from nnprof import registry
from nnprof.profiler.place import lifeline
from nnprof.types import Reading, Target

if TYPE_CHECKING:  # numpy comes with it, and this process starts often
    from nnprof.profiler.ports import Device


class Sampler(msgspec.Struct, frozen=True, kw_only=True):
    """The sampler's job: what to read, and processors to run on (`home`)."""

    device: str
    on: str
    processors: tuple[int, ...]
    home: tuple[int, ...]

    def read(self, device: Device) -> Reading:
        """The device now."""
        return device.read(self.processors, self.on)


class Watch:
    """Readings between `begin` and `end`; none, and `why`, where nobody could make them."""

    def __init__(
        self, process: subprocess.Popen[bytes] | None, why: str = "", hello: bytes = b""
    ) -> None:
        self._process, self.why = process, why
        self._ready = not hello
        self._tell(hello)

    def begin(self, interval_s: float) -> None:
        """From now on a reading each `interval_s` seconds."""
        if not self._ready:  # its start must not run beside what is timed
            self._ready = True
            self._answer()
        self._tell(f"{interval_s} {monotonic()}\n".encode())

    def end(self) -> tuple[Reading, ...]:
        """The readings since `begin`; `at_s` counts from it."""
        self._tell(b"\n")
        answer = self._answer()
        return msgspec.json.decode(answer, type=tuple[Reading, ...]) if answer else ()

    def _tell(self, line: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            except BrokenPipeError:
                self._lost()

    def _answer(self) -> bytes:
        if self._process is None or self._process.stdout is None:
            return b""
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            self._lost()
            return b""
        return line

    def _lost(self) -> None:
        self._process, self.why = None, "its process ended"


@contextmanager
def beside(target: Target, processors: tuple[int, ...], home: tuple[int, ...]) -> Iterator[Watch]:
    """A watch whose process is started now and ends with the context, or with this process.

    `processors` are those of the worker; `home` those that the watch may run on, none of them.
    """
    if not home:
        yield Watch(None, "no processor is left for it")
        return
    command = lifeline.command("nnprof.profiler.timing.telemetry")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            job = Sampler(device=target.device, on=target.on, processors=processors, home=home)
            yield Watch(process, hello=msgspec.json.encode(job) + b"\n")
        finally:
            process.kill()


def main() -> None:
    """The sampler: a job, then per line an interval and a start, then an empty line to stop."""
    # Without a buffer: a line that waits in one would not wake `select`.
    lines = os.fdopen(0, "rb", buffering=0, closefd=False)
    job = msgspec.json.decode(lines.readline(), type=Sampler)
    os.sched_setaffinity(0, job.home)
    device: Device = registry.find("device", job.device)
    job.read(device)  # what is slow at first is slow now
    _say(b"ready\n")
    while words := lines.readline().split():
        interval_s, start_s = map(float, words)
        readings = list(_until_told(lines, device, job, interval_s, start_s))
        if not lines.readline():  # the worker is gone
            return
        _say(msgspec.json.encode(readings) + b"\n")


def _until_told(
    lines: IO[bytes], device: Device, job: Sampler, interval_s: float, start_s: float
) -> Iterator[Reading]:
    """A reading each interval, until a line comes."""
    due_s = monotonic()
    while True:
        reading = job.read(device)
        at_s = monotonic() - start_s
        # Preemptions are those of this process, and reasons are told before and after.
        yield replace(reading, at_s=at_s, preemptions=None, unknown={})
        due_s = max(due_s + interval_s, monotonic())
        if select.select([lines], [], [], max(0.0, due_s - monotonic()))[0]:
            return


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
