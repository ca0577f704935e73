"""What the doctor reads of a place: two snapshots with a pause between, and a few questions.

The same files and programs are read here and on a board over SSH. This is the room's one effect.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from nnprof import registry
from nnprof.errors import CellError, UsageError
from nnprof.profiler.devices import busy, confined, heat, jetson, linux, memory, pi, snapshot
from nnprof.profiler.devices.snapshot import Closed
from nnprof.profiler.devices.topology import CPU
from nnprof.profiler.place import boards, claims, installed
from nnprof.profiler.place.installed import Installed
from nnprof.profiler.ports import Shell
from nnprof.profiler.run import begin
from nnprof.profiler.work import hosts
from nnprof.types import LOCAL, Target

WINDOW_S = 2.0  # /proc/stat counts hundredths of a second; 1 % of two processors are 4 of them
_BUSIEST = 3
_LIMIT_S = 30.0
DATE = "date +%s"
GPU_PROGRAMS = "nvidia-smi --query-compute-apps=pid,process_name --format=csv,noheader"
GPUS = "/proc/driver/nvidia/gpus/*/information"
_FIRST = tuple(
    dict.fromkeys(
        (
            *(*linux.FACTS, *linux.READING, *jetson.FACTS, *pi.FACTS),
            *(*heat.STATE, *memory.STATE, *confined.STATE, *busy.STATE, GPUS),
        )
    )
)
_COMMANDS = tuple(dict.fromkeys((*jetson.COMMANDS, *pi.COMMANDS, GPU_PROGRAMS, DATE)))
_COUNTERS = (
    "/sys/class/hwmon/hwmon*/oc[0-9]_event_cnt",
    f"{CPU}/cpu[0-9]*/thermal_throttle/*_throttle_count",
)
_SENSORS = (
    "/sys/class/thermal/thermal_zone*/temp",
    "/sys/class/hwmon/hwmon*/temp*_input",
    "/sys/class/hwmon/hwmon*/in[1-3]_input",
    "/sys/class/hwmon/hwmon*/curr[1-3]_input",
    "/sys/class/hwmon/hwmon*/power1_input",
)
_GPU_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvmap", "/dev/nvhost-gpu")


class Disk(msgspec.Struct, frozen=True):
    """A folder, and the bytes that are left and that there are on its file system."""

    folder: str
    free: int
    total: int
    here: bool = True


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A place, as it was read.

    Attributes:
        target: what would be measured with, and where.
        driven: whether the runtime is a program, which needs no Python there.
        before, after: snapshots with the pause between; `after` has what moves, only.
        facts: of the device, by `before`.
        now_s: our time when the place was asked for its own (`DATE`).
        refused: why the runtime cannot be used there, and the remedy; None where it can.
        installed: the Python there; a sentence where it did not tell, None where none is needed.
        ours, beside: who measures on the processors that we would take, and on others.
        installed_here: for our own Python, to hold a board's against.
        way: what a person types to get there; empty for this machine.
    """

    target: Target
    driven: bool = False
    before: dict[str, str]
    after: dict[str, str]
    facts: dict[str, Any]
    gpu: dict[str, Any] = {}
    alerts: tuple[str, ...] = ()
    now_s: float
    refused: tuple[str, str] | None = None
    installed: Installed | str | None = None
    installed_here: Installed | str | None = None
    disks: tuple[Disk, ...] = ()
    closed_sensors: tuple[Closed, ...] = ()
    closed_gpu: tuple[Closed, ...] = ()
    ours: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    way: str = ""

    @property
    def far(self) -> bool:
        """Whether it is another machine."""
        return self.target.host != LOCAL


def look(target: Target, pause: Callable[[float], None] = time.sleep) -> Seen:
    """Read a place; takes a few seconds, and computes nothing there meanwhile.

    Args:
        target: where, and with which runtime and how many threads.
        pause: what passes the time between the snapshots.

    Raises:
        UsageError: the board cannot be reached.
    """
    far = target.host != LOCAL
    shell = hosts.shell(target.host)
    before, after, now_s = _twice(shell if far else None, pause)
    ours, beside = ((), ()) if far else claims.holders(target)
    backend = registry.find("backend", target.backend)
    driven = bool(getattr(backend, "through_shell", False))
    gpu, alerts = _device(target)
    return Seen(
        target=target,
        driven=driven,
        before=before,
        after=after,
        facts=_facts(before),
        gpu=gpu,
        alerts=(*jetson.alerts(before), *alerts),
        now_s=now_s,
        refused=_refused(target),
        installed=None if driven else installed.ask(shell, _python(target)),
        installed_here=installed.ask(hosts.shell(LOCAL), sys.executable) if far else None,
        disks=_disks(shell, far=far),
        closed_sensors=tuple(snapshot.closed(shell, _SENSORS)),
        closed_gpu=tuple(snapshot.closed(shell, _GPU_FILES, to_use=True)),
        ours=ours,
        beside=beside,
        way=boards.find(target.host).by_hand if far else "",
    )


def _twice(
    shell: Shell | None, pause: Callable[[float], None]
) -> tuple[dict[str, str], dict[str, str], float]:
    """Two snapshots, and our time when the first had ended."""
    before = snapshot.of(shell, _FIRST, _COMMANDS)
    now_s = time.time()
    before |= snapshot.of(shell, confined.group_files(before))
    # Last, and first again: the window holds none of our own work but for the way there.
    before |= snapshot.of(shell, busy.WINDOW)
    pause(WINDOW_S)
    after = snapshot.of(shell, (*busy.WINDOW, *_COUNTERS, *confined.group_files(before)))
    top = busy.programs(before, after)[:_BUSIEST]
    return before, after | snapshot.of(shell, [f"/proc/{one.pid}/status" for one in top]), now_s


def _facts(texts: dict[str, str]) -> dict[str, Any]:
    on_pi = pi.facts if pi.is_pi(texts) else linux.facts
    read = jetson.facts if jetson.is_jetson(texts) else on_pi
    return read(texts, confined.allowed(texts))


def _device(target: Target) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a device that is no file system tells of itself here: a GPU by its driver."""
    device = registry.find("device", target.device)
    if target.host != LOCAL or target.device in (Target().device, *boards.BOARDS):
        return {}, ()  # all that is in files has been read
    try:
        return device.facts(), device.read((), target.on).alerts
    except UsageError:  # told by the runtime's own refusal
        return {}, ()


def _refused(target: Target) -> tuple[str, str] | None:
    try:
        begin.probe(target)
    except (UsageError, CellError) as error:
        return error.reason, error.remedy
    return None


def _python(target: Target) -> str:
    return sys.executable if target.host == LOCAL else boards.find(target.host).python


def _disks(shell: Shell, *, far: bool) -> tuple[Disk, ...]:
    """Where Runs go, here, and the cache of the place."""
    places = ((hosts.shell(LOCAL), str(Path.cwd()), True), (shell, shell.path("."), not far))
    found = [_disk(*place) for place in places]
    return tuple(disk for disk in found if disk is not None)


def _disk(shell: Shell, folder: str, here: bool) -> Disk | None:
    lines = shell.run(["df", "-Pk", folder], timeout_s=_LIMIT_S).stdout.decode().splitlines()
    words = lines[-1].split() if len(lines) > 1 else []
    numbers = [int(word) * 1024 for word in words[1:4] if word.isdecimal()]
    name = folder.removesuffix("/.")
    return Disk(name, numbers[2], numbers[0], here) if len(numbers) == 3 else None
