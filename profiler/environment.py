"""What a Run must say about the place it was measured in, to be read a year later."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nnprof._version import __version__
from nnprof.profiler.ports import Backend, Device
from nnprof.profiler.shells import is_driven
from nnprof.types import Target

_PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt", "openvino")


def capture(target: Target, device: Device, backend: Backend) -> dict[str, Any]:
    """Versions, system, device and runtime. Packages that are not installed are None.

    Where only programs run on the target's host, the versions of Python and its packages are those
    of the machine that drives them, `driven_from`.
    """
    here = f"{platform.system()} {platform.release()}"
    facts = device.facts()
    driven = is_driven(target, backend)
    kernel = facts.get("kernel")
    return {
        "nnprof": __version__,
        "python": platform.python_version(),
        "python_build": " ".join(platform.python_build()),
        "debug_build": hasattr(sys, "gettotalrefcount"),
        "packages": {name: _version(name) for name in _PACKAGES},
        "system": here if not driven else kernel and f"Linux {kernel}",
        **({"driven_from": here} if driven else {}),
        "host": target.host,
        "processors_allowed": None if driven else len(os.sched_getaffinity(0)),
        "device": {"name": target.device, **facts},
        "backend": {"name": target.backend, **backend.probe(target)},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
