"""The machine's own processors, read from Linux: /proc, /sys and psutil."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import psutil

from nnprof.errors import Unavailable
from nnprof.types import Reading

_CPU = Path("/sys/devices/system/cpu")


def _text(path: Path) -> str | None:
    """Content of a small kernel file; None where there is none or it may not be read."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _allowed() -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _model() -> str | None:
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or None


def _features() -> list[str]:
    """Vector extensions: what decides which kernels a runtime picks."""
    wanted = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "amx_tile", "asimd", "sve")
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            present = set(value.split())
            return [feature for feature in wanted if feature in present]
    return []


def _caches() -> dict[str, str]:
    caches = {}
    for folder in sorted(_CPU.glob("cpu0/cache/index*")):
        level, kind, size = (_text(folder / name) for name in ("level", "type", "size"))
        if level and size:
            caches[f"L{level}{(kind or '')[:1].lower() if level == '1' else ''}"] = size
    return caches


class Cpu:
    """The device."""

    def facts(self) -> dict[str, Any]:
        """Model, extensions, processors, caches, memory, governor, hypervisor."""
        return {
            "model": _model(),
            "architecture": platform.machine(),
            "extensions": _features(),
            "processors": len(_allowed()),
            "caches": _caches(),
            "memory_bytes": psutil.virtual_memory().total,
            "governor": _text(_CPU / "cpu0/cpufreq/scaling_governor"),
            "max_clock_hz": _hertz(_CPU / "cpu0/cpufreq/cpuinfo_max_freq"),
            "hypervisor": " hypervisor" in (_text(Path("/proc/cpuinfo")) or ""),
        }

    def processors(self, threads: int) -> tuple[int, ...]:
        """The last ones: the first serves most interrupts, and us."""
        allowed = _allowed()
        if threads > len(allowed):
            raise Unavailable(
                f"{threads} threads need {threads} processors; this machine lets us use "
                f"{len(allowed)}.",
                f"Ask for --threads {len(allowed)} or fewer.",
            )
        return allowed[-threads:]

    def read(self, processors: tuple[int, ...]) -> Reading:
        """Load, clock, temperature, throttling, stolen time, preemptions, governor."""
        clocks = [
            clock
            for number in processors
            if (clock := _hertz(_CPU / f"cpu{number}/cpufreq/scaling_cur_freq"))
        ]
        throttles = [
            int(count)
            for number in processors
            if (count := _text(_CPU / f"cpu{number}/thermal_throttle/core_throttle_count"))
        ]
        times = psutil.cpu_times()
        return Reading(
            load_1m=os.getloadavg()[0],
            clock_hz=sum(clocks) / len(clocks) if clocks else None,
            temperature_c=_hottest_c(),
            throttles=sum(throttles) if throttles else None,
            stolen_s=getattr(times, "steal", None),
            preemptions=psutil.Process().num_ctx_switches().involuntary,
            power_mode=_text(_CPU / "cpu0/cpufreq/scaling_governor"),
        )


def _hertz(path: Path) -> float | None:
    kilohertz = _text(path)
    return float(kilohertz) * 1e3 if kilohertz else None


def _hottest_c() -> float | None:
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    return max((entry.current for entries in sensors.values() for entry in entries), default=None)


DEVICE = Cpu()
