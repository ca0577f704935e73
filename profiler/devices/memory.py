"""How much memory a machine has left, and whether it swaps, from /proc.

Pure functions over snapshots. Formats: proc_meminfo(5), proc_swaps(5), proc_vmstat(5).
"""

from __future__ import annotations

from typing import NamedTuple

from nnprof.profiler.devices.linux import number
from nnprof.profiler.devices.snapshot import Texts

STATE = ("/proc/meminfo", "/proc/swaps")
_MOVED = ("pswpin", "pswpout")


class Swap(NamedTuple):
    """A place to swap to: its name, and the bytes that lie there; zram is compressed memory."""

    name: str
    used_bytes: int

    @property
    def is_zram(self) -> bool:
        """Whether a processor has to compress what goes there."""
        return "zram" in self.name


def available(texts: Texts) -> tuple[int, int] | None:
    """Bytes that programs can have, of how many; None where it is not told."""
    found = {}
    for line in texts.get("/proc/meminfo", "").split("\n"):
        name, _, value = line.partition(":")
        kilobytes = number(value.strip().split(" ")[0])
        if kilobytes is not None:
            found[name] = int(kilobytes) * 1024
    if "MemAvailable" not in found or not found.get("MemTotal"):
        return None
    return found["MemAvailable"], found["MemTotal"]


def swaps(texts: Texts) -> list[Swap] | None:
    """Each place to swap to, the fullest first; None where it is not told."""
    text = texts.get("/proc/swaps")
    if text is None:
        return None
    rows = [line.split() for line in text.split("\n")[1:]]
    found = [
        Swap(row[0], int(row[3]) * 1024) for row in rows if len(row) > 3 and row[3].isdecimal()
    ]
    return sorted(found, key=lambda one: -one.used_bytes)


def pages_swapped(before: Texts, after: Texts) -> int | None:
    """Pages that moved to and from swap between two snapshots; None where it is not told."""
    first, last = _moved(before), _moved(after)
    return None if first is None or last is None else last - first


def _moved(texts: Texts) -> int | None:
    rows = (line.split() for line in texts.get("/proc/vmstat", "").split("\n"))
    found = [int(row[1]) for row in rows if len(row) == 2 and row[0] in _MOVED and row[1].isdigit()]
    return sum(found) if len(found) == len(_MOVED) else None
