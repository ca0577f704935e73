"""GPUs through NVML, whose library is not here: its real errors, and stand-ins for its answers."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnprof.errors import Unavailable
from nnprof.profiler.devices import cuda, linux
from nnprof.profiler.place.shells import LocalShell

pynvml = pytest.importorskip("pynvml")

ANSWERS: dict[str, Any] = {
    "nvmlDeviceGetName": "NVIDIA GeForce RTX 4060",
    "nvmlSystemGetDriverVersion": "580.65.06",
    "nvmlDeviceGetCudaComputeCapability": (8, 9),
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=8585740288),
    "nvmlDeviceGetMaxClockInfo": 3105,
    "nvmlDeviceGetEnforcedPowerLimit": 115000,
    "nvmlDeviceGetPowerUsage": 23456,
    "nvmlDeviceGetPersistenceMode": 1,
    "nvmlDeviceGetClockInfo": 2460,
    "nvmlDeviceGetTemperature": 51,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x24,
}


class Library:
    """NVML with these answers; what it has no answer for is not supported, as on Orin."""

    NVMLError = pynvml.NVMLError

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("NVML_"):
            return getattr(pynvml, name)
        getattr(pynvml, name)  # it must exist in the real one

        def call(*_: Any) -> Any:
            if name not in self._answers:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return self._answers[name]

        return call


def test_a_gpu_in_full() -> None:
    """NVML's milliwatts, megahertz and bits become watts, hertz and names."""
    facts = cuda.facts(Library(**ANSWERS), None)
    assert facts["compute_capability"] == "8.9"
    assert facts["max_clock_hz"] == 3105e6
    assert facts["power_limit_w"] == 115.0
    assert facts["total_rail"] == cuda.RAIL
    assert "why" not in facts
    reading = cuda.reading(Library(**ANSWERS), None, linux.readings({}, ()))
    assert reading.rails_w == {cuda.RAIL: pytest.approx(23.456)}
    assert reading.power_w == pytest.approx(23.456)
    assert reading.clocks_hz == {"gpu": 2460e6, "emc": 2460e6}
    assert reading.alerts == ("sw_power_cap", "sw_thermal_slowdown")


def test_orin_supports_nothing() -> None:
    """Where NVML answers NotSupported, everything is unknown with that reason, and no 0 watts."""
    orin = Library(nvmlDeviceGetName="Orin (nvgpu)", nvmlSystemGetDriverVersion="540.4.0")
    facts = cuda.facts(orin, None)
    assert facts["model"] == "Orin (nvgpu)"
    assert facts["rails"] is None
    assert facts["why"]["rails"] == "NVML: Not Supported"
    reading = cuda.reading(orin, None, linux.readings({}, ()))
    assert (reading.power_w, reading.rails_w, reading.alerts) == (None, {}, ())
    assert reading.unknown["power_w"] == reading.unknown["alerts"] == "NVML: Not Supported"


def test_the_memory_of_this_process() -> None:
    """NVML's figure for our process; where it is not listed, as in a container, the reason."""
    ours = SimpleNamespace(pid=os.getpid(), usedGpuMemory=300)
    state = SimpleNamespace(total=1000, free=600)
    library = Library(nvmlDeviceGetComputeRunningProcesses=[ours], nvmlDeviceGetMemoryInfo=state)
    assert cuda.own_memory(library, None) == (300, 600, "")
    library = Library(nvmlDeviceGetComputeRunningProcesses=[], nvmlDeviceGetMemoryInfo=state)
    assert cuda.own_memory(library, None) == (None, 600, "NVML does not list this process")
    _, free, why = cuda.own_memory(Library(), None)
    assert (free, why.startswith("NVML: ")) == (None, True)


def test_without_a_gpu() -> None:
    """A machine without the driver says so with what to do."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        with pytest.raises(Unavailable, match="no NVIDIA GPU"):
            cuda.DEVICE.facts()
    else:
        assert cuda.DEVICE.facts()["model"]


def test_over_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU of another machine is known from a line of its nvidia-smi; the rest says why not."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA RTX A2000, 580.65.06, 8.6'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    there = cuda.DEVICE.over(LocalShell(tmp_path))
    facts = there.facts()
    assert (facts["model"], facts["compute_capability"]) == ("NVIDIA RTX A2000", "8.6")
    assert facts["cpu_model"]
    reading = there.read(())
    assert (reading.clock_hz, there.processors(4)) == (None, ())
    assert reading.unknown["clock_hz"] == facts["why"]["rails"]
    program.write_text("#!/bin/sh\necho 'No devices were found'\n")
    with pytest.raises(Unavailable, match="finds no GPU"):
        there.facts()
