"""Any Linux machine's processors, memory and load, read from a snapshot."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

from nnprof.errors import Unavailable
from nnprof.profiler.devices import snapshot, topology
from nnprof.profiler.devices.snapshot import Texts
from nnprof.profiler.devices.topology import CPU

READING = (
    "/proc/loadavg",
    "/proc/stat",
    f"{CPU}/cpu[0-9]*/cpufreq/scaling_cur_freq",
    f"{CPU}/cpu[0-9]*/cpufreq/scaling_governor",
    f"{CPU}/cpu[0-9]*/thermal_throttle/core_throttle_count",
    "/sys/class/thermal/thermal_zone*/type",
    "/sys/class/thermal/thermal_zone*/temp",
    "/sys/class/hwmon/hwmon*/temp*_input",
)
_CORE = (  # of the one core that the facts are of
    *("cache/index*/level", "cache/index*/type", "cache/index*/size"),
    *("cpufreq/scaling_governor", "cpufreq/scaling_driver"),
    *("cpufreq/scaling_min_freq", "cpufreq/scaling_max_freq"),
)
FACTS = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/kernel/osrelease",
    f"{CPU}/online",
    *topology.FILES,
    *(f"{CPU}/cpu[0-9]*/{name}" for name in _CORE),
    f"{CPU}/intel_pstate/no_turbo",
    f"{CPU}/cpufreq/boost",
)

_MACHINE = "uname -m"
COMMANDS = (_MACHINE,)
# Machines, as `uname -m` names them, by the field of /proc/cpuinfo that only their kernels write.
_WRITTEN = {
    "CPU implementer": ("aarch64", "aarch64_be", "armv7l", "armv8l", "arm64"),
    "vendor_id": ("x86_64", "i686", "i586", "i386"),
}
_BENEATH = "/proc/cpuinfo tells of another kind of processor, beneath an emulator"

_IDLE, _STOLEN = (3, 4), 7  # idle and waiting for a disk; in the order of proc_stat(5)
TICKS_PER_S = 100  # /proc/stat counts in USER_HZ, which is 100 on every Linux of ours
_OFF_C = -100.0  # a sensor that is switched off reads -256 °C
# What decides which kernels a runtime picks.
_EXTENSIONS = (
    *("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_tile"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
# ARM cores have numbers, not names: implementer and part (Arm's and NVIDIA's manuals).
_CORES = {
    ("0x41", "0xb76"): "ARM1176JZF-S",
    ("0x41", "0xc07"): "Cortex-A7",
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd83"): "Neoverse-V3AE",
    ("0x4e", "0x003"): "Denver 2",
    ("0x4e", "0x004"): "Carmel",
}


def pinned(threads: int) -> tuple[int, ...]:
    """The best processors that we may use, for so many threads; see `topology.chosen`.

    Raises:
        Unavailable: there are fewer.
    """
    ours = allowed()
    if threads > len(ours):
        raise Unavailable(
            f"{threads} threads need {threads} processors; this machine lets us use {len(ours)}.",
            f"Ask for --threads {len(ours)} or fewer.",
        )
    return topology.chosen(snapshot.here(topology.FILES), ours, threads)


def siblings(processors: Sequence[int]) -> tuple[int, ...]:
    """The other hardware threads of the cores of these processors of this machine."""
    texts = snapshot.here(topology.FILES)
    threads = {two for one in processors for two in topology.siblings(texts, one)}
    return tuple(sorted(threads - set(processors)))


def kinds(processors: Sequence[int]) -> str:
    """What kinds of cores of this machine these are; see `topology.kinds`."""
    return topology.kinds(snapshot.here(topology.FILES), processors)


def allowed() -> tuple[int, ...]:
    """The processors of this machine that we may use."""
    return tuple(sorted(os.sched_getaffinity(0)))


def stated(known: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
    """Facts from (value, why it is unknown if it is None); the reasons are the fact `why`."""
    why = {name: reason for name, (value, reason) in known.items() if value is None}
    facts = {name: value for name, (value, _) in known.items()}
    return {**facts, "why": why} if why else facts


def named(texts: Texts, pattern: str) -> dict[str, str]:
    """The files of a snapshot whose path matches, in order."""
    return {path: texts[path] for path in sorted(texts) if fnmatch(path, pattern)}


def number(text: str | None) -> float | None:
    """The number that a text is; None where it is none."""
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) else None


def fact_files(*, here: bool) -> tuple[str, ...]:
    """The files that `facts` reads; here only those of the core that it tells of."""
    if not here:
        return FACTS
    (core,) = pinned(1)
    return tuple(
        name.replace("cpu[0-9]*", f"cpu{core}") if name.endswith(_CORE) else name for name in FACTS
    )


def facts(texts: Texts, ours: Collection[int] = ()) -> dict[str, Any]:
    """Model, extensions, caches, memory, governor, clocks in hertz, kernel, hypervisor.

    What differs between cores is of the one that a single thread is pinned to: the best of `ours`,
    the processors that may be used; of all where none is named.
    """
    emulated = is_emulated(texts)
    virtual = not emulated and " hypervisor" in texts.get("/proc/cpuinfo", "")
    where = "a virtual machine has no cpufreq" if virtual else "the kernel has no cpufreq driver"
    ours = ours or topology.numbers(texts.get(f"{CPU}/online", "")) or (0,)
    (core,) = topology.chosen(texts, ours, 1)
    clocks = f"{CPU}/cpu{core}/cpufreq"
    kind = topology.kinds(texts, (core,))
    no_model = _BENEATH if emulated else "/proc/cpuinfo names none"
    return stated(
        {
            "model": (_model(texts, core), no_model),
            "architecture": (texts.get(_MACHINE), "uname does not say"),
            **({"emulated": (True, "")} if emulated else {}),
            "extensions": (None if emulated else _extensions(texts, core), _BENEATH),
            "processors": (_online(texts), "the kernel does not list them"),
            "core": (kind or "like all others", ""),
            "threads_per_core": (len(topology.siblings(texts, core)), ""),
            "caches": (_caches(texts, core), ""),
            "memory_bytes": (_memory_bytes(texts), "/proc/meminfo cannot be read"),
            "governor": (texts.get(f"{clocks}/scaling_governor"), where),
            "driver": (texts.get(f"{clocks}/scaling_driver"), where),
            "min_clock_hz": (_hertz(texts, f"{clocks}/scaling_min_freq"), where),
            "max_clock_hz": (_hertz(texts, f"{clocks}/cpuinfo_max_freq"), where),
            "allowed_clock_hz": (_hertz(texts, f"{clocks}/scaling_max_freq"), where),
            "turbo": (_turbo(texts), where),
            "kernel": (texts.get("/proc/sys/kernel/osrelease"), "the kernel does not say"),
            "hypervisor": (None if emulated else virtual, _BENEATH),
        }
    )


def is_emulated(texts: Texts) -> bool:
    """Whether /proc/cpuinfo is of another kind of processor than the one that programs run on.

    An emulator of programs (qemu-user) shows them the files of the kernel beneath. So of that file
    only what a kernel of this kind of machine writes may be believed.
    """
    machine, text = texts.get(_MACHINE, ""), texts.get("/proc/cpuinfo", "")
    written = {field: field in _fields(text) for field in _WRITTEN}
    return any(
        machine in machines and not written[field] and any(written.values())
        for field, machines in _WRITTEN.items()
    )


def readings(texts: Texts, processors: Sequence[int]) -> dict[str, tuple[Any, str]]:
    """Values of `nnprof.types.Reading`, each with why it is unknown if it is None."""
    throttles = [
        count
        for processor in processors
        if (
            count := number(texts.get(f"{CPU}/cpu{processor}/thermal_throttle/core_throttle_count"))
        )
        is not None
    ]
    temperatures = list(temperatures_c(texts).values())
    return {
        "load_1m": (number(texts.get("/proc/loadavg", "").split(" ")[0]), "no /proc/loadavg"),
        "clock_hz": (clock_hz(texts, processors), "the kernel has no cpufreq driver here"),
        "temperature_c": (max(temperatures, default=None), "no sensor is shown here"),
        "throttles": (
            int(sum(throttles)) if throttles else None,
            "the kernel counts no throttling here",
        ),
        "stolen_s": (stolen_s(texts), "/proc/stat does not tell"),
    }


def clock_hz(texts: Texts, processors: Iterable[int] = ()) -> float | None:
    """Mean clock of these processors; of all where none is named. None where it is not told."""
    folders = [f"cpu{processor}" for processor in processors] or ["cpu[0-9]*"]
    clocks = [
        kilohertz * 1e3
        for folder in folders
        for text in named(texts, f"{CPU}/{folder}/cpufreq/scaling_cur_freq").values()
        if (kilohertz := number(text))
    ]
    return sum(clocks) / len(clocks) if clocks else None


def governor(texts: Texts, processors: Iterable[int] = ()) -> str | None:
    """The frequency governor of these processors; of all where none is named, if they differ."""
    folders = [f"cpu{processor}" for processor in processors] or ["cpu[0-9]*"]
    pattern = "cpufreq/scaling_governor"
    found = {text for name in folders for text in named(texts, f"{CPU}/{name}/{pattern}").values()}
    return ", ".join(sorted(found)) or None


def temperatures_c(texts: Texts) -> dict[str, float]:
    """Degrees Celsius by sensor; those that are switched off are left out."""
    found = {}
    for path, text in named(texts, "/sys/class/thermal/thermal_zone*/temp").items():
        folder = path.split("/")[-2]
        zone = texts.get(path.removesuffix("temp") + "type", folder)
        found[f"{zone} ({folder})" if zone in found else zone] = number(text)
    for path, text in named(texts, "/sys/class/hwmon/hwmon*/temp*_input").items():
        found[path.removeprefix("/sys/class/hwmon/")] = number(text)
    return {
        name: value / 1e3
        for name, value in found.items()
        if value is not None and value / 1e3 > _OFF_C
    }


def _fields(text: str) -> dict[str, str]:
    """The first value of each name in a text of `name : value` lines."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _of_core(texts: Texts, core: int) -> dict[str, str]:
    """What /proc/cpuinfo says of a processor, before what it says of all and of others."""
    text = "" if is_emulated(texts) else texts.get("/proc/cpuinfo", "")
    blocks = [_fields(block) for block in text.split("\n\n")]
    own = [block for block in blocks if block.get("processor") == str(core)]
    return {**_fields(text), **(own[0] if own else {})}


