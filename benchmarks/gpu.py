"""nnprof's times on a GPU beside torch's own timer and Triton's, and its two ways to time ops.

    python benchmarks/gpu.py OUT.json [ROUNDS] [--on gpu|cpu]

The twelve cells of `agreement.py` with the torch backend, each as kernels that are launched one by
one and as one CUDA graph. Each process of nnprof is followed by one of the peers on the same cell:

- `torch.utils.benchmark.Timer`, which waits for the GPU at the end of each block;
- `triton.testing.do_bench`, which empties the GPU's L2 before each inference, so that its time is
  above the others' where weights and tiles would have stayed in there. None without Triton.

Peers run the network as `networks/build.py` makes it. The sums of op times stand beside the clean
time by each method: `runtime` is torch's profiler, which has a GPU's kernels from CUPTI; `isolated`
is each op by itself between CUDA events. With `--on cpu` the same is asked of the processor, which
has neither graphs nor Triton: that tries this file where no GPU is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from agreement import BATCHES, NETWORKS, SECONDS

import nnprof
from nnprof.profiler import stats
from nnprof.types import Measurement

METHODS = ("runtime", "isolated")


def peers(network: str, batch: int, on: str, graphed: bool) -> dict[str, float | None]:
    """Seconds per inference by torch's timer and by Triton's; in a fresh process."""
    import torch
    from torch.utils import benchmark

    from nnprof.networks.build import build
    from nnprof.networks.families import parse_network

    torch.set_num_threads(1)
    device = "cuda" if on == "gpu" else "cpu"
    module = build(parse_network(network)).eval().to(device)
    tiles = torch.randint(0, 256, (batch, 1, 28, 28), device=device).float()
    with torch.inference_mode():
        infer = _graph(module, tiles) if graphed else lambda: module(tiles)
        timer = benchmark.Timer("infer()", globals={"infer": infer}, num_threads=1)
        timer_s = float(timer.blocked_autorange(min_run_time=SECONDS).median)
        return {"timer_s": timer_s, "do_bench_s": _do_bench(infer) if on == "gpu" else None}


def _graph(module: Any, tiles: Any) -> Any:
    """The inference as a captured graph, warmed up on a side stream as torch asks for it."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            module(tiles)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        module(tiles)
    return graph.replay


def _do_bench(infer: Any) -> float | None:
    try:
        from triton.testing import do_bench
    except ImportError:
        return None
    return float(do_bench(infer, rep=int(SECONDS * 1e3), return_mode="median")) / 1e3


def measure(on: str, graphed: bool, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """All cells; each process of nnprof followed by one of the peers."""
    target = nnprof.Target(
        backend="torch",
        device="cuda" if on == "gpu" else "cpu",
        on=on,
        options={"cuda_graph": "1"} if graphed else {},
    )
    plan = nnprof.Plan(
        processes=rounds, max_processes=rounds, sample_s=SECONDS, op_processes=rounds
    )
    cells = nnprof.named_cells(NETWORKS, target, BATCHES)
    run, path = nnprof.start(cells, plan, folder, name=f"gpu-{graphed}")
    theirs: dict[str, list[dict[str, float | None]]] = {cell.key: [] for cell in cells}
    last: dict[str, Measurement] = {}
    for step in nnprof.sweep(run, path):
        if step.failure or step.measurement is None:
            raise SystemExit(f"{step.cell.workload.model.name}: {step.failure}")
        last[step.cell.key] = step.measurement
        theirs[step.cell.key].append(_beside(step.measurement, on, graphed))
    return [row(last[key], graphed, found) for key, found in theirs.items()]


def _beside(measurement: Measurement, on: str, graphed: bool) -> dict[str, float | None]:
    """What the peers say of a cell, on the processors that nnprof's process had."""
    work = measurement.workload
    pinned = ["taskset", "-c", ",".join(map(str, measurement.processes[-1].processors))]
    asked = json.dumps([work.model.name, work.batch, on, graphed])
    done = subprocess.run(
        [*pinned, sys.executable, __file__, "--peers", asked],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, float | None] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(
    measured: Measurement, graphed: bool, theirs: list[dict[str, float | None]]
) -> dict[str, Any]:
    """One cell: the ratio to each peer in each round, and the sum of ops over clean by method."""
    ours = stats.process_medians_s(measured)
    return {
        "network": measured.workload.model.name,
        "batch": measured.workload.batch,
        "cuda_graph": graphed,
        "clean_us": median(ours) * 1e6,
        **{
            f"over_{name}": [
                mine / other[f"{name}_s"]
                for mine, other in zip(ours, theirs, strict=True)
                if other[f"{name}_s"]
            ]
            for name in ("timer", "do_bench")
        },
        **{f"ops_{method}_over_clean": _sums(measured, method) for method in METHODS},
    }


def _sums(measured: Measurement, method: str) -> list[float]:
    clean_s = stats.latency_s(measured)
    return [
        sum(op.seconds for op in one.ops) / clean_s
        for one in measured.op_passes
        if one.method == method
    ]


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Of each ratio its median over cells, its range, and how many cells are within 5 and 10 %."""
    lines = []
    for graphed in dict.fromkeys(one["cuda_graph"] for one in rows):
        for name in ("over_timer", "over_do_bench", *(f"ops_{one}_over_clean" for one in METHODS)):
            own = [median(one[name]) for one in rows if one["cuda_graph"] is graphed and one[name]]
            if not own:
                lines.append(f"cuda_graph={graphed:d} {name}: none")
                continue
            near = [sum(abs(ratio - 1) <= part for ratio in own) for part in (0.05, 0.10)]
            lines.append(
                f"cuda_graph={graphed:d} {name}: median {median(own):.3f}, range {min(own):.3f} "
                f"to {max(own):.3f}, within 5 and 10 %: {near[0]} and {near[1]} of {len(own)}"
            )
    return lines


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("rounds", type=int, nargs="?", default=3)
    parser.add_argument("--on", choices=("gpu", "cpu"), default="gpu")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for graphed in (False, True) if asked.on == "gpu" else (False,):
            rows += measure(asked.on, graphed, asked.rounds, Path(folder))
    lines = summary(rows)
    print("\n".join(lines))
    text = json.dumps({"rounds": asked.rounds, "cells": rows, "summary": lines}, indent=1)
    asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peers"]:
        print(json.dumps(peers(*json.loads(sys.argv[2]))))
    else:
        main()
