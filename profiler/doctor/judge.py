"""From what was read of a machine to findings: clocks, others, memory, heat, files. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone

from nnprof.profiler.devices import (
    busy,
    confined,
    heat,
    jetson,
    linux,
    memory,
    pi,
    topology,
    vcgencmd,
)
from nnprof.profiler.doctor.findings import Finding, Unknown, finding
from nnprof.profiler.doctor.seen import DATE, GPU_PROGRAMS, Seen
from nnprof.types import LOCAL

Found = Iterator[Finding | Unknown]

_STEADY = "performance"
_QUIET = 0.2  # processors' worth of work by others that is none, as for bench --patient
_SHOWN = 0.02  # of a processor: a program that is named
_SIBLING = 0.1
_STOLEN = 0.01
_LEAST_MEMORY = 0.1
_NEAR_C = 5.0
_FULL_BYTES, _LOW_BYTES = 64 << 20, 1 << 30
_LITTLE_SWAP = 16 << 20
_CLOCK_OFF_S = 60.0
_OLDEST_S = datetime(2025, 1, 1, tzinfo=timezone.utc).timestamp()  # no clock that is set is older
_NO_COUNTS = "/proc/stat does not tell, or does not move"


def flag(seen: Seen) -> str:
    """The --device that names the place, and the --on where that alone means another part."""
    word = seen.target.device if seen.target.host == LOCAL else seen.target.host
    on = seen.target.beyond_device
    return f"--device {word}{f' --on {on}' if on else ''}"


def governor(seen: Seen) -> Found:
    """A governor matters unless the clocks cannot move anyway."""
    now = linux.governor(seen.before)
    if now is None:
        yield Unknown(what="governor, clocks", because=_why(seen, "governor"))
    elif now != _STEADY and not jetson.clocks_locked(seen.before):
        yield finding("governor", governor=now)


def clocks(seen: Seen) -> Found:
    """Turbo, a cap, and the lock of a board's clocks."""
    locked, facts = jetson.clocks_locked(seen.before), seen.facts
    if "clocks_locked" in facts:
        if locked is None:
            yield Unknown(what="lock of the clocks", because=_why(seen, "clocks_locked"))
        elif not locked:
            now = jetson.clocks_hz(seen.before).items()
            told = ", ".join(f"{part} {hz / 1e6:.0f} MHz now" for part, hz in now)
            yield finding("clocks_free", clocks=told or "their limits differ")
    elif facts.get("turbo") and not locked:
        intel = f"{topology.CPU}/intel_pstate/no_turbo"
        value, path = (
            ("1", intel) if intel in seen.before else ("0", f"{topology.CPU}/cpufreq/boost")
        )
        yield finding("turbo", command=f"echo {value} | sudo tee {path}")
    allowed, most = facts.get("allowed_clock_hz"), facts.get("max_clock_hz")
    if allowed and most and allowed < most and "power_mode" not in facts:
        yield finding("clock_capped", allowed=allowed / 1e6, most=most / 1e6)


def power_mode(seen: Seen) -> Found:
    """The mode of nvpmodel, where a board has one."""
    modes, now = seen.facts.get("power_modes"), seen.facts.get("power_mode")
    fullest = jetson.fullest(modes or {})
    if "power_mode" in seen.facts and (not now or not fullest):
        name = "power_modes" if now else "power_mode"
        yield Unknown(what="power mode", because=_why(seen, name))
    elif fullest and modes and now != fullest:
        yield finding("power_mode", mode=now, fullest=fullest, number=modes[fullest])


def others(seen: Seen) -> Found:
    """Programs, users and other nnprofs on the machine."""
    processors = busy.busy(seen.before, seen.after)
    if processors is None:
        yield Unknown(what="work of other programs", because=_NO_COUNTS)
    elif processors > _QUIET:
        yield finding("load", processors=processors, who=_who(seen), device=flag(seen))
    if seen.ours:
        yield finding("processors_held", who="; ".join(seen.ours), device=flag(seen))
    far = [f"process {pid}" for pid in busy.lock_holders(seen.before)] if seen.far else []
    if seen.beside or far:
        yield finding("measured_beside", who="; ".join((*seen.beside, *far)))
    users = busy.others_logged_in(seen.before)
    if users:
        yield finding("logged_in", who=", ".join(users))


def _who(seen: Seen) -> str:
    named = [
        f"{one.name} (process {one.pid}{_owner(seen, one.pid)}) {one.processors:.0%}"
        for one in busy.programs(seen.before, seen.after)[:3]
        if one.processors > _SHOWN
    ]
    return f": {', '.join(named)}" if named else "; none of the programs that we may see"


def _owner(seen: Seen, pid: int) -> str:
    name = busy.owner({**seen.before, **seen.after}, pid)
    return f" of {name}" if name else ""


