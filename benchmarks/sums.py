"""Do op times add up to the clean time, on runtimes whose ops are timed by one pass alone?

    python benchmarks/sums.py OUT.json [BACKEND …] [--rounds N] [--neighbour]

The cells are those of `fidelity.py` on one thread: six networks at four batches. Beside the sum of
all ops, the call among them, stands what an inference takes while its ops are timed. Prints a table
and the shares that matter, and writes both as JSON. With `--neighbour` another program works in
bursts on the same processor (`quiet.py`).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from typing import Any

import quiet
import ratios
from fidelity import BATCHES, NETWORKS, SECONDS

import nnprof
from nnprof.profiler import stats
from nnprof.profiler.devices import linux
from nnprof.types import Measurement

BACKENDS = ("mnn", "ncnn")


def measure(backend: str, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """All cells of one runtime."""
    cells = nnprof.named_cells(NETWORKS, nnprof.Target(backend=backend), BATCHES)
    plan = nnprof.Plan(
        processes=rounds, max_processes=rounds, sample_s=SECONDS, op_processes=rounds
    )
    run, path = nnprof.start(cells, plan, folder, name=f"sums-{backend}")
    for step in nnprof.sweep(run, path):
        if step.failure:
            print(f"failed: {step.failure}")
    return [row(one) for one in nnprof.load(path).measurements]


def row(measured: Measurement) -> dict[str, Any]:
    """One cell."""
    clean_s = stats.latency_s(measured)
    watched_s = [one.latency_s for one in measured.op_passes if one.method == "runtime"]
    ops = measured.ops.ops if measured.ops else ()
    return {
        "backend": measured.target.backend,
        "network": measured.workload.model.name,
        "batch": measured.workload.batch,
        "clean_us": clean_s * 1e6,
        "ops_over_clean": sum(op.seconds for op in ops) / clean_s if ops else None,
        "watched_over_clean": median(watched_s) / clean_s if watched_s else None,
    }


def main(out: Path, rounds: int, backends: tuple[str, ...], kind: str) -> None:
    """Measure beside a neighbour of that kind, print, write."""
    (processor,) = linux.pinned(1)
    with quiet.neighbour(kind, processor, processor):
        rows = ratios.measured(backends, lambda backend, folder: measure(backend, rounds, folder))
    print(f"{'backend':<8} {'network':<42} {'batch':>5} {'clean µs':>10} Σops/clean  watched")
    for one in rows:
        told = (one["ops_over_clean"], one["watched_over_clean"])
        print(
            f"{one['backend']:<8} {one['network']:<42} {one['batch']:>5} {one['clean_us']:>10.1f}",
            *(f"{'–' if ratio is None else format(ratio, '.3f'):>9}" for ratio in told),
        )
    lines = ratios.by_backend(rows, "ops_over_clean", "Σops/clean")
    ratios.conclude(out, rows, lines, rounds=rounds, neighbour=kind)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("backends", nargs="*", default=BACKENDS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--neighbour", action="store_true")
    asked = parser.parse_args()
    kind = "same" if asked.neighbour else "none"
    main(asked.out, asked.rounds, tuple(asked.backends), kind)
