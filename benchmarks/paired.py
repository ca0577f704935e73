"""Does a paired measurement call 5 %, and nothing where nothing is?

    python benchmarks/paired.py OUT.json FOLDER [--seconds N] [--neighbour]
    python benchmarks/paired.py --simulated

40 cells are chains of 20 like layers (8 widths, 5 batches). Each is held against itself, and
against the chain of 21, which is 5 % more work but for the call and the last layers. FOLDER keeps
the Runs; the program ends after so many seconds and goes on when it is started again. OUT.json gets
the verdicts of the cells that are finished. With --neighbour another program works on the same
processors, in bursts of about 1.5 s with pauses of 3 s, and 4 cells are measured (OUT.json keeps
both). --simulated times nothing: it shows why ratios of pairs are trimmed before they are tested.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
from scipy.stats import t, wilcoxon

import nnprof
from nnprof.profiler import changes, pairs
from nnprof.types import Cell, Plan, Run, Target

WIDTHS = (32, 64, 96, 128, 160, 192, 256, 320)
BATCHES = (1, 4, 16, 64, 128)
DISTURBED = ((128,), (1, 4, 16, 128))  # widths and batches of the cells beside a neighbour
LAYERS = 20
KINDS = {"like": LAYERS, "more": LAYERS + 1}  # layers of side b
PLAN = Plan(
    protocol="pairs", processes=6, max_processes=40, fresh=0, sample_s=0.2, warmup_s=0.05,
    warmup_limit_s=1.0, cell_limit_s=3600.0, op_method="none",
)  # fmt: skip
NOISE, SIMULATED = 0.013, 400


def chain(layers: int, width: int) -> str:
    """So many like layers, and the head that all have."""
    return f"1x28x28 fc{width} " + f"fc{width} " * layers + "fc10"


def cells(layers: int, widths: Sequence[int], batches: Sequence[int]) -> tuple[Cell, ...]:
    """One side: the chains of so many layers."""
    return nnprof.named_cells([chain(layers, width) for width in widths], Target(), batches)


def measured(folder: Path, kind: str, shape: tuple[Sequence[int], ...], until_s: float) -> Path:
    """A Run of this kind, gone on with until it is finished or the time is over."""
    found = sorted((folder / kind).glob("*-a-*.json"))
    if found:
        path = found[0]
        run = nnprof.resume(path)
    else:
        sides = cells(LAYERS, *shape), cells(KINDS[kind], *shape)
        run, path = nnprof.start_pairs(sides, PLAN, folder / kind, name=kind)
    for step in nnprof.sweep(run, path):
        if time.monotonic() > until_s:
            print(f"{kind}: {step.finished} of {step.total}, {step.left_s:.0f} s left")
            break
    return path


def verdicts(path: Path) -> dict[str, Any]:
    """What is said of the finished cells of a Run, and how it was."""
    before, after = nnprof.load_sides(path)
    found = nnprof.compare(before, after)
    counts = [cell.pairs or 0 for cell in found.cells]
    walls = [one.wall_s for run in (before, after) for m in run.measurements for one in m.processes]
    return {
        "cells": len(found.cells),
        "verdicts": dict(Counter(cell.verdict for cell in found.cells)),
        "geometric_mean": found.geometric_mean,
        "ratios": sorted(round(cell.ratio, 4) for cell in found.cells),
        "pairs": {"median": median(counts), "most": max(counts)},
        "needed_for_3_percent": median(cell.needed or math.inf for cell in found.cells),
        "process_wall_s": fmean(walls),
        "spread": {"levels": _spread(before, _of_levels), "medians": _spread(before, _of_medians)},
        "welch": _welch(before, after),
    }


def _of_levels(run: Run) -> Iterator[Sequence[float]]:
    for one in run.measurements:
        yield [*pairs.levels_s(one).values()]


def _of_medians(run: Run) -> Iterator[Sequence[float]]:
    for one in run.measurements:
        yield [median(samples) for samples in one.samples_s]


def _spread(run: Run, of: Callable[[Run], Iterator[Sequence[float]]]) -> float:
    """Between the processes of one side, standard deviation of the logarithms, median of cells."""
    return median(stdev(map(math.log, values)) for values in of(run) if len(values) > 1)


def _welch(before: Run, after: Run) -> dict[str, int]:
    """The verdicts of the same processes had they not been paired: medians, Welch's t, 1 %."""
    both = zip(before.measurements, after.measurements, strict=False)
    done = [(old, new) for old, new in both if old.finished and new.finished]
    differs = [changes.apart(old, new) for old, new in done]
    sure = changes.holm([changes.doubt(one) for one in differs])
    return dict(Counter(changes.verdict(d, sure=s) for d, s in zip(differs, sure, strict=True)))


