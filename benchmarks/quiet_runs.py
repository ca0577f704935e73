"""What a planted neighbour does to a Run, and what is left of it.

    python benchmarks/quiet_runs.py measure FOLDER KIND [MORE KINDS]
    python benchmarks/quiet_runs.py judge QUIET.json OTHER.json

`measure` takes the cells with the plan of `--quick`, once for each kind of neighbour (`none`, and
those of `quiet.py`), into FOLDER/KIND.json. `judge` holds the second Run against the first: the
ratio of each cell's latency as the samples stand, of their smallest, and less their waits; how wide
the intervals are; and how well the ops add up.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from msgspec.structs import replace
from quiet import neighbour

import nnprof
from nnprof.cli.plans import _words_plan
from nnprof.profiler import checks, stats
from nnprof.profiler.devices import linux
from nnprof.types import Measurement, Run

NETWORKS = ("mattsson(conv=1, fc=1)", "mattsson(conv=3, fc=2)", "1x28x28 fc500 fc300 fc100 fc10",
            "1x28x28 conv12k3 conv24k3 pool2 fc64 fc10")  # fmt: skip
BATCHES = (1, 16, 128)


def _bare(measurement: Measurement) -> Measurement:
    """Without what is known of waits: the samples as they stand."""
    processes = tuple(replace(process, waited_s=()) for process in measurement.processes)
    return replace(measurement, processes=processes)


def _smallest_s(measurement: Measurement) -> float:
    return median(min(samples) for samples in measurement.samples_s)


LATENCIES: dict[str, Callable[[Measurement], float]] = {
    "as they stand": lambda one: stats.latency_s(_bare(one)),
    "smallest": _smallest_s,
    "smallest less waits": lambda one: median(map(min, stats.undisturbed_s(one))),
    "less waits": stats.latency_s,
}
WIDTHS: dict[str, Callable[[Measurement], float]] = {
    "as they stand": lambda one: stats.relative_half_width(_bare(one)),
    "less waits": stats.relative_half_width,
}


def measure(folder: Path, kinds: Sequence[str]) -> None:
    """A Run beside each kind of neighbour."""
    ours = os.sched_getaffinity(0)
    (processor,) = linux.pinned(1)
    (other, *_) = ours - {processor}
    cells = nnprof.named_cells(NETWORKS, nnprof.Target(), BATCHES)
    for kind in kinds:
        with neighbour(kind, processor, other):
            run, path = nnprof.start(cells, _words_plan(True, False), folder, name=kind)
            for _ in nnprof.sweep(run, path):
                pass
        print(kind, path, {process.processors for one in nnprof.load(path).measurements
                           for process in one.processes})  # fmt: skip


def judge(quiet: Run, other: Run) -> None:
    """Print what is left."""
    pairs = list(zip(quiet.measurements, other.measurements, strict=True))
    for name, read in LATENCIES.items():
        ratios = [read(late) / read(one) for one, late in pairs]
        print(f"latency, {name}: {_words(ratios)}")
    for name, width in WIDTHS.items():
        for which, run in (("quiet", quiet), ("other", other)):
            widths = [width(one) for one in run.measurements]
            print(f"interval, {name}, {which}: ±{median(widths):.1%}, at most ±{max(widths):.1%}")
    for which, run in (("quiet", quiet), ("other", other)):
        sums = [ratio for one in run.measurements if (ratio := checks.ops_over_clean(one))]
        print(f"ops over clean, {which}: {_words(sums) if sums else 'not timed'}")


def _words(ratios: Sequence[float]) -> str:
    near = [sum(abs(one - 1) <= reach for one in ratios) / len(ratios) for reach in (0.02, 0.05)]
    return (
        f"median {median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}; within 2 %: "
        f"{near[0]:.0%}, within 5 %: {near[1]:.0%}, {len(ratios)} cells"
    )


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        measure(Path(sys.argv[2]), sys.argv[3:])
    else:
        judge(nnprof.load(Path(sys.argv[2])), nnprof.load(Path(sys.argv[3])))
