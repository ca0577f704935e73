"""The Python of a board that nnprof can be installed for: for which wheels, with what room.

Only `sh` and the board's own Pythons are asked; nothing is written there.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nnprof.errors import Unavailable
from nnprof.profiler.ports import Shell

OLDEST = (3, 10)
_LIMIT_S = 120.0
# Each Python that a login finds, once, whatever names lead to it; python3 itself first.
_FIND = """
all=$PATH:/usr/local/bin
seen=
IFS=:
for name in python3 'python3.[0-9]' 'python3.[0-9][0-9]'; do
  for folder in $all; do
    for one in "$folder"/$name; do
      real=$(readlink -f -- "$one") || continue
      [ -x "$real" ] || continue
      case "$seen" in *":$real:"*) continue ;; esac
      seen="$seen:$real:"
      "$one" -c "$1" "$one" 2>/dev/null </dev/null
    done
  done
done
true
"""
# For any Python 3. `markers` are those of PEP 508, which decide what a package needs there.
_TELL = """
import json, os, platform, struct, sys
try:
    import venv
    has_venv = True
except ImportError:
    has_venv = False
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, OSError, ValueError):
    libc = ""
room = os.statvfs(os.path.expanduser("~"))
full = platform.python_version()
print(json.dumps({"executable": sys.argv[1], "venv": has_venv, "libc": libc,
    "bits": 8 * struct.calcsize("P"), "free_bytes": room.f_bavail * room.f_frsize, "markers": {
    "implementation_name": sys.implementation.name,
    "implementation_version": "%d.%d.%d" % sys.implementation.version[:3],
    "os_name": os.name, "platform_machine": platform.machine(),
    "platform_release": platform.release(), "platform_system": platform.system(),
    "platform_version": platform.version(), "python_full_version": full,
    "platform_python_implementation": platform.python_implementation(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "sys_platform": sys.platform}}))
"""
# What wheels call a 32-bit Python on a 64-bit kernel.
_NARROW = {"aarch64": "armv7l", "x86_64": "i686"}
_OLDEST_MANYLINUX = 17  # glibc 2.17: manylinux2014, below which nobody builds any more


class There(msgspec.Struct, frozen=True, kw_only=True):
    """A Python of a board.

    Attributes:
        executable: its path there.
        markers: its environment as PEP 508 has it, such as `python_version`.
        libc: such as "glibc 2.35"; empty where it is another library.
        bits: 32 or 64.
        venv: whether it has that module.
        free_bytes: room in the home folder there.
    """

    executable: str
    markers: dict[str, str]
    libc: str
    bits: int
    venv: bool
    free_bytes: int

    @property
    def version(self) -> str:
        """In full, such as "3.10.12"."""
        return self.markers["python_full_version"]

    @property
    def machine(self) -> str:
        """What wheels call it, such as "aarch64"."""
        name = self.markers["platform_machine"]
        return _NARROW.get(name, name) if self.bits == 32 else name

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platforms of wheels that run there, the newest first (PEP 600); empty without glibc."""
        name, _, number = self.libc.partition(" ")
        major, _, minor = number.partition(".")
        if name != "glibc" or major != "2" or not minor.isdecimal():
            return ()
        numbers = range(int(minor), _OLDEST_MANYLINUX - 1, -1)
        found = (f"manylinux_2_{number}_{self.machine}" for number in numbers)
        return (*found, f"manylinux2014_{self.machine}", f"linux_{self.machine}")

    @property
    def words(self) -> str:
        """For people."""
        libc = self.libc or "no glibc"
        return f"Python {self.version} on {self.machine} with {libc}"


def look(shell: Shell, board: str) -> There:
    """The Python of a board that will do.

    Raises:
        Unavailable: it has none, or none that will do.
    """
    done = shell.run(["sh", "-c", _FIND, "sh", _TELL], timeout_s=_LIMIT_S)
    lines = done.stdout.decode(errors="replace").splitlines()
    return chosen(
        [msgspec.json.decode(line, type=There) for line in lines if line[:1] == "{"], board
    )


def chosen(found: Iterable[There], board: str) -> There:
    """The first that is new enough, and has what an environment needs. Pure.

    Raises:
        Unavailable: there is none.
    """
    cpython = [one for one in found if one.markers["implementation_name"] == "cpython"]
    new = [one for one in cpython if _numbers(one.version) >= OLDEST]
    ready = [one for one in new if one.venv]
    if ready and not ready[0].platforms:
        raise Unavailable(
            f"{board} has {ready[0].words}, and wheels are built for glibc.",
            "Install nnprof there by hand; docs/remote.md says how.",
        )
    if ready:
        return ready[0]
    if new:
        raise Unavailable(
            f"{new[0].executable} on {board} has no module venv.",
            "Install it there: sudo apt install python3-venv",
        )
    has = ", ".join(one.version for one in cpython)
    raise Unavailable(
        f"{board} has {f'Python {has} only' if has else 'no Python'}, and nnprof needs "
        f"{'.'.join(map(str, OLDEST))} or newer.",
        "Install one there, such as: sudo apt install python3.10-venv; or use a runtime that is a "
        "program of the board, which needs no Python there (docs/remote.md).",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