def siblings(seen: Seen) -> Found:
    """The other threads of the cores that we would take."""
    ours = confined.allowed(seen.before) or confined.online(seen.before)
    if len(ours) < seen.target.threads:
        return
    taken = topology.chosen(seen.before, ours, seen.target.threads)
    for processor in taken:
        for other in topology.siblings(seen.before, processor):
            share = busy.busy(seen.before, seen.after, other)
            if other not in taken and share is not None and share > _SIBLING:
                data = {"sibling": other, "processor": processor, "share": share}
                yield finding("sibling_busy", **data, device=flag(seen))


def hypervisor(seen: Seen) -> Found:
    """A virtual machine, and what its host takes."""
    stolen = busy.stolen(seen.before, seen.after)
    if stolen is None:
        yield Unknown(what="time that a hypervisor takes", because=_NO_COUNTS)
    elif stolen > _STOLEN:
        yield finding("stolen_time", share=stolen, device=flag(seen))
    if seen.facts.get("hypervisor"):
        yield finding("virtual", device=flag(seen))
    if seen.facts.get("emulated"):
        yield finding("emulated", architecture=seen.facts.get("architecture"))


def confinement(seen: Seen) -> Found:
    """What of the machine a cgroup, a mask and isolcpus leave us."""
    threads, quota = seen.target.threads, confined.quota(seen.before)
    ours, every = confined.allowed(seen.before), confined.online(seen.before)
    if not ours or not every:
        yield Unknown(what="processors that we may use", because="/proc or /sys does not tell")
    mend = {"command": _unlimited(seen)}
    if quota is not None and quota < threads:
        yield finding("quota_short", quota=quota, threads=threads, **mend)
    elif quota is not None and quota < len(every):
        yield finding("quota_wide", quota=quota, processors=len(every))
    stops = confined.throttled(seen.before, seen.after)
    if stops and quota is not None:
        seconds = busy.elapsed_s(seen.before, seen.after) or 0.0
        yield finding("quota_stops", times=stops, seconds=seconds, **mend)
    isolated = confined.isolated(seen.before)
    unused = set(every) - set(ours) - set(isolated)
    if ours and unused:
        command = "" if seen.far else f"taskset -cp {listed(every)} $$"
        yield finding("fewer_processors", ours=listed(ours), all=listed(every), command=command)
    if isolated and not set(isolated) & set(ours) and not seen.far:
        yield finding("isolated_unused", isolated=listed(isolated), device=flag(seen))
    elif isolated and threads > 1 and set(ours) <= set(isolated):
        data = {"isolated": listed(isolated), "threads": threads}
        yield finding("isolated_crowd", **data, device=flag(seen))


def _unlimited(seen: Seen) -> str:
    """The command that lifts the quota of a unit of systemd; empty in a container."""
    path = seen.before.get("/proc/self/cgroup", "").rpartition(":")[2]
    units = [part for part in path.split("/") if part.endswith((".scope", ".service", ".slice"))]
    return f"sudo systemctl set-property {units[-1]} CPUQuota=" if units else ""


