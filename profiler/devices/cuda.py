"""An NVIDIA GPU, read through NVML (nvidia-ml-py); each answer may be that it is not supported.

On Jetson boards NVML opens and then supports next to nothing: there `jetson` is the device.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psutil

from nnprof.errors import Unavailable
from nnprof.profiler.devices import linux, snapshot
from nnprof.types import Reading

if TYPE_CHECKING:  # numpy comes with it, and telemetry starts often
    from nnprof.profiler.ports import Shell

RAIL = "GPU"
# NVML's power is a mean over the last second on Ampere and later (its documentation of
# nvmlDeviceGetPowerUsage), so older boards are only read more slowly than need be.
_UPDATE_S = 1.0
_SMI = "nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader"
_NO_COUNT = "NVML names reasons for throttling and does not count events"
# Bits of the reasons for which a clock is lower than asked for, that are no wish of the user.
_REASONS = {
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake",
}


def facts(nvml: Any, handle: Any) -> dict[str, Any]:
    """Name, memory, compute capability, clocks and limits of a GPU, where NVML supports them."""
    capability, no_capability = _ask(nvml, nvml.nvmlDeviceGetCudaComputeCapability, handle)
    memory, no_memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    clock, no_clock = _ask(nvml, nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM)
    limit, no_limit = _ask(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    power, no_power = _ask(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    persistence, no_persistence = _ask(nvml, nvml.nvmlDeviceGetPersistenceMode, handle)
    rails = {RAIL: {"sensor": "nvml", "update_s": _UPDATE_S}}
    return linux.stated(
        {
            "model": _ask(nvml, nvml.nvmlDeviceGetName, handle),
            "driver": _ask(nvml, nvml.nvmlSystemGetDriverVersion),
            "compute_capability": (
                capability and ".".join(map(str, capability)),
                no_capability,
            ),
            "gpu_memory_bytes": (memory and memory.total, no_memory),
            "max_clock_hz": (clock and clock * 1e6, no_clock),
            "power_limit_w": (limit and limit / 1e3, no_limit),
            "persistence": (None if persistence is None else bool(persistence), no_persistence),
            "rails": (None if power is None else rails, no_power),
            "total_rail": (None if power is None else RAIL, no_power),
        }
    )


def reading(nvml: Any, handle: Any, base: dict[str, tuple[Any, str]]) -> Reading:
    """The GPU now; `base` has what the machine around it tells."""
    clock, no_clock = _ask(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM)
    memory, _ = _ask(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM)
    degrees, no_degrees = _ask(
        nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU
    )
    power, no_power = _ask(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    bits, no_bits = _ask(nvml, nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    known = {
        **base,
        "clock_hz": (clock and clock * 1e6, no_clock),
        "temperature_c": (None if degrees is None else float(degrees), no_degrees),
        "throttles": (None, _NO_COUNT),
        "power_w": (None if power is None else power / 1e3, no_power),
    }
    clocks = {"gpu": clock, "emc": memory}
    unknown = {name: reason for name, (value, reason) in known.items() if value is None}
    if bits is None:
        unknown["alerts"] = no_bits
    return Reading(
        **{name: value for name, (value, _) in known.items()},
        clocks_hz={name: mhz * 1e6 for name, mhz in clocks.items() if mhz},
        rails_w={} if power is None else {RAIL: power / 1e3},
        alerts=tuple(name for bit, name in _REASONS.items() if (bits or 0) & bit),
        unknown=unknown,
    )


def own_memory(nvml: Any, handle: Any) -> tuple[int | None, int | None, str]:
    """Bytes of a GPU that this process has, and that are free; why one is not known.

    NVML names processes as the machine does; within a container we have another number.
    """
    found, no_list = _ask(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle)
    state, _ = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    own = next((one.usedGpuMemory for one in found or () if one.pid == os.getpid()), None)
    why = "" if own is not None else no_list or "NVML does not list this process"
    return own, state and state.free, why


def _ask(nvml: Any, call: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """The answer, or None and what NVML says instead."""
    try:
        return call(*arguments), ""
    except nvml.NVMLError as error:
        return None, f"NVML: {error}"


def _open() -> tuple[Any, Any]:
    """The library, and the first GPU that CUDA would take."""
    try:
        import pynvml
    except ImportError as error:
        raise Unavailable(
            "GPUs are read with nvidia-ml-py, which is not installed.",
            "pip install -c constraints.txt '.[gpu]'",
        ) from error
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByIndex(int(chosen) if chosen.isdecimal() else 0)
    except pynvml.NVMLError as error:
        raise Unavailable(
            f"There is no NVIDIA GPU that can be read here (NVML: {error}).",
            "Install the driver, or name another --device.",
        ) from error


class Cuda:
    """The device: the first GPU here, or of the machine at the other end of a shell."""

    backend = ""
    on = ("gpu",)

    def __init__(self, shell: Shell | None = None) -> None:
        self._shell = shell

    def facts(self) -> dict[str, Any]:
        """See `facts` above, with those of the processors beside it; `model` is the GPU's.

        Raises:
            Unavailable: there is no GPU, or nothing to read it with.
        """
        files = linux.fact_files(here=self._shell is None)
        texts = snapshot.of(self._shell, files, (*linux.COMMANDS, _SMI))
        around = linux.facts(texts, () if self._shell else linux.allowed())
        own = _told(texts.get(_SMI, "")) if self._shell else facts(*_open())
        why = {**around.pop("why", {}), **own.pop("why", {})}
        cpu = {"cpu_model": around["model"]}
        return {**around, **cpu, **own, **({"why": why} if why else {})}

    def processors(self, threads: int) -> tuple[int, ...]:
        """Those of the process that feeds the GPU."""
        return () if self._shell else linux.pinned(threads)

    def read(self, processors: tuple[int, ...], on: str = "") -> Reading:  # noqa: ARG002
        """See `reading` above; over a shell only what the machine around it tells."""
        base = linux.readings(snapshot.of(self._shell, linux.READING), processors)
        if self._shell:
            base = {**base, "clock_hz": (None, _FAR), "temperature_c": (None, _FAR)}
            return Reading(
                **{name: value for name, (value, _) in base.items()},
                unknown={name: reason for name, (value, reason) in base.items() if value is None},
            )
        base["preemptions"] = (psutil.Process().num_ctx_switches().involuntary, "")
        return reading(*_open(), base)

    def memory(self) -> tuple[int | None, int | None, str]:
        """Bytes of the GPU that this process has, and that are free; why one is not known."""
        return (None, None, _FAR) if self._shell else own_memory(*_open())

    def over(self, shell: Shell) -> Cuda:
        """The GPU of the machine that the shell is on."""
        return Cuda(shell)


_FAR = "a GPU is read where our worker runs"


def _told(line: str) -> dict[str, Any]:
    """Facts of a line of nvidia-smi."""
    fields = [field.strip() for field in line.split("\n", maxsplit=1)[0].split(",")]
    if len(fields) != 3:
        raise Unavailable(
            "nvidia-smi finds no GPU there.", "Install the driver, or name another --device."
        )
    names = ("model", "driver", "compute_capability")
    known = {name: (value, "") for name, value in zip(names, fields, strict=True)}
    return linux.stated({**known, "rails": (None, _FAR), "total_rail": (None, _FAR)})


DEVICE = Cuda()
