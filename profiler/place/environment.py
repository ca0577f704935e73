"""The facts of a place that a Run states, so that it can be judged a year later."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nnprof._version import __version__
from nnprof.profiler.place.shells import is_driven
from nnprof.profiler.ports import Backend, Device
from nnprof.types import Target

_PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt", "openvino")

# What a worker is given, and nothing else. First what finds programs, files and words …
_PLAIN = (
    *("PATH", "HOME", "USER", "LOGNAME", "TZ", "TMPDIR", "TEMP", "TMP", "LANG", "LANGUAGE", "LC_*"),
    *("XDG_*", "NNPROF_*", "SSH_AUTH_SOCK", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHON*"),
)
# … then what changes speed: threads, allocators, loaders, compilers, runtimes. A Run keeps those.
_TIMING = (
    *("OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "GOTO_*", "BLIS_*", "NUMEXPR_*", "TBB_*"),
    *("MALLOC_*", "GLIBC_TUNABLES", "TCMALLOC_*", "JEMALLOC_*", "_RJEM_MALLOC_CONF", "MIMALLOC_*"),
    *("LD_*", "DYLD_*", "CC", "CXX", "CPP", "CFLAGS", "CXXFLAGS", "LDFLAGS", "CPATH"),
    *("C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "COVERAGE_*"),
    *("PYTHONMALLOC", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "PYTHONPROFILEIMPORTTIME"),
    *("PYTHON_GIL", "PYTHON_JIT", "PYTHONOPTIMIZE"),
    *("ORT_*", "DNNL_*", "ONEDNN_*", "OV_*", "OPENVINO_*", "XNNPACK_*", "ACL_*"),
    *("TORCH*", "PYTORCH_*", "ATEN_*", "TRITON_*", "TRT_*", "TENSORRT_*", "POLYGRAPHY_*"),
    *("CUDA_*", "NVIDIA_*", "CUDNN_*", "CUBLAS_*", "NCCL_*", "HIP_*", "HSA_*", "ROCR_*"),
)
# What a worker tells runtimes, unless the user does. From 1.31 on ONNX Runtime begins a thread and
# a data base for telemetry as it is imported, on Linux, too: nothing beside what is timed may do
# so, nor leave files on a board.
TOLD = {"ORT_DISABLE_TELEMETRY": "1"}
# Not the user's choice: a folder that torch sets itself in a process that exports.
_OWN = ("TORCHINDUCTOR_CACHE_DIR",)


def passed(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a worker is given: a known list, so that no other variable can act."""
    return _matching(environ, (*_PLAIN, *_TIMING))


def timing(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a worker that may change how fast a network runs, for the Run.

    What every worker is told anyway (`TOLD`) is left out, unless the user says otherwise.
    """
    found = _matching(environ, _TIMING)
    return {
        name: value for name, value in found.items() if name not in _OWN and TOLD.get(name) != value
    }


def _matching(environ: Mapping[str, str], patterns: tuple[str, ...]) -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(environ.items())
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def capture(target: Target, device: Device, backend: Backend) -> dict[str, Any]:
    """Versions, system, device and runtime. Packages that are not installed are None.

    Where only programs run on the target's host, the versions of Python and its packages are those
    of the machine that drives them, `driven_from`. `variables` are those that may change speed.
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
        "variables": timing(os.environ),
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
