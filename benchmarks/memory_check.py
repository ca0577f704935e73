"""Is what a Run says of memory and loading what other means see of a process that does the same?

    python benchmarks/memory_check.py [ROUNDS]

For each network, in turn: a worker of ours, and a program of a few lines that imports ONNX Runtime,
loads the file and infers as often, on its own under `/usr/bin/time -v`. Held against each other:

* peak: what time -v says of the program, against what the program had before the import plus what
  our worker says the runtime and the network add;
* worker: what time -v says of our own worker, against the peak that it tells;
* arena: the sum of the arena's log in the program, against ours;
* load: the program's own stopwatch around import, session and first inference, against ours,
  both without what the kernel counts as waiting for a processor.

Where /usr/bin/time is not installed, `resource.getrusage(RUSAGE_CHILDREN)` of a program that only
starts the other takes its place, and that is said.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from nnprof.exporters.export import export
from nnprof.exporters.models import load_model
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.networks.families import parse_network
from nnprof.profiler.taken import answer_s
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import CHAIN, Measure, Measured
from nnprof.types import Model, Plan, Target, Workload

BUNDLED = Path(__file__).parents[1] / "networks" / "bundled" / "mnist.onnx"
NETWORKS = (
    ("bundled", 1),
    ("bundled", 256),
    ("1x28x28 conv64k5 relu conv64k5 relu pool2 fc512 relu fc10", 64),
    ("3x32x32 conv128k5 relu conv128k5 relu pool2 fc2048 relu fc10", 16),
)
PLAN = Plan(warmup_s=0.0, warmup_limit_s=0.0, sample_s=0.0, sample_min_s=0.0, min_samples=5)
TIME = "/usr/bin/time"
PROGRAM = """
import json, os, sys
from time import perf_counter
import numpy as np
import numpy.random  # of tiles, not of the runtime
path, batch, inferences, log = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def waited():
    return int(open("/proc/thread-self/schedstat").read().split()[1]) * 1e-9
before, wait = resident(), waited()
start = perf_counter()
import onnxruntime
imported = perf_counter()
wait = waited() - wait
shape = [int(side) for side in sys.argv[5].split(",")]
tiles = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
if log == "log":
    onnxruntime.set_default_logger_severity(1)
tiles_wait = waited()
ready = perf_counter()
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
built = perf_counter()
name = session.get_inputs()[0].name
session.run(None, {name: tiles})
first = perf_counter()
wait += waited() - tiles_wait
for _ in range(inferences - 1):
    session.run(None, {name: tiles})
load = imported - start + first - ready
print(json.dumps({"before": before, "load": load - wait}))
"""
_SIZES = (r"Extended allocation by (\d+)", r"Reserving memory in BFCArena for \S+ size: (\d+)")


def under_time(command: list[str], stdin: bytes = b"") -> tuple[bytes, bytes, int]:
    """What a program wrote, and the most that it had resident, in bytes, as /usr/bin/time says."""
    with tempfile.NamedTemporaryFile() as told:
        if shutil.which(TIME):
            whole = [TIME, "-v", "-o", told.name, *command]
        else:
            start = "import resource,subprocess,sys; subprocess.run(sys.argv[2:]); "
            start += "most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss; "
            start += "open(sys.argv[1], 'w').write(f'Maximum resident set size (kbytes): {most}')"
            whole = [sys.executable, "-c", start, told.name, *command]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            whole, input=stdin, capture_output=True, check=True, env=environment, cwd="/"
        )
        found = re.search(
            r"Maximum resident set size \(kbytes\): (\d+)", Path(told.name).read_text()
        )
    assert found
    return done.stdout, done.stderr, int(found[1]) * 1024


def job(model: Model, batch: int) -> Measure:
    """One process of ours: loaded, two inferences, five samples of one inference, the arena."""
    return Measure(
        workload=Workload(model=model, batch=batch),
        target=Target(),
        plan=PLAN,
        floor=identity_model(),
        chain=chain_model(CHAIN),
        ops=False,
        arena=True,
    )


def program(model: Model, batch: int, *, log: bool) -> tuple[dict[str, Any], str, int]:
    """The few lines, on their own."""
    shape = ",".join(str(side) for side in (batch, *model.inputs[0].shape[1:]))
    words = [model.path, str(batch), "7", "log" if log else "-", shape]
    out, err, most = under_time([sys.executable, "-c", PROGRAM, *words])
    return json.loads(out), err.decode(errors="replace"), most


def row(name: str, batch: int, rounds: int) -> dict[str, Any]:
    """Both in turn, `rounds` times."""
    model = load_model(BUNDLED) if name == "bundled" else export(parse_network(name))
    asked = job(model, batch)
    ours: list[Measured] = []
    theirs = []
    for _ in range(rounds):
        ours.append(hosts.run(asked, 600.0))
        theirs.append(program(model, batch, log=False))
    _, log, _ = program(model, batch, log=True)
    arena = sum(int(size) for words in _SIZES for size in re.findall(words, log))
    out, _, most = under_time(
        [sys.executable, "-m", "nnprof.profiler.work.worker"],
        msgspec.json.encode(msgspec.structs.replace(asked, arena=False)),
    )
    told = msgspec.json.decode(out.splitlines()[-1], type=Measured)
    memories = [one.memory for one in ours if one.memory]
    loads = [answer_s(one.loading) or 0.0 for one in ours if one.loading]
    added = median(one.added_bytes or 0 for one in memories)
    return {
        "network": name,
        "batch": batch,
        "peak_mb": median(found for *_, found in theirs) / 1e6,
        "ours_mb": (median(one["before"] for one, *_ in theirs) + added) / 1e6,
        "worker_mb": most / 1e6,
        "told_mb": ((told.memory and told.memory.peak_bytes) or 0) / 1e6,
        "arena_mb": arena / 1e6,
        "our_arena_mb": median(one.arena_bytes or 0 for one in memories) / 1e6,
        "load_ms": median(one["load"] for one, *_ in theirs) * 1e3,
        "our_load_ms": median(loads) * 1e3,
    }


def main(rounds: int) -> None:
    """A line for each network: theirs, ours, and the ratio."""
    print(f"measured by {TIME} -v" if shutil.which(TIME) else f"no {TIME}: by getrusage")
    print(f"{'network':<28} batch | {'peak MB':>21} | {'worker MB':>21} | "
          f"{'arena MB':>21} | {'load ms':>21}")  # fmt: skip
    for name, batch in NETWORKS:
        one = row(name, batch, rounds)
        pairs = [("peak_mb", "ours_mb"), ("worker_mb", "told_mb"),
                 ("arena_mb", "our_arena_mb"), ("load_ms", "our_load_ms")]  # fmt: skip
        cells = [
            f"{one[theirs]:7.4g} {one[ours]:7.4g} {one[ours] / one[theirs]:5.3f}"
            for theirs, ours in pairs
        ]
        print(f"{name[:28]:<28} {batch:5d} | {' | '.join(cells)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
