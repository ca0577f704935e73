"""The machine's own processors, read from Linux: /proc and /sys."""

from __future__ import annotations

import os
import platform
from typing import Any

import psutil

from nnprof.profiler.devices import linux, snapshot
from nnprof.types import Reading


class Cpu:
    """The device."""

    def facts(self) -> dict[str, Any]:
        """Model, extensions, processors, caches, memory, governor, clocks, hypervisor."""
        told = linux.facts(snapshot.here(linux.FACTS, base=snapshot.root()))
        allowed = len(os.sched_getaffinity(0))  # a container may have fewer than the machine
        return {**told, "architecture": platform.machine(), "processors": allowed}

    def processors(self, threads: int) -> tuple[int, ...]:
        """The last ones; see `linux.pinned`."""
        return linux.pinned(threads)

    def read(self, processors: tuple[int, ...]) -> Reading:
        """Load, clock, temperature, throttling, stolen time, preemptions, governor."""
        texts = snapshot.here(linux.READING, base=snapshot.root())
        known = {
            **linux.readings(texts, processors),
            "preemptions": (psutil.Process().num_ctx_switches().involuntary, ""),
            "power_mode": (linux.governor(texts), "the kernel has no cpufreq driver here"),
            "power_w": (None, "processors have no power sensor that an ordinary user may read"),
        }
        return Reading(
            **{name: value for name, (value, _) in known.items()},
            unknown={name: reason for name, (value, reason) in known.items() if value is None},
        )


DEVICE = Cpu()