def _model(texts: Texts, core: int) -> str | None:
    fields = _of_core(texts, core)
    part = fields.get("CPU implementer", ""), fields.get("CPU part", "")
    if part in _CORES:
        return _CORES[part]
    name = fields.get("model name") or fields.get("Model")
    return name or (f"ARM core {' '.join(part)}" if part[1] else None)


def _extensions(texts: Texts, core: int) -> list[str]:
    fields = _of_core(texts, core)
    present = (fields.get("flags") or fields.get("Features") or "").split()
    return [extension for extension in _EXTENSIONS if extension in present]


def _online(texts: Texts) -> int | None:
    return len(topology.numbers(texts.get(f"{CPU}/online", ""))) or None


def _caches(texts: Texts, core: int) -> dict[str, str]:
    caches = {}
    for path, level in named(texts, f"{CPU}/cpu{core}/cache/index*/level").items():
        folder = path.removesuffix("level")
        size, kind = texts.get(folder + "size"), texts.get(folder + "type", "")
        if size:
            caches[f"L{level}{kind[:1].lower() if level == '1' else ''}"] = size
    return caches


def _memory_bytes(texts: Texts) -> int | None:
    kilobytes = _fields(texts.get("/proc/meminfo", "")).get("MemTotal", "").split(" ")[0]
    return int(kilobytes) * 1024 if kilobytes.isdecimal() else None


