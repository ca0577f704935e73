"""nnprof beside its peers on the same cells, interleaved, each in fresh processes.

    python benchmarks/fidelity.py OUT.json [ROUNDS]

Peers: a hand-written tight loop over the same session; MLPerf LoadGen, single stream (where
`mlcommons-loadgen` is installed); ONNX Runtime's own profiler, in nnprof's separate pass. After
each of nnprof's processes the peers measure the same cell, pinned to the same processors. Prints a
table and the shares that matter, writes both as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import ratios

import nnprof
from nnprof.exporters.probes import identity_model
from nnprof.profiler import inputs, stats
from nnprof.types import Cell, Measurement, Workload

NETWORKS = (
    "mattsson(conv=1, fc=1)",
    "mattsson(conv=3, fc=1)",
    "mattsson(conv=2, fc=3, depth=40)",
    "1x28x28 fc128 fc128 fc10",
    "1x28x28 fc500 fc300 fc100 fc10",
    "1x28x28 conv12k3 conv24k3 pool2 fc64 fc10",
)
BATCHES = (1, 16, 128, 1024)
THREADS = (1, 2)
SECONDS = 0.4  # of samples per process, for every side


# --- peers, each run as `python fidelity.py --peer NAME JOB` in a process of its own --------------


def session_of(job: dict[str, Any]) -> tuple[Any, Any]:
    """An ONNX Runtime session and its binding, as a careful user would write them."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(job["path"], options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    with np.load(job["data"]) as arrays:
        for name in arrays.files:
            binding.bind_ortvalue_input(
                name, onnxruntime.OrtValue.ortvalue_from_numpy(arrays[name])
            )
    for output in session.get_outputs():
        binding.bind_output(output.name)
    session.run_with_iobinding(binding)
    for output, value in zip(session.get_outputs(), binding.get_outputs(), strict=True):
        binding.bind_ortvalue_output(output.name, value)
    return session, binding


def tight(job: dict[str, Any]) -> float:
    """Seconds per inference of a plain loop: warm up for a while, then the median of samples."""
    from time import perf_counter

    session, binding = session_of(job)
    start = perf_counter()
    count = 0
    while perf_counter() - start < 0.3 or count < 3:
        session.run_with_iobinding(binding)
        count += 1
    each = (perf_counter() - start) / count
    loops = max(1, int(0.01 / each))
    samples = []
    begin = perf_counter()
    while perf_counter() - begin < SECONDS or len(samples) < 5:
        start = perf_counter()
        for _ in range(loops):
            session.run_with_iobinding(binding)
        samples.append((perf_counter() - start) / loops)
    return median(samples)


def loadgen(job: dict[str, Any]) -> float:
    """Median latency that LoadGen reports for a single stream."""
    import mlperf_loadgen as lg

    session, binding = session_of(job)
    for _ in range(5):
        session.run_with_iobinding(binding)

    def issue(samples: Any) -> None:
        for sample in samples:
            session.run_with_iobinding(binding)
            lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0)])

    settings = lg.TestSettings()
    settings.scenario = lg.TestScenario.SingleStream
    settings.mode = lg.TestMode.PerformanceOnly
    settings.single_stream_expected_latency_ns = 1_000_000
    settings.min_duration_ms = int(SECONDS * 1e3)
    settings.min_query_count = 10
    with tempfile.TemporaryDirectory() as folder:
        output = lg.LogOutputSettings()
        output.outdir = folder
        log = lg.LogSettings()
        log.log_output = output
        system = lg.ConstructSUT(issue, lambda: None)
        library = lg.ConstructQSL(1, 1, lambda _: None, lambda _: None)
        lg.StartTestWithLogSettings(system, library, settings, log)
        lg.DestroyQSL(library)
        lg.DestroySUT(system)
        summary = Path(folder, "mlperf_log_summary.txt").read_text(encoding="utf-8")
    (line,) = (line for line in summary.splitlines() if line.startswith("50.00 percentile"))
    return float(line.split(":")[1]) * 1e-9


PEERS = {"tight": tight, "loadgen": loadgen}


