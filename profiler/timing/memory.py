"""What a worker takes: memory as the kernel tells it, and the time before its second inference.

The peak is the kernel's (VmHWM of proc_pid_status(5)): no sample of ours can miss it. It is set
back just before the runtime is imported, where the kernel lets us (`clear_refs` of proc_pid(5)), so
that what we did until then, such as hashing the model's file, is not in it.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import psutil
from msgspec.structs import replace

from nnprof.profiler import waits
from nnprof.profiler.place import shells
from nnprof.profiler.ports import Backend, Device, Opening, Session
from nnprof.types import Loading, Memory, Target

_SET_BACK = "5"  # written to clear_refs: the peak becomes what is resident now
_SIZES = ("before_bytes", "imported_bytes", "loaded_bytes", "peak_load_bytes", "peak_bytes")
_NO_PEAK = "the kernel of this machine tells no peak"
_NO_ARENA = "the runtime tells nothing of its allocator"
_NO_DEVICE = "the device has no memory of its own"
NOT_ASKED = "the first process of a cell is asked, and what it says is the same in each"


class Begun(NamedTuple):
    """A worker with its runtime imported and no model loaded.

    Attributes:
        elsewhere: why the runtime's memory is not that of this process; empty where it is.
        memory, loading: what is known so far.
    """

    elsewhere: str
    memory: Memory
    loading: Loading


def begin(target: Target, backend: Backend, device: Device) -> Begun:
    """Import the runtime, timed, and look before and after; the first thing that a worker does."""
    elsewhere = _elsewhere(target, backend)
    _give_back()
    free, whole = _free(device), not _set_back()
    before = resident()
    lap, why = _import(getattr(backend, "packages", ()))
    memory = Memory(
        before_bytes=before,
        imported_bytes=resident(),
        free_bytes=free,
        apart=hasattr(device, "memory"),
        whole=whole,
    )
    loading = Loading(unknown={"import_s": why})
    if lap:
        loading = Loading(import_s=lap.seconds, waited_s=lap.waited_s)
    if elsewhere:
        memory = Memory(unknown=dict.fromkeys((*_SIZES, "free_bytes"), elsewhere))
    return Begun(elsewhere, memory, loading)


def loaded(begun: Begun, session: Session) -> tuple[Memory, Loading]:
    """With the model loaded, just after that."""
    memory = begun.memory
    if not begun.elsewhere:
        memory = replace(memory, loaded_bytes=resident(), peak_load_bytes=peak())
    told: Opening = getattr(session, "opening", None) or Opening()
    unknown = dict(begun.loading.unknown)
    if told.build_s is None:
        unknown["build_s"] = "the backend does not time it"
    loading = replace(
        begun.loading,
        build_s=told.build_s,
        cached=told.cached,
        first_s=told.first_s,
        waited_s=(begun.loading.waited_s or 0.0) + told.waited_s,
        unknown=unknown,
    )
    return memory, loading


def used(
    begun: Begun, taken: tuple[Memory, Loading], session: Session, device: Device, first_s: float
) -> dict[str, Memory | Loading]:
    """The fields of `Measured`, at the end of the clean pass.

    `first_s` is its first inference, which counts where opening the session did none.
    """
    memory, loading = taken
    if loading.first_s is None:
        loading = replace(loading, first_s=first_s)
    on_device, why = _on_device(device)
    no_arena = NOT_ASKED if hasattr(session, "arena") else _NO_ARENA
    unknown = {**memory.unknown, "arena_bytes": no_arena, **({"device_bytes": why} if why else {})}
    if not begun.elsewhere:
        memory = replace(memory, peak_bytes=peak())
        if memory.peak_bytes is None:
            unknown |= {"peak_load_bytes": _NO_PEAK, "peak_bytes": _NO_PEAK}
    return {
        "memory": replace(memory, device_bytes=on_device, unknown=unknown),
        "loading": loading,
    }


def with_arena(memory: Memory | None, session: Session) -> dict[str, Memory]:
    """The fields of `Measured` with what the runtime's own allocator took.

    Raises:
        NnprofError: what the runtime has against it.
    """
    ask: Callable[[], int | None] | None = getattr(session, "arena", None)
    if memory is None or ask is None:
        return {}
    taken, unknown = ask(), dict(memory.unknown)
    unknown["arena_bytes"] = "the runtime does not say it here"
    if taken is not None:
        del unknown["arena_bytes"]
    return {"memory": replace(memory, arena_bytes=taken, unknown=unknown)}


def resident() -> int:
    """Bytes of this process that are in memory now, files that are mapped included."""
    return int(psutil.Process().memory_info().rss)


def peak() -> int | None:
    """The most that was ever resident, since the last `_set_back`; None where nobody tells."""
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        told = {name: rest for name, _, rest in (line.partition(":") for line in lines)}
        if "VmHWM" in told:
            return int(told["VmHWM"].split()[0]) * 1024
    return None


def _set_back() -> bool:
    """Let the peak begin anew; False where we may not."""
    try:
        Path("/proc/self/clear_refs").write_text(_SET_BACK, encoding="utf-8")
    except OSError:
        return False
    return True


def _give_back() -> None:
    """Return to the system what was freed, or the runtime would be given it and seem to take less.

    malloc_trim(3) is glibc's; where it is not, the figure before is a little too high.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _elsewhere(target: Target, backend: Backend) -> str:
    if shells.is_driven(target, backend):
        return "the runtime works in a program of its own"
    return "" if getattr(backend, "computes", True) else "this runtime computes nothing"


def _import(packages: tuple[str, ...]) -> tuple[waits.Sample | None, str]:
    """Seconds to import these, or why they are not known."""
    if not packages:
        return None, "the backend names no package that it imports"
    if known := [name for name in packages if name in sys.modules]:
        return None, f"{known[0]} had been imported before"
    watch = waits.Stopwatch()
    with suppress(ImportError):  # opening a model will say so, with a remedy
        for name in packages:
            import_module(name)
    return watch.lap(), ""


def _free(device: Device) -> int | None:
    ask: Callable[[], tuple[int | None, int | None, str]] | None = getattr(device, "memory", None)
    if ask is not None:
        return ask()[1]
    return int(psutil.virtual_memory().available)


def _on_device(device: Device) -> tuple[int | None, str]:
    """What this process has of a device's own memory, or why that is not known."""
    ask: Callable[[], tuple[int | None, int | None, str]] | None = getattr(device, "memory", None)
    if ask is None:
        return None, _NO_DEVICE
    taken, _, why = ask()
    return taken, why


def limit() -> None:
    """Let an allocation fail here before the kernel ends somebody else's process.

    A limit that we were given (`ulimit -v`) stays where it is the lower one.
    """
    most = psutil.virtual_memory().available + psutil.Process().memory_info().vms
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = min(one for one in (most, soft, hard) if one != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
