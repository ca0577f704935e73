"""What makes processes of one cell differ: their layout, or the moment?

    python benchmarks/quiet.py OUT.json [--neighbour none|same|other|memory]

Several processes of the same cell are alive at once and take turns on one processor, in shuffled
rounds. What belongs to a process (where its memory lies) is then seen apart from what belongs to a
moment (a neighbour, the host's clock): the logarithms are split into the effect of the process, of
the round, and a rest. Variants of how a process is started say what a layout consists of. In each
turn probes of fixed work run before and after the network; the table says how much of the spread
is left when the network's time is divided by each of them. A planted neighbour works in bursts.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median, stdev, variance
from typing import Any, NamedTuple

NETWORKS = (("mattsson(conv=2, fc=1)", 1), ("mattsson(conv=2, fc=1)", 64),
            ("1x28x28 fc1500 fc1000 fc10", 1), ("mattsson(conv=2, fc=3, depth=40)", 16),
            ("", 1))  # fmt: skip
# What a process is started with: glibc's tunables, and whether its addresses are random.
VARIANTS: dict[str, tuple[dict[str, str], bool]] = {
    "as it is": ({}, True),
    "fixed addresses": ({}, False),
    "huge pages": ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}, True),
    "no mmap": ({"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TOP_PAD_": "67108864"}, True),
}
_PROCESSES, _ROUNDS = 6, 24
_SAMPLE_S, _SAMPLES = 0.003, 4
_FIXED = 0x0040000  # ADDR_NO_RANDOMIZE of personality(2)
_BURST_S = 0.4


# --- one process: probes, network, probes; a line for each turn -----------------------------------


def _probes() -> dict[str, Callable[[], object]]:
    """Fixed work of several kinds, each about half a millisecond: by name a call."""
    import numpy as np

    small = np.ones((64, 64), np.float32)
    far = np.ones(1 << 20, np.float32)  # 4 MB: beyond the core's own caches
    out = np.empty_like(small)

    def products() -> None:
        for _ in range(40):
            np.matmul(small, small, out)

    def memory() -> None:
        for _ in range(2):
            far.sum()

    def loop() -> None:
        for _ in range(15000):
            pass

    return {"products": products, "memory": memory, "loop": loop}


def _timed_s(work: Callable[[], object]) -> float:
    work()  # the others have emptied its caches
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _stolen_s() -> float:
    with Path("/proc/stat").open(encoding="ascii") as file:
        return int(file.readline().split()[8]) / 100


_COUNTERS = ("switches", "cpu_s", "waited_s")


def _counters() -> tuple[float, ...]:
    """Involuntary switches so far, seconds on a processor, and seconds of waiting for one."""
    waited = int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) * 1e-9
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw, time.thread_time(), waited


def serve(job: dict[str, Any]) -> None:
    """Open the network, then answer each line with a turn's times."""
    os.sched_setaffinity(0, {job["processor"]})  # first: numpy makes a thread for each it sees
    import msgspec

    from nnprof import registry
    from nnprof.exporters.probes import identity_model
    from nnprof.types import Target, Workload

    backend, small = registry.find("backend", "onnxruntime"), identity_model()
    work = msgspec.convert(job["workload"], Workload)
    session = backend.open(work, Target())
    network, call = session.sample, backend.open(Workload(model=small, batch=1), Target()).sample
    probes = {**_probes(), "call": lambda: call(100)}
    network(1)
    loops = max(1, math.ceil(_SAMPLE_S / min(network(1) for _ in range(5))))
    for _ in sys.stdin:
        before = {name: _timed_s(probe) for name, probe in probes.items()}
        network(max(1, loops // 4))
        stolen, turn = _stolen_s(), {"samples": [], "switches": [], "cpu_s": [], "waited_s": []}
        for _ in range(_SAMPLES):
            before_sample = _counters()
            turn["samples"].append(network(loops) / loops)
            for name, one, two in zip(_COUNTERS, before_sample, _counters(), strict=True):
                turn[name].append(two - one if name == "switches" else (two - one) / loops)
        turn["stolen_s"] = _stolen_s() - stolen
        after = {name: _timed_s(probe) for name, probe in probes.items()}
        turn["probes"] = {name: (before[name] + after[name]) / 2 for name in probes}
        print(json.dumps(turn), flush=True)


# --- neighbours -----------------------------------------------------------------------------------


def disturb(processor: int, kind: str) -> None:
    """Work in bursts: arithmetic, or passes over memory that the last cache does not hold."""
    import numpy as np

    os.sched_setaffinity(0, {processor})
    one, two = np.ones(1 << 25, np.float32), np.ones(1 << 25, np.float32)
    draw = random.Random(0)  # noqa: S311  repeatable, not secret
    while True:
        end = time.monotonic() + draw.uniform(0.2, 2) * _BURST_S
        while time.monotonic() < end:
            if kind == "memory":
                np.copyto(one, two)
            else:
                sum(range(2000))
        time.sleep(draw.uniform(0.2, 2) * _BURST_S)


@contextmanager
def neighbour(kind: str, processor: int, other: int) -> Iterator[None]:
    """A planted neighbour while the context lasts."""
    if kind == "none":
        yield
        return
    where = processor if kind == "same" else other
    command = [sys.executable, __file__, "--disturb", str(where), kind]
    with subprocess.Popen(command) as process:
        try:
            time.sleep(0.5)
            yield
        finally:
            process.kill()


# --- all of them ----------------------------------------------------------------------------------


def _start(job: dict[str, Any], variant: str) -> subprocess.Popen[str]:
    more, random_addresses = VARIANTS[variant]

    def fix() -> None:
        ctypes.CDLL(None).personality(_FIXED)

    return subprocess.Popen(
        [sys.executable, __file__, "--serve", json.dumps(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **more},
        preexec_fn=None if random_addresses else fix,  # noqa: PLW1509  no threads yet
    )


def turns(job: dict[str, Any], variants: list[str]) -> dict[str, list[list[dict[str, Any]]]]:
    """By variant, by process, its turns; processes of all variants take them in shuffled rounds."""
    alive = [(variant, _start(job, variant)) for variant in variants for _ in range(_PROCESSES)]
    found: list[list[dict[str, Any]]] = [[] for _ in alive]
    try:
        for number in range(_ROUNDS + 2):
            order = list(range(len(alive)))
            random.Random(number).shuffle(order)  # noqa: S311
            for index in order:
                stdin, stdout = alive[index][1].stdin, alive[index][1].stdout
                assert stdin
                assert stdout
                stdin.write("\n")
                stdin.flush()
                turn = json.loads(stdout.readline())
                if number >= 2:  # the first are cold
                    found[index].append({**turn, "at_s": time.monotonic()})
    finally:
        for _, process in alive:
            process.kill()
            process.wait()
    return {
        variant: [own for (name, _), own in zip(alive, found, strict=True) if name == variant]
        for variant in variants
    }


def _whole(turn: dict[str, Any]) -> list[float]:
    """The samples that nobody interrupted; all where each was."""
    pairs = zip(turn["samples"], turn["switches"], strict=True)
    return [one for one, switches in pairs if not switches] or turn["samples"]


def _less(turn: dict[str, Any]) -> list[float]:
    return [one - wait for one, wait in zip(turn["samples"], turn["waited_s"], strict=True)]


# How a turn is read: one number of it.
READINGS: dict[str, Callable[[dict[str, Any]], float]] = {
    "median": lambda turn: median(turn["samples"]),
    "smallest": lambda turn: min(turn["samples"]),
    "whole": lambda turn: median(_whole(turn)),
    "cpu time": lambda turn: median(turn["cpu_s"]),
    "less waiting": lambda turn: median(_less(turn)),
    "/ products": lambda turn: median(turn["samples"]) / turn["probes"]["products"],
    "/ memory": lambda turn: median(turn["samples"]) / turn["probes"]["memory"],
    "/ loop": lambda turn: median(turn["samples"]) / turn["probes"]["loop"],
    "/ call": lambda turn: median(turn["samples"]) / turn["probes"]["call"],
}


class Split(NamedTuple):
    """Standard deviations of the logarithm: of processes, of rounds, of the rest."""

    process: float
    round: float
    rest: float


def split(table: list[list[float]]) -> Split:
    """Two-way analysis of variance of logarithms, one value for each process and round."""
    logs = [[math.log(value) for value in own] for own in table]
    grand = fmean(map(fmean, logs))
    rows = [fmean(own) - grand for own in logs]
    columns = [fmean(column) - grand for column in zip(*logs, strict=True)]
    rests = [
        value - grand - row - column
        for own, row in zip(logs, rows, strict=True)
        for value, column in zip(own, columns, strict=True)
    ]
    rest2 = sum(map(math.prod, zip(rests, rests, strict=True))) / (
        (len(rows) - 1) * (len(columns) - 1)
    )
    process2 = variance(rows) - rest2 / len(columns)
    round2 = variance(columns) - rest2 / len(rows)
    return Split(*(math.sqrt(max(0.0, value)) for value in (process2, round2, rest2)))


def slope(table: list[list[dict[str, Any]]], probe: str) -> float:
    """By how much the network's logarithm follows the probe's, within processes."""
    pairs = []
    for own in table:
        xs = [math.log(turn["probes"][probe]) for turn in own]
        ys = [math.log(median(turn["samples"])) for turn in own]
        pairs += [(x - fmean(xs), y - fmean(ys)) for x, y in zip(xs, ys, strict=True)]
    return sum(x * y for x, y in pairs) / sum(x * x for x, _ in pairs)


def rows_of(network: str, found: dict[str, list[list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """What the table shows, for each variant: the split of what each way of reading leaves."""
    rows = []
    for variant, table in found.items():
        every = [turn for own in table for turn in own]
        row: dict[str, Any] = {"network": network, "variant": variant}
        row["us"] = median(median(turn["samples"]) for turn in every) * 1e6
        row["switched"] = fmean(count > 0 for turn in every for count in turn["switches"])
        row["stolen"] = fmean(turn["stolen_s"] > 0 for turn in every)
        row["left"] = {
            name: (split([[read(turn) for turn in own] for own in table]), _levels(table, read))
            for name, read in READINGS.items()
        }
        row["follows"] = {probe: slope(table, probe) for probe in every[0]["probes"]}
        rows.append(row)
    return rows


def _levels(table: list[list[dict[str, Any]]], read: Callable[[dict[str, Any]], float]) -> float:
    """Standard deviation of the processes' medians, and the median of all relative to the rest."""
    return stdev(math.log(median(map(read, own))) for own in table)


def show(row: dict[str, Any]) -> Iterator[str]:
    """Lines of the table, in percent."""
    follows = " ".join(f"{name} {value:.2f}" for name, value in row["follows"].items())
    yield (
        f"{row['network']}, {row['variant']}: {row['us']:.1f} us, {row['switched']:.0%} of the "
        f"samples preempted, {row['stolen']:.0%} of the turns stolen; follows {follows}"
    )
    for name, (parts, levels) in row["left"].items():
        yield f"   {name:<12}" + "".join(f"{100 * value:8.2f}" for value in (*parts, levels))


def main() -> None:
    """Measure, print, write."""
    import msgspec

    import nnprof
    from nnprof.exporters.probes import identity_model
    from nnprof.types import Workload

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--neighbour", default="none")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--networks", default=",".join(map(str, range(len(NETWORKS)))))
    asked = parser.parse_args()
    processor, other = max(os.sched_getaffinity(0)), min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {other})
    kept = []
    print("standard deviations in %: of processes, rounds, the rest, the processes' medians")
    with neighbour(asked.neighbour, processor, other):
        for network, batch in (NETWORKS[int(index)] for index in asked.networks.split(",")):
            work = Workload(model=identity_model(), batch=1)
            if network:
                (cell,) = nnprof.named_cells((network,), nnprof.Target(), (batch,))
                work = cell.workload
            job = {"processor": processor, "workload": msgspec.to_builtins(work)}
            found = turns(job, asked.variants.split(","))
            for row in rows_of(f"{network or 'one call'} {batch}", found):
                print("\n".join(show(row)), flush=True)
            kept.append({"network": network, "batch": batch, "turns": found})
    asked.out.write_text(json.dumps(kept), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(json.loads(sys.argv[2]))
    elif sys.argv[1] == "--disturb":
        disturb(int(sys.argv[2]), sys.argv[3])
    else:
        main()
