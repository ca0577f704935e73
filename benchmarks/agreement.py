"""nnprof's clean time beside each runtime's own benchmark, interleaved, each in fresh processes.

    python benchmarks/agreement.py OUT.json [ROUNDS] [BACKEND …]

OpenVINO against its `benchmark_app` (synchronous, one stream, the same threads); PyTorch against
`torch.utils.benchmark` on the network as `networks/build.py` makes it from the notation, so not on
the module that nnprof rebuilds from the ONNX file; LiteRT against its `litert-benchmark`, which
runs the file by another of its APIs (`CompiledModel`; nnprof has `Interpreter`). ONNX Runtime, MNN
and ncnn have no benchmark in their packages. So ONNX Runtime is held against the tight loop of
`fidelity.py`; MNN against a loop in its own API as its manual has it: copy the tiles in, run the
session; ncnn against a loop in its own, as the script that pnnx writes has it. Each process of
nnprof is followed by one of the peer, on the same processors. Prints a table and writes it as JSON.

Needs the extra `train`, which makes the networks. Without BACKEND all of them, which one
environment seldom has: LiteRT's converter asks for older versions of some packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import ratios
from fidelity import tight
from numpy.typing import NDArray

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
BLOCK_S = 0.01  # of MNN's and ncnn's inferences, of which a median is taken
FEW = 50  # inferences of `litert-benchmark` that tell how many take SECONDS


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


def mnn_loop(job: dict[str, Any]) -> float:
    """Median over blocks of inferences in MNN's own words; it overwrites its inputs."""
    import MNN

    from nnprof.exporters.mnn import converted

    net = MNN.Interpreter(str(converted(nnprof.load_model(job["path"]))))
    session = net.createSession(
        {"backend": "CPU", "numThread": job["threads"], "precision": "high"}
    )
    tiles = tiles_of(job)
    net.resizeTensor(net.getSessionInput(session), tiles.shape)
    net.resizeSession(session)
    kinds = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    host, slot = MNN.Tensor(tiles.shape, kinds[0], tiles, kinds[1]), net.getSessionInput(session)

    def block(loops: int) -> float:
        start = perf_counter()
        for _ in range(loops):
            slot.copyFrom(host)
            net.runSession(session)
        return (perf_counter() - start) / loops

    return in_blocks(block)


def ncnn_loop(job: dict[str, Any]) -> float:
    """Median over blocks of inferences in ncnn's own words, as the script of pnnx has them."""
    import ncnn

    from nnprof.exporters.ncnn import converted

    tiles = tiles_of(job)
    files = converted(nnprof.load_model(job["path"]), {"tiles": tiles})
    net = ncnn.Net()
    net.opt.num_threads = job["threads"]
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, name, False)
    net.load_param(str(files.layers))
    net.load_model(str(files.weights))
    # A network that flattens first has the batch as a side of a matrix, and none for ncnn.
    sides = {"batch_index": files.batch_sides["in0"]} if "in0" in files.batch_sides else {}
    held, made = ncnn.Mat(tiles, **sides).clone(), ncnn.Mat()

    def block(loops: int) -> float:
        start = perf_counter()
        for _ in range(loops):
            with net.create_extractor() as extractor:
                extractor.input("in0", held)
                extractor.extract("out0", made)
        return (perf_counter() - start) / loops

    return in_blocks(block)


def in_blocks(block: Callable[[int], float]) -> float:
    """Median of blocks, each given as a function from inferences to seconds per inference."""
    loops = max(1, int(BLOCK_S / block(10)))
    return median(block(loops) for _ in range(int(SECONDS / BLOCK_S)))


def litert_benchmark(job: dict[str, Any]) -> float:
    """Median of LiteRT's own tool, on the file that nnprof's converter makes.

    Taken where it hands its times over, since it prints hundredths of a millisecond.
    """
    from ai_edge_litert.tools import benchmark_litert_model as tool

    from nnprof.exporters.litert import converted

    path = converted(nnprof.load_model(job["path"]), {"tiles": tiles_of(job)})
    times_ms: list[float] = []
    percentile = tool.percentile

    def listening(of_ms: list[float], share: float) -> Any:
        times_ms[:] = of_ms
        return percentile(of_ms, share)

    def seconds(count: int) -> float:
        sys.argv = ["litert-benchmark", "--model", str(path), "--num_runs", str(count)]
        sys.argv += ["--num_threads", str(job["threads"])]
        tool.run_benchmark(tool.parse_args())
        return median(times_ms) * 1e-3

    tool.percentile = listening
    return seconds(max(FEW, int(SECONDS / seconds(FEW))))


def ort_loop(job: dict[str, Any]) -> float:
    """Median of a tight loop over a session of ONNX Runtime with bound buffers."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "tiles.npz")
        np.savez(data, tiles=tiles_of(job))
        return tight({**job, "data": str(data)})


def tiles_of(job: dict[str, Any]) -> NDArray[np.float32]:
    """What a peer is given: seeded whole numbers from 0 to 255, as nnprof makes them up."""
    shape = (job["batch"], 1, 28, 28)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


PEERS = {
    "onnxruntime": ort_loop,
    "openvino": benchmark_app,
    "torch": torch_benchmark,
    "litert": litert_benchmark,
    "mnn": mnn_loop,
    "ncnn": ncnn_loop,
}


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
    each = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return {
        "backend": measurement.target.backend,
        "network": measurement.workload.model.name,
        "batch": measurement.workload.batch,
        "threads": measurement.target.threads,
        "nnprof_ms": median(ours) * 1e3,
        "peer_ms": median(theirs) * 1e3,
        "ratio": median(each),
        "ratio_range": [min(each), max(each)],
    }


def main(out: Path, rounds: int, backends: tuple[str, ...]) -> None:
    """Measure, print, write."""
    rows = ratios.measured(backends, lambda backend, folder: measure(backend, rounds, folder))
    print(f"{'backend':<11} {'network':<47} {'batch':>5} {'nnprof ms':>10} {'peer ms':>10} ratio")
    for one in rows:
        print(
            f"{one['backend']:<11} {one['network']:<47} {one['batch']:>5} "
            f"{one['nnprof_ms']:>10.4f} {one['peer_ms']:>10.4f} {one['ratio']:.3f}"
        )
    ratios.conclude(out, rows, ratios.by_backend(rows, "ratio", "ratio"), rounds=rounds)


if __name__ == "__main__":
    if sys.argv[1] == "--peer":
        print(PEERS[sys.argv[2]](json.loads(sys.argv[3])))
    else:
        count = int(sys.argv[2]) if len(sys.argv) > 2 else 3
        main(Path(sys.argv[1]), count, tuple(sys.argv[3:]) or tuple(PEERS))