def listed(numbers: Sequence[int]) -> str:
    """Processors as the kernel lists them: `0-3,6`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(one[0]) if len(one) == 1 else f"{one[0]}-{one[-1]}" for one in parts)


def room(seen: Seen) -> Found:
    """Memory and swap."""
    left = memory.available(seen.before)
    if left is None:
        yield Unknown(what="free memory", because="/proc/meminfo does not tell")
    elif left[0] < _LEAST_MEMORY * left[1]:
        yield finding("memory_low", available=size(left[0]), total=size(left[1]))
    swaps = memory.swaps(seen.before)
    pages = memory.pages_swapped(seen.before, seen.after)
    if swaps is None or (swaps and pages is None):
        yield Unknown(what="swap", because="/proc/swaps or /proc/vmstat cannot be read")
    used = [one for one in swaps or () if one.used_bytes]
    where = ", ".join(f"{one.name}{', zram' if one.is_zram else ''}" for one in used or swaps or ())
    total = sum(one.used_bytes for one in used)
    if pages:
        seconds = busy.elapsed_s(seen.before, seen.after) or 0.0
        yield finding("swapping", pages=pages, where=where or "none left", seconds=seconds)
    elif total > _LITTLE_SWAP:
        yield finding("swap_used", used=size(total), where=where)


def size(count: float) -> str:
    """Bytes in words."""
    return f"{count / 2**30:.1f} GiB" if count >= 1 << 30 else f"{count / 2**20:.0f} MiB"


def warmth(seen: Seen) -> Found:
    """Heat, and what it has done."""
    if not linux.temperatures_c(seen.before):
        yield Unknown(what="temperature", because="no sensor is shown")
    margin = heat.nearest(seen.before) or pi.margin(seen.before)
    if margin is not None and margin.temperature_c > margin.limit_c - _NEAR_C:
        yield finding("hot", **margin._asdict())
    now = vcgencmd.alerts(seen.before)
    since = [name for name, count in (vcgencmd.events(seen.before) or {}).items() if count]
    slowed = [*seen.alerts, *(one for one in now if one != vcgencmd.UNDER_VOLTAGE)]
    if slowed:
        yield finding("throttling", alerts=", ".join(slowed))
    counts = heat.throttle_counts(seen.before)
    currents = jetson.overcurrents(seen.before)
    later = {**heat.throttle_counts(seen.after), **jetson.overcurrents(seen.after)}
    old = {**counts, **currents}
    events = sum(max(0, later[name] - old[name]) for name in later if name in old)
    if events:
        seconds = busy.elapsed_s(seen.before, seen.after) or 0.0
        yield finding("throttled_now", events=events, seconds=seconds)
    told = [f"{name} {count} times" for name, count in counts.items() if count]
    told += [one for one in since if one != vcgencmd.UNDER_VOLTAGE]
    if told:
        yield finding("throttled_before", told=", ".join(told))
    when = ["now"] if vcgencmd.UNDER_VOLTAGE in now else []
    when += ["since boot"] if vcgencmd.UNDER_VOLTAGE in since else []
    yield from _supply(seen, currents, when)


def _supply(seen: Seen, currents: dict[str, int], when: list[str]) -> Found:
    """oc1 is the supply's voltage, the others are currents (see `jetson.overcurrents`)."""
    voltage = currents.get("oc1", 0)
    if when or voltage:
        told = f"{voltage} times since boot (oc1)" if voltage else when[0]
        volts = vcgencmd.volts(seen.before).get(vcgencmd.SUPPLY)
        told += f", at {volts:.2f} V" if when[:1] == ["now"] and volts is not None else ""
        strong = pi.supply(seen.facts.get("type")) if pi.is_pi(seen.before) else "a stronger supply"
        yield finding("under_voltage", told=told, supply=strong)
    more = {name: count for name, count in currents.items() if name != "oc1" and count}
    if more:
        told = ", ".join(f"{name} {count} times" for name, count in more.items())
        yield finding("over_current", told=told)


def raspberry_pi(seen: Seen) -> Found:
    """What of a Raspberry Pi is closed to us, and programs of 32 bits where 64 are to be had."""
    if not pi.is_pi(seen.before):
        return
    if vcgencmd.is_closed(seen.before):
        yield finding("firmware_closed")
    elif vcgencmd.events(seen.before) is None:
        yield Unknown(what="supply and throttling", because="vcgencmd is not here")
    if seen.facts.get("architecture") == "aarch64" and pi.userland_bits(seen.before) == 32:
        yield finding("userland_32")


def gpu(seen: Seen) -> Found:
    """A GPU's other users and its driver's state."""
    rows = [line.split(",", 1) for line in seen.before.get(GPU_PROGRAMS, "").split("\n")]
    users = [f"{row[1].strip()} (process {row[0]})" for row in rows if row[0].strip().isdecimal()]
    if users:
        yield finding("gpu_shared", who=", ".join(users))
    if seen.gpu.get("persistence") is False:
        yield finding("persistence")
    for one in seen.closed_gpu[:1] if seen.target.on != "cpu" else ():
        yield finding("gpu_closed", file=one.path, group=one.group)


def files(seen: Seen) -> Found:
    """Disks, sensors that are not open to us, and the clock."""
    for disk in {(one.free, one.total): one for one in seen.disks}.values():
        told = {"folder": disk.folder, "free": size(disk.free), "total": size(disk.total)}
        if disk.free < _FULL_BYTES:
            yield finding("disk_full", **told, ours=disk.here)
        elif disk.free < _LOW_BYTES:
            yield finding("disk_low", **told, ours=disk.here)
    if seen.closed_sensors:
        first = seen.closed_sensors[0]
        names = " ".join(one.path for one in seen.closed_sensors)
        data = {"count": len(seen.closed_sensors), "file": first.path, "group": first.group}
        yield finding("sensors_closed", **data, files=names)
    yield from _clock(seen)


def _clock(seen: Seen) -> Found:
    said = linux.number(seen.before.get(DATE))
    if said is None:
        yield Unknown(what="clock", because="date does not tell")
    elif seen.far and abs(said - seen.now_s) > _CLOCK_OFF_S:
        times = {"there": _moment(said), "here": _moment(seen.now_s)}
        yield finding("clock_off", **times, now=round(seen.now_s))
    elif not seen.far and said < _OLDEST_S:
        yield finding("clock_past", there=_moment(said))


def _moment(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s"


def _why(seen: Seen, name: str) -> str:
    return str((seen.facts.get("why") or {}).get(name) or "it is not told")


LOOKS = (
    *(governor, clocks, power_mode, others, siblings, hypervisor, confinement),
    *(room, warmth, raspberry_pi, gpu, files),
)
