"""From what is installed at a place to findings: the runtime, Python, its wheels, JetPack. Pure."""

from __future__ import annotations

from nnprof import registry
from nnprof.profiler.devices import jetpack
from nnprof.profiler.devices.linux import named
from nnprof.profiler.doctor.findings import Unknown, finding
from nnprof.profiler.doctor.judge import Found, flag
from nnprof.profiler.doctor.seen import GPUS, Seen
from nnprof.profiler.place.installed import Installed, build_for

_OLDEST_PYTHON = (3, 10)
_LAST_OLD = (3, 10)  # Python for which ONNX Runtime ends at 1.23.2


def runtime(seen: Seen) -> Found:
    """Whether the runtime can be used at all."""
    if seen.refused:
        reason, remedy = seen.refused
        yield finding(
            "runtime_unavailable", backend=seen.target.backend, reason=reason, remedy=remedy
        )


def python(seen: Seen) -> Found:
    """The Python of the place, where the runtime needs one."""
    there = seen.installed
    if there is None:
        return
    if isinstance(there, str):
        yield Unknown(what="Python and its packages", because=there.rstrip("."))
        return
    pack = seen.facts.get("jetpack")
    fits = jetpack.python_of(pack)
    data = {"executable": there.executable, "python": there.python}
    if _version(there.python) < _OLDEST_PYTHON:
        driven = registry.find("device", seen.target.device).backend
        yield finding("python_old", **data, device=flag(seen), driven=driven or "NAME")
    elif (
        _may_use_gpu(seen) and fits not in (None, there.python) and _version(fits) >= _OLDEST_PYTHON
    ):
        yield finding("python_unfit", **data, jetpack=pack, fits=fits)
    if there.debug:
        yield finding("debug_build", **data)
    yield from _wheels(seen, there)


def _wheels(seen: Seen, there: Installed) -> Found:
    gpu = gpu_name(seen)
    if there.both_builds:
        versions = ", ".join(f"{name} {number}" for name, number in there.packages.items())
        wanted = build_for(gpu=bool(gpu))
        yield finding("both_builds", executable=there.executable, versions=versions, wanted=wanted)
    elif gpu and there.without_gpu and _may_use_gpu(seen):
        yield finding(
            "no_gpu_provider", version=there.runtime or "of unknown version", gpu=gpu,
            command=_with_gpu(seen, there.executable),
        )  # fmt: skip
    system = seen.facts.get("tensorrt_version")
    if there.tensorrt and system and _version(there.tensorrt)[:2] != _version(system)[:2]:
        yield finding(
            "tensorrt_differs", executable=there.executable, wheel=there.tensorrt, system=system
        )
    here = seen.installed_here
    if (
        isinstance(here, Installed)
        and there.runtime and here.runtime and there.runtime != here.runtime
        and _version(there.python) <= _LAST_OLD
    ):  # fmt: skip
        yield finding("runtime_differs", there=there.runtime, here=here.runtime)


def _may_use_gpu(seen: Seen) -> bool:
    """Unless the processors of a device that has a GPU, too, were asked for (`--on cpu`)."""
    return seen.target.beyond_device != "cpu"


def _with_gpu(seen: Seen, executable: str) -> str:
    """How to have the build with the library for the GPU in place of the other one."""
    index = jetpack.wheels_of(seen.facts.get("jetpack"))
    source = f"--index-url {index} " if index else ""
    pip = f"{executable} -m pip"
    was, wanted = build_for(gpu=False), build_for(gpu=True)
    return f"{pip} uninstall -y {was} && {pip} install {source}{wanted}"


def gpu_name(seen: Seen) -> str | None:
    """The NVIDIA GPU of the machine, whichever device is measured; None where none is seen."""
    for text in named(seen.before, GPUS).values():
        for line in text.split("\n"):
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    family = seen.facts.get("family")
    return f"{family}'s GPU" if family else None


def _version(text: str) -> tuple[int, ...]:
    parts = (part for part in text.split("."))
    return tuple(int(part) for part in parts if part.isdecimal())


LOOKS = (runtime, python)