def _turbo(texts: Texts) -> bool | None:
    """Whether clocks may rise above the nominal one, by the driver that has them."""
    intel, others = texts.get(f"{CPU}/intel_pstate/no_turbo"), texts.get(f"{CPU}/cpufreq/boost")
    if intel is not None:
        return intel.strip() == "0"
    return None if others is None else others.strip() == "1"


def _hertz(texts: Texts, path: str) -> float | None:
    kilohertz = number(texts.get(path))
    return kilohertz * 1e3 if kilohertz else None


def worked_s(texts: Texts, processor: int | None = None) -> float | None:
    """Seconds that a processor, or all together, were not idle since boot; None: it is not told."""
    spent_s = _spent_s(texts, processor)
    return sum(spent_s) - sum(spent_s[i] for i in _IDLE) if spent_s else None


def passed_s(texts: Texts) -> float | None:
    """Seconds of all processors together since boot, idle or not; None where it is not told."""
    return sum(_spent_s(texts)) or None


def stolen_s(texts: Texts) -> float | None:
    """Seconds that the hypervisor had all processors together; None where it is not told."""
    spent_s = _spent_s(texts)
    return spent_s[_STOLEN] if spent_s else None


def _spent_s(texts: Texts, processor: int | None = None) -> list[float]:
    """The first eight counts of a line of /proc/stat (proc_stat(5)); none without it.

    Those after them are part of the first two already.
    """
    name = "cpu" if processor is None else f"cpu{processor}"
    lines = texts.get("/proc/stat", "").split("\n")
    words = next((line.split() for line in lines if line.split()[:1] == [name]), [])
    ticks = [number(word) for word in words[1 : _STOLEN + 2]]
    known = [count / TICKS_PER_S for count in ticks if count is not None]
    return known if len(known) > _STOLEN else []
