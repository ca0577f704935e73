"""Do intervals hold, and do comparisons cry wolf?

    python benchmarks/verdicts.py OUT.json
    python benchmarks/verdicts.py OUT.json --real

Simulated cells come from the `fake` backend through the same code as real ones (noise of samples
that are correlated, a level of each process, no drift). With --real, 40
real cells are measured twice instead, in six minutes, and their pairs are added to OUT.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import nnprof
from nnprof.networks import bundled
from nnprof.profiler import stats
from nnprof.profiler.backends.fake import BACKEND
from nnprof.profiler.compare import compare
from nnprof.profiler.timing import sample
from nnprof.types import (
    Cell,
    Measurement,
    Plan,
    Process,
    Reading,
    Run,
    Study,
    Target,
    Workload,
)

NOISE = {"noise": "0.02", "process": "0.01", "correlation": "0.8"}
PLAN = Plan(sample_s=0.2, warmup_s=0.02, op_method="none")
MODEL = nnprof.load_model(bundled.model_path())
BATCH = 16
CELLS, PAIRS = 600, 200
NETWORKS = (
    "mattsson(conv=1, fc=1)",
    "mattsson(conv=2, fc=1)",
    "mattsson(conv=3, fc=3, depth=10)",
    "mattsson(conv=1, fc=3, neurons=512)",
    "1x28x28 fc128 fc128 fc10",
    "1x28x28 fc500 fc300 fc100 fc10",
    "1x28x28 conv12k3 conv24k3 pool2 fc64 fc10",
    "1x28x28 conv8k5 pool2 conv16k5 pool2 fc64 fc10",
)
REAL_BATCHES = (1, 4, 16, 64, 128)
REAL_PLAN = Plan(processes=5, max_processes=5, sample_s=0.4, op_method="none")


def cell(seed: int, processes: int, speed: float = 1.0) -> Measurement:
    """One simulated cell; every process has a seed of its own."""
    target = Target(backend="fake", options={**NOISE, "speed": str(speed)})
    passes = [
        sample.clean_pass(
            BACKEND.open(Workload(model=MODEL, batch=BATCH, seed=1000 * seed + index), target), PLAN
        )
        for index in range(processes)
    ]
    empty = Reading()
    return Measurement(
        workload=Workload(model=MODEL, batch=BATCH, seed=seed),
        target=target,
        plan=PLAN,
        clock="fake",
        samples_s=tuple(one.samples_s for one in passes),
        warmups_s=tuple(one.warmups_s for one in passes),
        processes=tuple(
            Process(
                round=index, processors=(0,), loops=one.loops, state="steady", floor_s=1e-6,
                open_s=0.0, timed_s=one.timed_s, wall_s=one.timed_s, before=empty, after=empty,
            )
            for index, one in enumerate(passes)
        ),
        stopped="processes",
    )  # fmt: skip


def truth_s() -> float:
    """What a cell takes without any noise."""
    plain = Target(backend="fake")
    return BACKEND.open(Workload(model=MODEL, batch=BATCH), plain).sample(1)


def coverage() -> list[dict[str, Any]]:
    """Share of cells whose interval holds the truth, by the number of processes."""
    true_s, rows = truth_s(), []
    for processes in range(3, 11):
        hits = 0
        for index in range(CELLS):
            bounds = stats.interval_s(cell(100_000 * processes + index, processes))
            hits += bounds is not None and bounds[0] <= true_s <= bounds[1]
        rows.append({"processes": processes, "cells": CELLS, "coverage": hits / CELLS})
    return rows


def run_of(measurement: Measurement) -> Run:
    """A Run of a single cell."""
    one = Cell(workload=measurement.workload, target=measurement.target)
    study = Study(name="v", command=(), created="", plan=PLAN, cells=(one,))
    return Run(study=study, environment={}, measurements=(measurement,))


def called(change: float, processes: int) -> dict[str, Any]:
    """How pairs of which the second is slower by `change` are called."""
    verdicts = []
    for index in range(PAIRS):
        before = run_of(cell(2_000_000 + index, processes))
        after = run_of(cell(3_000_000 + index, processes, speed=1 / (1 + change)))
        verdicts.append(compare(before, after).cells[0].verdict)
    counts = {name: verdicts.count(name) for name in sorted(set(verdicts))}
    return {"change": change, "processes": processes, "pairs": PAIRS, "verdicts": counts}


def real(folder: Path) -> dict[str, Any]:
    """Two real Runs of the same cells, one after the other, and how their pairs are called."""
    cells = nnprof.named_cells(NETWORKS, Target(), REAL_BATCHES)
    runs = []
    for name in ("before", "after"):
        run, path = nnprof.start(cells, REAL_PLAN, folder, name=name)
        for _ in nnprof.sweep(run, path):
            pass
        runs.append(nnprof.load(path))
    found = compare(*runs)
    verdicts = [one.verdict for one in found.cells]
    return {
        "pairs": len(verdicts),
        "verdicts": {name: verdicts.count(name) for name in sorted(set(verdicts))},
        "geometric_mean": found.geometric_mean,
    }


def main(out: Path, *, measured: bool) -> None:
    """Simulate, or measure two Runs; print, write."""
    if measured:
        result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            result["real"] = real(Path(folder))
        print(f"real: {result['real']}")
    else:
        result = simulated()
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def simulated() -> dict[str, Any]:
    """Coverage of intervals, and verdicts on pairs."""
    result: dict[str, Any] = {"noise": NOISE, "coverage": coverage()}
    for one in result["coverage"]:
        print(f"{one['processes']:>3} processes: {one['coverage']:.1%} of {one['cells']} intervals")
    result["called"] = [
        called(change, processes) for processes in (5, 10) for change in (0.0, 0.05, 0.10)
    ]
    for one in result["called"]:
        print(f"{one['change']:+.0%}, {one['processes']} processes: {one['verdicts']}")
    return result


if __name__ == "__main__":
    main(Path(sys.argv[1]), measured="--real" in sys.argv)