@contextmanager
def neighbour(*, works: bool) -> Iterator[None]:
    """Another program on the same processors, in bursts, for as long as the block."""
    if not works:
        yield
        return
    other = subprocess.Popen([sys.executable, __file__, "--be-neighbour"])
    try:
        yield
    finally:
        other.terminate()
        other.wait()


def be_neighbour() -> None:
    """Work and rest in turns, for times that nobody can foresee."""
    drawn, values = random.Random(1), np.random.default_rng(1).random(1 << 20)  # noqa: S311
    while True:
        end_s = time.monotonic() + drawn.expovariate(1 / 1.5)
        while time.monotonic() < end_s:
            values = np.sqrt(values * values + 1e-9)
        time.sleep(drawn.expovariate(1 / 3.0))


def simulated() -> None:
    """How often each test calls cells whose pairs are disturbed, as one of 40; after how many."""
    draws = np.random.default_rng(0)
    looks = pairs.looks(PLAN)
    for share in (0.0, 0.05, 0.15, 0.3):
        for change in (0.0, 0.03, 0.05):
            for name, doubt in DOUBTS.items():
                found = [
                    _called(_logs(draws, change, share), looks, doubt) for _ in range(SIMULATED)
                ]
                words = dict(Counter(word for word, _ in found))
                mean = fmean(count for _, count in found)
                print(f"{share:4.0%} off, {change:+.0%}, {name:9}: {words}, {mean:.1f} pairs")


def _logs(draws: np.random.Generator, change: float, share: float) -> np.ndarray:
    """Log ratios of the most pairs, of which a share is far off for a neighbour on one side."""
    count = PLAN.max_processes
    far = draws.choice([-1, 1], count) * draws.uniform(0.2, 0.9, count)
    off = np.where(draws.random(count) < share, far, 0.0)
    return math.log1p(change) + draws.normal(0, NOISE, count) + off


def _student(logs: np.ndarray) -> float:
    error = logs.std(ddof=1) / math.sqrt(len(logs))
    return float(t.sf(logs.mean() / error, len(logs) - 1))


def _ranks(logs: np.ndarray) -> float:
    return float(wilcoxon(logs, alternative="greater", method="exact").pvalue)


def _trimmed(logs: np.ndarray) -> float:
    change = changes.trimmed([*logs])
    return float(t.sf(change.difference / change.error, change.freedom))


# One-sided p of "the centre is at most 0".
DOUBTS = {"student": _student, "wilcoxon": _ranks, "trimmed": _trimmed}


def _called(
    logs: np.ndarray, looks: Sequence[int], doubt: Callable[[np.ndarray], float]
) -> tuple[str, int]:
    """The word at the first look that gives one, as one of 40 cells, and the pairs it took."""
    tolerance, same = (math.log1p(one) for one in (changes.TOLERANCE_PAIRED, changes.SAME_PAIRED))
    level = changes.ERROR / len(looks)
    for count in looks:
        some = logs[:count]
        up, down = doubt(some - tolerance), doubt(-some - tolerance)
        if min(up, down) <= level / 40:
            return ("SLOWER" if up < down else "FASTER"), count
        if max(doubt(same - some), doubt(some + same)) <= level:
            return "SAME", count
    return "AMBIGUOUS", looks[-1]


def main() -> None:
    """Measure for a while, then say what is known so far."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=270.0)
    for flag in ("--neighbour", "--simulated", "--be-neighbour"):
        parser.add_argument(flag, action="store_true")
    asked = parser.parse_args()
    if asked.be_neighbour:
        be_neighbour()
    elif asked.simulated:
        simulated()
    else:
        until_s = time.monotonic() + asked.seconds
        word = "neighbour" if asked.neighbour else "quiet"
        known = json.loads(asked.out.read_text()) if asked.out.exists() else {}
        known.setdefault(word, {})
        with neighbour(works=asked.neighbour):
            for kind in KINDS:
                shape = DISTURBED if asked.neighbour else (WIDTHS, BATCHES)
                path = measured(asked.folder / word, kind, shape, until_s)
                if any(one.finished for one in nnprof.load(path).measurements):
                    known[word][kind] = verdicts(path)
                    print(word, kind, json.dumps(known[word][kind]))
                    asked.out.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
