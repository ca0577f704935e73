"""The runtimes of this machine: which are installed, and how to get the others."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from typing import NamedTuple

from nnprof import registry
from nnprof.errors import Unavailable
from nnprof.profiler.ports import Backend


class Runtime(NamedTuple):
    """A runtime that nnprof knows.

    Attributes:
        name: of its backend.
        version: installed here; None where it is not.
        remedy: how to get it, or what it needs besides; empty where all of it is here.
    """

    name: str
    version: str | None
    remedy: str = ""


def known() -> tuple[Runtime, ...]:
    """Each registered runtime, by name; backends that compute nothing are left out.

    One whose packages are installed is not imported, because some take seconds: that it works is
    for `bench` and `doctor` to say.
    """
    found = ((name, registry.find("backend", name)) for name in registry.names("backend"))
    return tuple(
        _look(name, backend) for name, backend in found if getattr(backend, "computes", True)
    )


def _look(name: str, backend: Backend) -> Runtime:
    packages: tuple[str, ...] = getattr(backend, "packages", ())
    if packages and all(find_spec(package) for package in packages):
        return Runtime(name, _version(packages[0]), _lacking(backend))
    try:
        return Runtime(name, str(backend.probe()["version"]))
    except Unavailable as missing:
        return Runtime(name, None, _line(missing))


def _lacking(backend: Backend) -> str:
    """What installs the converter without which a runtime that is here runs no ONNX file."""
    converter = getattr(backend, "converter", None)
    try:
        if converter:
            converter()
    except Unavailable as missing:
        return f"its converter is missing: {_line(missing)}"
    return ""


def _line(missing: Unavailable) -> str:
    """What to type, from a remedy."""
    return missing.remedy.removeprefix("Try: ")


def _version(package: str) -> str:
    """Of the distribution that brings a package: `onnxruntime` may be `onnxruntime-gpu`."""
    try:
        return version(package)
    except PackageNotFoundError:
        names = packages_distributions().get(package)  # reads every distribution's list of files
        return version(names[0]) if names else "unknown"