def peer(name: str, job: dict[str, Any]) -> float | None:
    """A peer's seconds per inference from a fresh process pinned as nnprof's; None without it."""
    processors = ",".join(map(str, job["processors"]))
    command = ["taskset", "-c", processors, sys.executable, __file__, "--peer", name]
    done = subprocess.run([*command, json.dumps(job)], capture_output=True, text=True, check=False)
    return float(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


# --- the comparison -------------------------------------------------------------------------------


def job_of(cell: Cell, folder: Path, processors: tuple[int, ...]) -> dict[str, Any]:
    """What a peer needs: the file, the tiles, threads and processors."""
    import numpy as np

    data = folder / f"{cell.workload.model.sha256[:12]}-{cell.workload.batch}.npz"
    if not data.exists():
        np.savez(data, **inputs.make(cell.workload))
    return {
        "path": cell.workload.model.path,
        "data": str(data),
        "threads": cell.target.threads,
        "processors": processors,
    }


def measure(threads: int, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """All cells at one number of threads, nnprof and peers in turn."""
    target = nnprof.Target(threads=threads)
    cells = nnprof.named_cells(NETWORKS, target, BATCHES)
    plan = nnprof.Plan(
        processes=rounds, max_processes=rounds, sample_s=SECONDS, op_processes=rounds
    )
    run, path = nnprof.start(cells, plan, folder, name=f"fidelity-{threads}")
    others: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for step in nnprof.sweep(run, path):
        if step.measurement is None:
            print(f"failed: {step.failure}", file=sys.stderr)
            continue
        job = job_of(step.cell, folder, step.measurement.processes[-1].processors)
        for name in PEERS:
            seconds = peer(name, job)
            if seconds is not None:
                others[step.cell.key][name].append(seconds)
    identity = Cell(workload=Workload(model=identity_model(), batch=1), target=target)
    floor_job = job_of(identity, folder, run_processors(nnprof.load(path)))
    floors = {name: peer(name, floor_job) for name in PEERS}
    return [
        row(m, others[Cell(workload=m.workload, target=m.target).key], floors)
        for m in nnprof.load(path).measurements
    ]


def run_processors(run: nnprof.Run) -> tuple[int, ...]:
    """Where nnprof pinned its workers."""
    return run.measurements[0].processes[0].processors


def row(
    m: Measurement, others: dict[str, list[float]], floors: dict[str, float | None]
) -> dict[str, Any]:
    """One cell: ratios pair by pair, their median and spread; sums of ops over the clean time."""
    own = stats.process_medians_s(m)
    floor_s = median(process.floor_s for process in m.processes)
    clean_s = stats.latency_s(m)
    profiler = [one for one in m.op_passes if one.method == "runtime"]
    result: dict[str, Any] = {
        "network": m.workload.model.name,
        "batch": m.workload.batch,
        "threads": m.target.threads,
        "clean_ms": clean_s * 1e3,
        "ops_over_clean": sum(op.seconds for op in m.ops.ops) / clean_s if m.ops else None,
        "profiler_over_clean": median(
            sum(op.seconds for op in one.ops) / clean_s for one in profiler
        ),
        "profiled_latency_over_clean": median(one.latency_s for one in profiler) / clean_s,
    }
    for name, values in others.items():
        less = floors[name] if name == "loadgen" else None
        each = [
            (mine - floor_s) / (theirs - less) if less is not None else mine / theirs
            for mine, theirs in zip(own, values, strict=True)
        ]
        result[f"over_{name}"] = median(each)
        result[f"over_{name}_range"] = [min(each), max(each)]
    return result


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """The figures that the targets are about, of the cells that have them."""
    return [
        f"{key:<22} {ratios.words([one[key] for one in rows if one.get(key) is not None])}"
        for key in ("over_tight", "over_loadgen", "ops_over_clean", "profiler_over_clean")
    ]


def main(out: Path, rounds: int) -> None:
    """Measure, print, write."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for threads in THREADS:
            rows += measure(threads, rounds, Path(folder))
    heads = ("tight", "loadgen", "Σops/clean", "profiler")
    print(f"{'network':<42} {'batch':>5} {'thr':>3} {'clean ms':>9}", *(f"{h:>10}" for h in heads))
    for one in rows:
        values = (
            one.get("over_tight"), one.get("over_loadgen"),
            one["ops_over_clean"], one["profiler_over_clean"],
        )  # fmt: skip
        print(
            f"{one['network']:<42} {one['batch']:>5} {one['threads']:>3} {one['clean_ms']:>9.4f}",
            *(f"{value:>10.3f}" if value is not None else f"{'–':>10}" for value in values),
        )
    ratios.conclude(out, rows, summary(rows))


if __name__ == "__main__":
    if sys.argv[1] == "--peer":
        print(PEERS[sys.argv[2]](json.loads(sys.argv[3])))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
