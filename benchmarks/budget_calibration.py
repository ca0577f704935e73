"""How often is a verdict about a time budget wrong, and how often is none given?

    python benchmarks/budget_calibration.py [--runs 1000] [--kind NAME]
    python benchmarks/budget_calibration.py --real NETWORK [--batch 1]

Simulated, so that the truth is known: single inferences of several distributions, in processes that
differ by nothing, a little or much, 7 to 14 of them as the plan decides. Each Run is judged against
budgets at several ratios to the true 99th percentile (and median) by the code that judges Runs.
Nothing is timed.

With `--real` a network is measured by nnprof and, in processes in between, by a plain loop of ONNX
Runtime: is the share of deadlines that the loop misses within nnprof's interval, and the reverse?
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import nnprof
from nnprof.profiler import deadlines, shares, stats, tails
from nnprof.types import Plan

Array = NDArray[np.float64]
Random = np.random.Generator

PLAN = Plan()
RATIOS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.001, 1.01, 1.02, 1.05, 1.1, 1.25)
SPREADS = (0.0, 0.005, 0.02)  # of the processes' levels
COUNTS = (50, 200, 1000)  # single inferences of a process
_SETTLING = 50  # steps before a chain is taken


def chain(random: Random, processes: int, count: int, rho: float) -> Array:
    """Normal values whose neighbours have that correlation."""
    fresh = random.normal(size=(processes, count + _SETTLING))
    if rho:
        for at in range(1, count + _SETTLING):
            fresh[:, at] = rho * fresh[:, at - 1] + math.sqrt(1 - rho * rho) * fresh[:, at]
    return fresh[:, _SETTLING:]


def normal(random: Random, processes: int, count: int) -> Array:
    """3 % of log-normal noise, each inference for itself."""
    return 0.03 * chain(random, processes, count, 0.0)


def alike(random: Random, processes: int, count: int) -> Array:
    """The same noise, neighbours correlated by 0.8."""
    return 0.03 * chain(random, processes, count, 0.8)


def heavy(random: Random, processes: int, count: int) -> Array:
    """A tail without a variance: 2 % times a Pareto of exponent 2."""
    return np.log1p(0.02 * random.pareto(2.0, size=(processes, count)))


def bimodal(random: Random, processes: int, count: int) -> Array:
    """Three of ten inferences take 10 % longer."""
    return 0.01 * chain(random, processes, count, 0.0) + 0.1 * (
        random.random((processes, count)) < 0.3
    )


def bursts(random: Random, processes: int, count: int) -> Array:
    """For a fiftieth of the time, some ten inferences in a row, each takes 10 % longer."""
    values = 0.01 * chain(random, processes, count, 0.5)
    chance, slow = random.random((processes, count)), random.random(processes) < 0.02
    for at in range(count):
        slow = np.where(slow, chance[:, at] > 0.1, chance[:, at] < 0.1 * 0.02 / 0.98)
        values[:, at] += 0.1 * slow
    return values


KINDS: dict[str, Callable[[Random, int, int], Array]] = {
    one.__name__: one for one in (normal, alike, heavy, bimodal, bursts)
}


class Truth(NamedTuple):
    """The true median of a typical process, and the 99th percentile of all inferences."""

    median_s: float
    p99_s: float


def truth(kind: str, spread: float) -> Truth:
    """From eight million inferences."""
    random = np.random.default_rng(0)
    within = KINDS[kind](random, 40_000, 200)
    levels = spread * random.normal(size=(40_000, 1))
    median_s = math.exp(float(np.median(within)))
    return Truth(median_s, math.exp(float(np.quantile(within + levels, deadlines.SHARE))))


def a_run(kind: str, spread: float, count: int, random: Random) -> tuple[tails.Tail, list[float]]:
    """One Run: processes until the plan has enough; their single inferences and their medians."""
    most = PLAN.max_processes
    levels = spread * random.normal(size=(most, 1))
    seconds = np.exp(KINDS[kind](random, most, count) + levels)
    medians = np.median(seconds, axis=1).tolist()
    decided = stats.decided_after(medians, PLAN)
    taken = most if decided is None else decided + PLAN.fresh
    level = stats.level_of(medians[:taken], PLAN)
    assert level is not None
    return tails.tail(list(seconds[:taken]), level), medians[:taken]


def words(tail: tails.Tail, medians: Sequence[float], ratio: float, true: Truth) -> tuple[str, str]:
    """The verdicts about the median, and about missed deadlines (which is that about the p99)."""
    bounds = stats.bounds(tail.level, medians)
    assert bounds is not None
    middle = deadlines.claim(shares.Estimate(None, *bounds), ratio * true.median_s)
    return middle.word, deadlines.missed(tail, ratio * true.p99_s).word


class Row(NamedTuple):
    """Of many Runs: the share of wrong verdicts at the worst ratio, and of none, by distance."""

    wrong: float
    at: float
    undecided: dict[float, float]


def rows(kind: str, spread: float, count: int, runs: int) -> tuple[Row, Row]:
    """About the median, and about the 99th percentile."""
    true, found = truth(kind, spread), {ratio: ([], []) for ratio in RATIOS}
    for seed in range(runs):
        tail, medians = a_run(kind, spread, count, np.random.default_rng((seed, count)))
        for ratio in RATIOS:
            for into, word in zip(found[ratio], words(tail, medians, ratio, true), strict=True):
                into.append(word)
    return tuple(_row({ratio: both[index] for ratio, both in found.items()}) for index in (0, 1))


def _row(found: dict[float, list[str]]) -> Row:
    wrongs = {
        ratio: own.count("FITS" if ratio < 1 else "MISSES") / len(own)
        for ratio, own in found.items()
    }
    worst = max(wrongs, key=lambda ratio: wrongs[ratio])
    undecided = {ratio: own.count("UNDECIDED") / len(own) for ratio, own in found.items()}
    return Row(wrongs[worst], worst, undecided)


def simulated(kinds: Sequence[str], runs: int) -> Iterator[str]:
    """The lines of a table."""
    shown = (0.9, 0.98, 1.02, 1.1)
    yield (
        "| distribution | processes differ | inferences each | median: wrong "
        "| p99 and missed: wrong | "
        + " | ".join(f"undecided at {ratio:g}" for ratio in shown)
        + " |"
    )
    yield "| --- " + "| ---: " * (4 + len(shown)) + "|"
    for kind, spread, count in product(kinds, SPREADS, COUNTS):
        middle, slow = rows(kind, spread, count, runs)
        yield (
            f"| {kind} | {spread:.1%} | {count} | {_wrong(middle)} | {_wrong(slow)} | "
            + " | ".join(f"{slow.undecided[ratio]:.0%}" for ratio in shown)
            + " |"
        )


def _wrong(row: Row) -> str:
    return f"{row.wrong:.1%}" + (f" at {row.at:g}" if row.wrong else "")


# --- a real network ------------------------------------------------------------------------------


def loop(job: dict[str, Any]) -> list[float]:
    """Seconds of single inferences in a plain loop, after half a second of warming up."""
    from time import perf_counter

    import onnxruntime

    os.sched_setaffinity(0, job["on"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(job["path"], options, providers=["CPUExecutionProvider"])
    (tensor,) = session.get_inputs()
    shape = [side if isinstance(side, int) else int(job["batch"]) for side in tensor.shape]
    tiles = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input(tensor.name, onnxruntime.OrtValue.ortvalue_from_numpy(tiles))
    (output,) = session.get_outputs()
    binding.bind_output(output.name)
    session.run_with_iobinding(binding)
    binding.bind_ortvalue_output(output.name, binding.get_outputs()[0])
    begin, samples = perf_counter(), []
    while perf_counter() - begin < 0.5:
        session.run_with_iobinding(binding)
    while len(samples) < 2000 and perf_counter() - begin < 2.5:
        start = perf_counter()
        session.run_with_iobinding(binding)
        samples.append(perf_counter() - start)
    return samples


def real(network: str, batch: int) -> None:
    """Processes of nnprof and of the loop in turns; then shares and intervals of both."""
    target = nnprof.named_target("cpu")
    (cell,) = nnprof.named_cells([network], target, [batch])
    job = {"path": cell.workload.model.path, "batch": str(batch)}
    plan = Plan(processes=8, max_processes=8, fresh=0, op_method="none", singles_s=1.0)
    with nnprof.alone(target, print), tempfile.TemporaryDirectory() as folder:
        run, path = nnprof.start([cell], plan, folder)
        peers = [_peer(job, path) for _ in nnprof.sweep(run, path)]
        (measured,) = nnprof.load(path).measurements
    ours = deadlines.tail_of(measured)
    level = stats.level_among([float(np.median(one)) for one in peers])
    assert ours is not None
    assert level is not None
    theirs = tails.tail(peers, level)
    print("| budget | nnprof: missed | 95 % | tight loop: missed | 95 % | holds |")
    print("| ---: " * 6 + "|")
    for share in (0.5, 0.9, 0.95, 0.99):
        limit_s = float(np.quantile(np.concatenate(peers), share))
        a, b = ours.slower(limit_s), theirs.slower(limit_s)
        print(
            f"| {limit_s * 1e6:.1f} µs | {a.value:.2%} | {a.low:.2%} to {a.high:.2%} "
            f"| {b.value:.2%} | {b.low:.2%} to {b.high:.2%} "
            f"| {'yes' if a.low <= b.value <= a.high else 'no'} |"
        )


def _peer(job: dict[str, str], path: Path) -> list[float]:
    """The loop in a process of its own, on the processors that nnprof's workers have."""
    processors = nnprof.load(path).measurements[0].processes[-1].processors
    words = [sys.executable, __file__, "--loop", json.dumps({**job, "on": [*processors]})]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--real", metavar="NETWORK")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--loop", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.loop:
        print(json.dumps(loop(json.loads(given.loop))))
    elif given.real:
        real(given.real, given.batch)
    else:
        for line in simulated(given.kind or list(KINDS), given.runs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
