"""Workers as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest
from msgspec.structs import replace

from nnprof.errors import BadFile, OutOfMemory, Unavailable, WorkerCrashed, WorkerTimeout
from nnprof.exporters.onnx import chain_model, identity_model, load_model
from nnprof.profiler import hosts, ops
from nnprof.profiler.worker import CHAIN, Loop, Looped, Measure, Measured, Probe, Probed
from nnprof.types import Model, Plan, Target, Workload


def _job(
    model: Model, plan: Plan, batch: int = 2, backend: str = "fake", **options: str
) -> Measure:
    return Measure(
        workload=Workload(model=model, batch=batch),
        target=Target(backend=backend, options=options),
        plan=plan,
        floor=identity_model(),
        chain=chain_model(CHAIN),
        ops=True,
    )


@pytest.mark.parametrize("backend", ["fake", "onnxruntime"])
def test_worker_measures(model: Model, short: Plan, backend: str) -> None:
    """A fresh process gives positive samples, a floor below them, ops, and its processors."""
    answer = hosts.run_local(_job(model, short, backend=backend), 60)
    assert isinstance(answer, Measured)
    assert min(answer.samples_s) > 0
    assert 0 < answer.floor_s < 2 * min(answer.samples_s)
    assert [one.method for one in answer.op_passes] == [
        "runtime",
        "floor",
        "isolated",
        "differential",
    ]
    for one in answer.op_passes:
        assert [op.kind for op in one.ops][-1] == ("other" if one.method == "floor" else "softmax")
    assert len(answer.processors) == 1


@pytest.mark.parametrize("backend", ["fake", "onnxruntime"])
def test_worker_loops(model: Model, backend: str) -> None:
    """One process times all networks in order, turn after turn, twenty calls each."""
    work = tuple(Workload(model=model, batch=batch) for batch in (1, 2, 4))
    job = Loop(workloads=work, target=Target(backend=backend), floor=identity_model())
    answer = hosts.run_local(job, 60)
    assert isinstance(answer, Looped)
    assert [[len(calls) for calls in turn] for turn in answer.samples_s] == [[20] * 3] * 4
    assert len(answer.readings) == 5


def test_pauses_are_timed(model: Model, short: Plan) -> None:
    """After each pause single inferences are timed, as many for every pause."""
    plan = replace(short, idle_s=(0.0, 0.001))
    answer = hosts.run_local(_job(model, plan, backend="onnxruntime"), 60)
    assert isinstance(answer, Measured)
    assert [len(samples) for samples in answer.idle] == [20, 20]
    assert all(seconds > 0 for samples in answer.idle for seconds in samples)


def test_known_ops_are_not_timed_again(model: Model, short: Plan) -> None:
    """What the job knows of ops alone is taken over with no run of its own."""
    job = _job(model, short)
    first = hosts.run_local(job, 60)
    assert isinstance(first, Measured)
    isolated = next(one for one in first.op_passes if one.method == "isolated")
    known = {ops.share_key(op): 0.5 for op in isolated.ops[1:]}
    second = hosts.run_local(replace(job, known=known), 60)
    assert isinstance(second, Measured)
    again = next(one for one in second.op_passes if one.method == "isolated")
    assert [(op.seconds, op.runs) for op in again.ops[1:]] == [(0.5, 0), (0.5, 0)]
    assert (again.ops[0].seconds < 0.5, again.ops[0].runs) == (True, 1)


def test_worker_probes() -> None:
    """A probe tells the versions and the processor without timing anything."""
    answer = hosts.run_local(Probe(target=Target(backend="fake")), 60)
    assert isinstance(answer, Probed)
    assert answer.environment["packages"]["onnx"]
    assert answer.environment["device"]["processors"] >= 1


def test_crash_is_told_with_its_signal(model: Model, short: Plan) -> None:
    """A worker that dies by a signal is reported with that signal."""
    with pytest.raises(WorkerCrashed, match="SIGSEGV"):
        hosts.run_local(_job(model, short, fault="crash"), 60)


def test_hang_is_ended_at_the_limit(model: Model, short: Plan) -> None:
    """A worker that hangs is ended at its limit, and no process of it stays."""
    start = time.perf_counter()
    with pytest.raises(WorkerTimeout, match="after 2 s"):
        hosts.run_local(_job(model, short, fault="hang"), 2)
    assert time.perf_counter() - start < 10
    assert not [child for child in psutil.Process().children() if child.status() != "zombie"]


def test_refusal_keeps_its_kind_and_remedy(model: Model, short: Plan) -> None:
    """An error raised on purpose in the worker arrives as the same error with its remedy."""
    with pytest.raises(OutOfMemory) as caught:
        hosts.run_local(_job(model, short, fault="memory"), 60)
    assert caught.value.remedy == "Ask for a smaller batch."
    with pytest.raises(BadFile, match="refuses"):
        hosts.run_local(_job(model, short, fault="error"), 60)


@pytest.mark.parametrize("neurons", [4, 4000], ids=["input too large", "output too large"])
def test_real_lack_of_memory(
    tmp_path: Path, short: Plan, neurons: int, tiny_onnx: Callable[..., Path]
) -> None:
    """A batch larger than the machine's memory is told as such; nothing else is killed."""
    model = load_model(tiny_onnx(tmp_path / "wide.onnx", neurons=neurons))
    batch = 8 * psutil.virtual_memory().total // neurons // 4
    with pytest.raises(OutOfMemory, match="does not fit"):
        hosts.run_local(_job(model, short, batch=batch, backend="onnxruntime"), 120)


def test_too_many_threads(model: Model) -> None:
    """More threads than processors are refused with the number there is."""
    target = Target(backend="fake", threads=4096)
    with pytest.raises(Unavailable, match="4096 threads need 4096 processors"):
        hosts.run_local(Probe(target=target), 60)


def test_runtime_output_does_not_spoil_the_answer(
    model: Model, short: Plan, tmp_path: Path
) -> None:
    """What a library prints goes to stderr; stdout is the answer and nothing else."""
    job = msgspec.json.encode(_job(model, short))
    code = (
        "import os, threading, nnprof.profiler.worker as w\n"
        "old = w.do\n"
        "w.do = lambda job: (os.write(1, b'noise'), print('more noise'), old(job))[2]\n"
        "w.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], input=job, capture_output=True, check=True)
    assert msgspec.json.decode(done.stdout)["type"] == "measured"
    assert b"noise" in done.stderr


def test_orphan_ends_with_its_parent(model: Model, short: Plan, tmp_path: Path) -> None:
    """When the bench is killed, its worker does not live on to disturb the next one."""
    job = tmp_path / "job.json"
    job.write_bytes(msgspec.json.encode(_job(model, short, fault="hang")))
    code = (
        "import sys, msgspec, pathlib\n"
        "from nnprof.profiler import hosts, worker\n"
        f"text = pathlib.Path({str(job)!r}).read_bytes()\n"
        "hosts.run_local(msgspec.json.decode(text, type=worker.Job), 60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    workers: list[psutil.Process] = []
    while not workers and time.monotonic() < deadline:
        workers = psutil.Process(parent.pid).children()
        time.sleep(0.05)
    time.sleep(1.0)  # until the worker has asked to die with us
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert (len(gone), alive) == (1, [])
