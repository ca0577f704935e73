"""Workers as real processes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import processes
import psutil
import pytest
from msgspec.structs import replace

from nnprof.errors import BadFile, OutOfMemory, Unavailable, WorkerCrashed, WorkerTimeout
from nnprof.exporters.models import load_model
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.profiler.place import environment, lifeline, shells
from nnprof.profiler.timing import passes
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import CHAIN, Loop, Looped, Measure, Measured, Probe, Probed
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
    assert len(answer.processors) == (backend != "fake")  # which computes nothing


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
    known = {passes.share_key(op): 0.5 for op in isolated.ops[1:]}
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
    before = processes.children()
    with pytest.raises(WorkerTimeout, match="after 2 s"):
        hosts.run_local(_job(model, short, fault="hang"), 2)
    assert processes.children() <= before


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
        "import os, threading, nnprof.profiler.work.worker as w\n"
        "old = w.do\n"
        "w.do = lambda *job: (os.write(1, b'noise'), print('more noise'), old(*job))[2]\n"
        "w.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], input=job, capture_output=True, check=True)
    answers = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    assert {answer["type"] for answer in answers} == {"measured"}
    assert b"noise" in done.stderr


def _exits(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Let workers be shells that end so."""
    monkeypatch.setattr(hosts.lifeline, "command", lambda _: ("sh", "-c", ending))


def test_every_exit_code_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ends with any of the 256 codes and no answer fails its cell, and says which."""
    for code in range(256):
        _exits(monkeypatch, f"exit {code}")
        with pytest.raises(WorkerCrashed, match=rf"ended with exit code {code} and no answer\."):
            hosts.run_local(Probe(target=Target(backend="fake")), 60)


def test_every_signal_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """So does one that ends by any signal, those that have no name included."""
    deadly = set(range(1, 65)) - {
        *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
        *(signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
        *(32, 33),  # the C library keeps them to itself
    }
    for number in sorted(deadly):
        _exits(monkeypatch, f"ulimit -c 0; kill -{number} $$")
        said = "killed from outside" if number == signal.SIGKILL else f"ended with signal {number}"
        with pytest.raises(WorkerCrashed, match=said):
            hosts.run_local(Probe(target=Target(backend="fake")), 60)
    assert shells.ended_with(-35) == "signal 35 (SIGRTMIN+1)"
    assert shells.ended_with(-33) == "signal 33"


def test_codes_of_command_interpreters_are_signals_where_there_is_one() -> None:
    """129 to 192 are signals 1 to 64; all other codes stay what they are."""
    plain = [shells.plain_code(code) for code in range(256)]
    assert plain == [*range(129), *range(-1, -65, -1), *range(193, 256)]
    assert all(shells.ended_with(code) for code in (*plain, -65, -200))


def test_a_known_list_of_variables_reaches_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown variables stay here; those that change speed arrive, and the Run keeps them."""
    for name in ("AWS_SECRET_ACCESS_KEY", "EDITOR", "http_proxy", "LD", "XOMP_NUM_THREADS"):
        monkeypatch.setenv(name, "no")
    fast = {
        "OMP_WAIT_POLICY": "passive",
        "KMP_BLOCKTIME": "0",
        "MALLOC_ARENA_MAX": "1",
        "GLIBC_TUNABLES": "glibc.malloc.arena_max=1",
        "PYTHONMALLOC": "malloc",
        "ORT_DISABLE_ALL": "1",
        "LD_BIND_NOW": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_CBWR": "AVX2",
        "CUDA_VISIBLE_DEVICES": "0",
    }
    for name, value in fast.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    answer = hosts.run_local(Probe(target=Target(backend="fake")), 60)
    assert isinstance(answer, Probed)
    assert fast.items() <= answer.environment["variables"].items()
    assert not {"PATH", "HOME", "LC_ALL", "EDITOR"} & set(answer.environment["variables"])
    given = environment.passed(os.environ)
    assert {"PATH", "LC_ALL", *fast} <= set(given)
    unknown = {"AWS_SECRET_ACCESS_KEY", "EDITOR", "http_proxy", "LD", "XOMP_NUM_THREADS"}
    assert not unknown & set(given)


@pytest.mark.parametrize("hard", [True, False], ids=["hard", "soft"])
def test_a_limit_on_memory_from_outside_holds(model: Model, short: Plan, hard: bool) -> None:
    """Under `ulimit -v` a worker measures, within that limit; it is not raised."""
    limit = 6_000_000 * 1024
    job = msgspec.json.encode(_job(model, short))
    code = (
        "import resource, sys, nnprof.profiler.work.worker as w\n"
        "old = w.do\n"
        "def do(*job):\n"
        "    print(*resource.getrlimit(resource.RLIMIT_AS), file=sys.stderr)\n"
        "    return old(*job)\n"
        "w.do = do\n"
        "w.main()"
    )
    done = subprocess.run(
        ["sh", "-c", f'ulimit -{"" if hard else "S"}v {limit // 1024}; exec "$@"', "sh",
         sys.executable, "-c", code],
        input=job, capture_output=True, check=True,
    )  # fmt: skip
    soft_there, hard_there = map(int, done.stderr.split()[-2:])
    assert msgspec.json.decode(done.stdout.splitlines()[-1])["type"] == "measured"
    assert soft_there <= limit
    assert hard_there == (limit if hard else -1)


def test_too_little_memory_to_start_names_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose address space cannot hold the runtime fails its cell with that limit."""
    start = " ".join(map(shlex.quote, lifeline.command("nnprof.profiler.work.worker")))
    _exits(monkeypatch, f"ulimit -v 100000; {start}")
    monkeypatch.setattr(hosts.resource, "getrlimit", lambda _: (100_000 * 1024, -1))
    with pytest.raises(WorkerCrashed, match="It may have 102 MB of address space") as caught:
        hosts.run_local(Probe(target=Target(backend="fake")), 60)
    assert caught.value.remedy == "Raise the limit: ulimit -v."


def test_no_process_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can be started, the cell fails with the kernel's reason."""

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(hosts.subprocess, "Popen", refuse)
    with pytest.raises(WorkerCrashed, match="could be started: Resource temporarily unavailable"):
        hosts.run_local(Probe(target=Target(backend="fake")), 60)
