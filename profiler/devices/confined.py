"""What of a machine a process may use: its processors, its share of them by cgroup, isolated ones.

Pure functions over snapshots. Formats: the kernel's documentation of cgroups (v1 and v2),
proc_pid_status(5).
"""

from __future__ import annotations

import re

from nnprof.profiler.devices import topology
from nnprof.profiler.devices.linux import named, number
from nnprof.profiler.devices.snapshot import Texts
from nnprof.profiler.devices.topology import CPU

STATE = ("/proc/self/status", "/proc/self/cgroup", f"{CPU}/online", f"{CPU}/isolated")
_ROOT = "/sys/fs/cgroup"
_PLAIN = re.compile(r"[^A-Za-z0-9/._@:-]")  # any other letter of a group's name is matched by ?
_DEEP = 16


def group_files(texts: Texts) -> tuple[str, ...]:
    """The files that say what our cgroup and those around it may use, for a second look."""
    lines = [line.split(":", 2) for line in texts.get("/proc/self/cgroup", "").split("\n")]
    found = []
    for line in lines:
        if len(line) == 3 and line[1] == "":
            found += [f"{_ROOT}{one}/cpu.{name}" for one in _around(line[2]) for name in _NEW]
        elif len(line) == 3 and "cpu" in line[1].split(","):
            found += [f"{_ROOT}/cpu{one}/cpu.{name}" for one in _around(line[2]) for name in _OLD]
    return tuple(found)


_NEW = ("max", "stat")
_OLD = ("cfs_quota_us", "cfs_period_us", "stat")


def _around(path: str) -> list[str]:
    """A group and all around it; the outermost alone where the path leads out of what we see."""
    parts = [part for part in _PLAIN.sub("?", path).split("/") if part]
    if ".." in parts:
        return [""]
    return ["".join(f"/{part}" for part in parts[:count]) for count in range(len(parts) + 1)][
        :_DEEP
    ]


def quota(texts: Texts) -> float | None:
    """How many processors' worth of time the tightest cgroup lets us have; None: no limit."""
    found = [_quota(*text.split()[:2]) for text in named(texts, f"{_ROOT}/*cpu.max").values()]
    for path, text in named(texts, f"{_ROOT}/*cpu.cfs_quota_us").items():
        found.append(_quota(text, texts.get(path.replace("quota", "period"), "")))
    return min((one for one in found if one is not None), default=None)


def _quota(quota_us: str = "", period_us: str = "") -> float | None:
    most, period = number(quota_us), number(period_us)
    return most / period if most and period and most > 0 < period else None


def throttled(before: Texts, after: Texts) -> int:
    """How often a cgroup's quota stopped its programs between two snapshots."""
    first, last = _throttled(before), _throttled(after)
    return sum(max(0, last[path] - first[path]) for path in last if path in first)


def _throttled(texts: Texts) -> dict[str, int]:
    found = {}
    for path, text in named(texts, f"{_ROOT}/*cpu.stat").items():
        count = re.search(r"^nr_throttled (\d+)$", text, re.MULTILINE)
        if count:
            found[path] = int(count[1])
    return found


def allowed(texts: Texts) -> tuple[int, ...]:
    """The processors that we may run on; () where it is not told."""
    found = re.search(r"^Cpus_allowed_list:\s*(\S+)$", texts.get("/proc/self/status", ""), re.M)
    return topology.numbers(found[1]) if found else ()


def online(texts: Texts) -> tuple[int, ...]:
    """The processors that the machine has; () where it is not told."""
    return topology.numbers(texts.get(f"{CPU}/online", ""))


def isolated(texts: Texts) -> tuple[int, ...]:
    """The processors that the kernel's scheduler leaves alone (`isolcpus`)."""
    return topology.numbers(texts.get(f"{CPU}/isolated", ""))
