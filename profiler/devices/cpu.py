"""A machine's own processors, read from Linux: /proc and /sys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil

from nnprof.profiler.devices import linux, snapshot
from nnprof.types import Reading

if TYPE_CHECKING:  # numpy comes with it, and telemetry starts often
    from nnprof.profiler.ports import Shell

_NO_POWER = "processors have no power sensor that an ordinary user may read"


class Cpu:
    """The device: here, or at the other end of a shell."""

    backend = ""
    on = ("cpu",)

    def __init__(self, shell: Shell | None = None) -> None:
        self._shell = shell

    def facts(self) -> dict[str, Any]:
        """Model, extensions, processors, caches, memory, governor, clocks, hypervisor."""
        if self._shell:
            return linux.facts(snapshot.over(self._shell, linux.FACTS, linux.COMMANDS))
        texts = snapshot.here(linux.fact_files(here=True), linux.COMMANDS)
        # Here a container may have fewer than the machine.
        return {**linux.facts(texts, linux.allowed()), "processors": len(linux.allowed())}

    def processors(self, threads: int) -> tuple[int, ...]:
        """The best ones; see `linux.pinned`."""
        return () if self._shell else linux.pinned(threads)

    def read(self, processors: tuple[int, ...], on: str = "") -> Reading:  # noqa: ARG002
        """Load, clock, temperature, throttling, stolen time, preemptions, governor."""
        texts = snapshot.of(self._shell, linux.READING)
        known = {
            **linux.readings(texts, processors),
            "power_mode": (
                linux.governor(texts, processors),
                "the kernel has no cpufreq driver here",
            ),
            "power_w": (None, _NO_POWER),
        }
        own = None if self._shell else psutil.Process().num_ctx_switches().involuntary
        return Reading(
            **{name: value for name, (value, _) in known.items()},
            preemptions=own,
            unknown={name: reason for name, (value, reason) in known.items() if value is None},
        )

    def over(self, shell: Shell) -> Cpu:
        """The processors of the machine that the shell is on."""
        return Cpu(shell)


DEVICE = Cpu()
