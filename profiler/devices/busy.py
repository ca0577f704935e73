"""Who works on a machine, from two snapshots of /proc with a pause between them.

Pure functions over snapshots (`nnprof.profiler.devices.snapshot`). Formats: proc_stat(5),
proc_pid_stat(5), proc_locks(5) and the session files of systemd-logind.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import msgspec

from nnprof.profiler.devices import linux
from nnprof.profiler.devices.linux import named, number
from nnprof.profiler.devices.snapshot import Texts

WINDOW = ("/proc/stat", "/proc/[0-9]*/stat", "/proc/vmstat")  # read before and after the pause
STATE = (
    "/etc/passwd",
    "/proc/self/status",
    "/proc/locks",
    "/tmp/nnprof-*.lock",  # noqa: S108  see nnprof.profiler.place.claims
    "/run/systemd/sessions/[0-9c]*",
)
_TIME = slice(11, 13)  # user and system ticks, counted behind the name


class Program(NamedTuple):
    """A process, and how many processors it kept busy."""

    pid: int
    name: str
    processors: float


def elapsed_s(before: Texts, after: Texts) -> float | None:
    """Seconds between two snapshots by the kernel's own count; None where it counts nothing."""
    first, last = linux.passed_s(before), linux.passed_s(after)
    count = sum(line.startswith("cpu") for line in after.get("/proc/stat", "").split("\n")) - 1
    return (last - first) / count if first and last and count > 0 and last > first else None


def busy(before: Texts, after: Texts, processor: int | None = None) -> float | None:
    """Processors' worth of work between two snapshots: of one, or of all together."""
    first, last = linux.worked_s(before, processor), linux.worked_s(after, processor)
    passed_s = elapsed_s(before, after)
    return None if first is None or last is None or not passed_s else (last - first) / passed_s


def stolen(before: Texts, after: Texts) -> float | None:
    """The share of all processors' time that the hypervisor took between two snapshots."""
    first, last = linux.stolen_s(before), linux.stolen_s(after)
    start, end = linux.passed_s(before), linux.passed_s(after)
    if first is None or last is None or not start or not end or end <= start:
        return None
    return (last - first) / (end - start)


def programs(before: Texts, after: Texts) -> list[Program]:
    """The processes that worked between two snapshots, the busiest first."""
    passed_s = elapsed_s(before, after)
    if not passed_s:
        return []
    old, new = _worked_s(before), _worked_s(after)
    found = [
        Program(pid, name, (now_s - old.get(pid, ("", 0.0))[1]) / passed_s)
        for pid, (name, now_s) in new.items()
    ]
    return sorted((one for one in found if one.processors > 0), key=lambda one: -one.processors)


def _worked_s(texts: Texts) -> dict[int, tuple[str, float]]:
    """Name and seconds on a processor of each process, by its number."""
    found = {}
    for path, text in named(texts, "/proc/[0-9]*/stat").items():
        pid, name = path.split("/")[2], text.partition("(")[2].rpartition(")")[0]
        ticks = [number(word) for word in text.rpartition(")")[2].split()[_TIME]]
        known = [one for one in ticks if one is not None]
        if pid.isdecimal() and name and len(known) > 1:
            found[int(pid)] = name, sum(known) / linux.TICKS_PER_S
    return found


def owner(texts: Texts, pid: int) -> str | None:
    """The account that a process belongs to, from its status and /etc/passwd."""
    return _account(texts, _uid(texts, f"/proc/{pid}/status"))


def others_logged_in(texts: Texts) -> list[str]:
    """Accounts other than ours with a session of systemd-logind."""
    own = _uid(texts, "/proc/self/status")
    if own is None:
        return []
    found = set()
    for text in named(texts, "/run/systemd/sessions/*").values():
        fields = dict(line.partition("=")[::2] for line in text.split("\n"))
        if fields.get("CLASS", "user") == "user" and fields.get("UID", own) != own:
            found.add(fields.get("USER") or f"user {fields['UID']}")
    return sorted(found)


def lock_holders(texts: Texts) -> list[int]:
    """Processes that hold a processor's lock of nnprof there, by /proc/locks."""
    holding = {
        words[4]
        for line in texts.get("/proc/locks", "").split("\n")
        if len(words := line.split()) > 4 and words[1] == "FLOCK"
    }
    found = set()
    for text in named(texts, "/tmp/nnprof-*.lock").values():  # noqa: S108
        with suppress(msgspec.MsgspecError, AttributeError):
            pid = msgspec.json.decode(text.encode()).get("pid")
            if str(pid) in holding:
                found.add(int(pid))
    return sorted(found)


def _uid(texts: Texts, path: str) -> str | None:
    lines = texts.get(path, "").split("\n")
    words = next((line.split() for line in lines if line.startswith("Uid:")), [])
    return words[1] if len(words) > 1 else None


def _account(texts: Texts, uid: str | None) -> str | None:
    rows = (line.split(":") for line in texts.get("/etc/passwd", "").split("\n"))
    known = {row[2]: row[0] for row in rows if len(row) > 2}
    return None if uid is None else known.get(uid, f"user {uid}")
