"""Pythons of boards that are not there, as `nnprof.profiler.setup.there` has them."""

from __future__ import annotations

from nnprof.profiler.setup.there import There


def python(
    version: str,
    *,
    machine: str = "aarch64",
    libc: str = "glibc 2.35",
    bits: int = 64,
    venv: bool = True,
    implementation: str = "cpython",
) -> There:
    """A Python of a Linux board."""
    markers = {
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "implementation_name": implementation,
        "implementation_version": version,
        "platform_python_implementation": "CPython",
        "platform_release": "5.15",
        "platform_version": "#1 SMP",
    }
    return There(
        executable="/usr/bin/python3",
        markers=markers,
        libc=libc,
        bits=bits,
        venv=venv,
        free_bytes=10**9,
    )
