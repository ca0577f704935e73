"""`nnprof devices`: what is here, and what it can do at best."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nnprof.profiler.roofline import Roofline

Measure = Annotated[
    bool,
    typer.Option(
        "--measure", help="Measure peak FLOP/s, bandwidth and launch cost, and keep them."
    ),
]
Threads = Annotated[int, typer.Option(help="Threads to measure with.")]


def devices(measure: Measure = False, threads: Threads = 1) -> None:
    """Show this machine; with --measure, its limits, which op tables are then held against."""
    from rich.console import Console

    from nnprof.profiler import bench, roofline
    from nnprof.types import Target

    target = Target(threads=threads)
    environment = bench.probe(target)
    console = Console(highlight=False)
    for part in ("device", "backend"):
        for name, value in environment[part].items():
            console.print(f"{part + ' ' + name:<22} {_text(value)}", markup=False)
    limits = roofline.load(environment, threads)
    if measure:
        limits = roofline.measure(target)
        path = roofline.save(limits, environment, threads)
        sys.stdout.write(f"Kept: {path}\n")
    if limits:
        _print(limits)
    else:
        sys.stdout.write("Limits: not measured; nnprof devices --measure\n")


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {size}" for name, size in value.items())
    return str(value)


def _print(limits: Roofline) -> None:
    sys.stdout.write(f"{'peak':<22} {limits.flops_per_s / 1e9:.1f} GFLOP/s\n")
    for size, rate in limits.bandwidths:
        name = f"stream of {size / 2**20:.3g} MiB"
        sys.stdout.write(f"{name:<22} {rate / 1e9:.1f} GB/s\n")
    sys.stdout.write(f"{'launch':<22} {limits.launch_s * 1e6:.2f} µs\n")
