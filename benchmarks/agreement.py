"""nnprof's clean time beside each runtime's own benchmark, interleaved, each in fresh processes.

    python benchmarks/agreement.py OUT.json [ROUNDS]

OpenVINO against its `benchmark_app` (synchronous, one stream, the same threads); PyTorch against
`torch.utils.benchmark` on the network as `networks/build.py` makes it from the notation, so not on
the module that nnprof rebuilds from the ONNX file. Each process of nnprof is followed by one of the
peer, on the same processors. Prints a table and writes it as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import nnprof
from nnprof.profiler import stats
from nnprof.types import Cell

NETWORKS = (
    "1x28x28 fc128 fc128 fc10",
    "1x28x28 conv8k5 pool2 conv16k5 pool2 fc64 fc10",
    "mattsson(conv=2, fc=1)",
    "1x28x28 conv12k3 conv24k3 pool2 fc64 fc10",
)
BATCHES = (1, 16, 128)
SECONDS = 0.5  # of samples per process, for both sides


def benchmark_app(job: dict[str, Any]) -> float:
    """Seconds per inference of OpenVINO's own tool: its whole duration over its iterations.

    Taken where it hands them over, since it prints two decimals. Its latency is another quantity:
    the request's own, without the call from Python that both its loop and ours make.
    """
    from openvino.tools.benchmark import benchmark, main

    seconds = []
    loop = benchmark.Benchmark.main_loop

    def listening(self: Any, *arguments: Any) -> Any:
        answer = loop(self, *arguments)
        duration_s, iterations = answer[-2:]
        seconds.append(duration_s / iterations)
        return answer

    benchmark.Benchmark.main_loop = listening
    sys.argv = [
        *("benchmark_app", "-m", job["path"], "-d", "CPU", "-api", "sync", "-hint", "none"),
        *("-nstreams", "1", "-pin", "NO", "-nthreads", str(job["threads"]), "-ip", "f32"),
        *("-infer_precision", "f32", "-t", "1", "-shape", f"tiles[{job['batch']},1,28,28]"),
    ]
    main.main()
    return float(seconds[0])


def torch_benchmark(job: dict[str, Any]) -> float:
    """Median of torch's own timer."""
    import torch
    from torch.utils import benchmark

    from nnprof.networks.build import build
    from nnprof.networks.families import parse_network

    torch.set_num_threads(job["threads"])
    network = build(parse_network(job["network"])).eval()
    tiles = torch.randint(0, 256, (job["batch"], 1, 28, 28)).float()
    with torch.inference_mode():
        timer = benchmark.Timer(
            "network(tiles)",
            globals={"network": network, "tiles": tiles},
            num_threads=job["threads"],
        )
        return float(timer.blocked_autorange(min_run_time=SECONDS).median)


PEERS = {"openvino": benchmark_app, "torch": torch_benchmark}


def peer(name: str, job: dict[str, Any]) -> float:
    """A peer's seconds per inference, from a fresh process pinned as nnprof's was."""
    processors = ",".join(map(str, job["processors"]))
    command = ["taskset", "-c", processors, sys.executable, __file__, "--peer", name]
    done = subprocess.run(
        [*command, json.dumps(job)], capture_output=True, text=True, check=True, env=os.environ
    )
    return float(done.stdout.splitlines()[-1])


def cells_of(backend: str, threads: int) -> tuple[Cell, ...]:
    """Twelve cells."""
    target = nnprof.Target(backend=backend, threads=threads)
    return nnprof.named_cells(NETWORKS, target, BATCHES)


def measure(backend: str, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Rounds of nnprof, each process followed by the peer's on the same cell."""
    plan = nnprof.Plan(
        processes=rounds, max_processes=rounds, sample_s=SECONDS, warmup_s=0.2, op_method="none"
    )
    run, path = nnprof.start(cells_of(backend, 1), plan, folder, name="agreement")
    theirs: dict[str, list[float]] = defaultdict(list)
    last: dict[str, Any] = {}
    for step in nnprof.sweep(run, path):
        if step.failure or step.measurement is None:
            raise SystemExit(f"{step.cell.workload.model.name}: {step.failure}")
        work = step.cell.workload
        job = {
            "path": work.model.path,
            "network": work.model.name,
            "batch": work.batch,
            "threads": step.cell.target.threads,
            "processors": step.measurement.processes[-1].processors,
        }
        theirs[step.cell.key].append(peer(backend, job))
        last[step.cell.key] = step.measurement
    return [row(last[key], theirs[key]) for key in theirs]


def row(measurement: Any, theirs: list[float]) -> dict[str, Any]:
    """One cell: both sides, and the ratio of each round."""
    ours = stats.process_medians_s(measurement)
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return {
        "backend": measurement.target.backend,
        "network": measurement.workload.model.name,
        "batch": measurement.workload.batch,
        "threads": measurement.target.threads,
        "nnprof_ms": median(ours) * 1e3,
        "peer_ms": median(theirs) * 1e3,
        "ratio": median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
    }


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """The figures that the target is about."""
    lines = []
    for backend in PEERS:
        ratios = [one["ratio"] for one in rows if one["backend"] == backend]
        near = sum(abs(ratio - 1) <= 0.05 for ratio in ratios)
        lines.append(
            f"{backend}: median ratio {median(ratios):.3f}, range {min(ratios):.3f} to "
            f"{max(ratios):.3f}, within 5 %: {near} of {len(ratios)} cells"
        )
    return lines


def main(out: Path, rounds: int) -> None:
    """Measure, print, write."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for backend in PEERS:
            rows += measure(backend, rounds, Path(folder))
    print(f"{'backend':<9} {'network':<47} {'batch':>5} {'nnprof ms':>10} {'peer ms':>10} ratio")
    for one in rows:
        print(
            f"{one['backend']:<9} {one['network']:<47} {one['batch']:>5} "
            f"{one['nnprof_ms']:>10.4f} {one['peer_ms']:>10.4f} {one['ratio']:.3f}"
        )
    lines = summary(rows)
    print("\n".join(lines))
    text = json.dumps({"rounds": rounds, "cells": rows, "summary": lines}, indent=1)
    out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--peer":
        print(PEERS[sys.argv[2]](json.loads(sys.argv[3])))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
