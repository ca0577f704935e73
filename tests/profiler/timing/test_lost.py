"""A pass that fails after the clean one costs its own result, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
import typer
from msgspec.structs import replace
from typer.testing import CliRunner

from nnprof.cli.bench import _print
from nnprof.cli.main import app
from nnprof.errors import BadFile, WorkerCrashed
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.profiler import checks, results
from nnprof.profiler.backends.fake import BACKEND
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.timing import lost, passes, reconcile
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import CHAIN, Fault, Measure, Measured
from nnprof.types import Cell, Lost, Model, OpPass, Plan, Reading, Target, Workload


def _boom() -> None:
    raise RuntimeError("two\nlines")


def _no_memory() -> None:
    raise MemoryError


def test_any_error_is_noted() -> None:
    """What a runtime raises is noted by its type's name, on one line; lack of memory as ours."""
    assert lost.attempt("runtime", _boom) == Lost(
        what="runtime", error="RuntimeError", reason="two lines"
    )
    found = lost.attempt("idle", _no_memory)
    assert isinstance(found, Lost)
    assert (found.error, found.what) == ("OutOfMemory", "idle")


@pytest.mark.parametrize("fault", ["memory", "error", "bug"])
@pytest.mark.parametrize("method", ["runtime", "isolated", "differential"])
def test_a_method_that_fails_leaves_the_others(model: Model, fault: str, method: str) -> None:
    """Each method of timing ops is tried, whatever became of the others, and they are combined."""
    options = {"fault": fault, "fault_pass": method}
    session = BACKEND.open(Workload(model=model, batch=1), Target(backend="fake", options=options))
    found = list(
        passes.all_passes(
            session,
            Plan(op_s=0.01),
            {},
            passes.Setting(call_s=1e-6, latency_s=4e-6, cache_bytes=1 << 20),
        )
    )
    failed = [one.what for one in found if isinstance(one, Lost)]
    found = [one for one in found if isinstance(one, OpPass)]
    worked = {one.method for one in found}
    assert failed == [method]
    assert worked == {"runtime", "floor", "isolated", "differential"} - {method}
    combined = reconcile.combine(found, 4e-6)
    assert combined is not None
    assert {op.op for op in combined.ops} == {"Gemm", "Relu", "Softmax", "call"}


def test_a_call_alone_is_no_estimate_of_ops(model: Model) -> None:
    """Where every method failed there are no ops, not one op that is the call."""
    session = BACKEND.open(Workload(model=model, batch=1), Target(backend="fake"))
    found = passes.all_passes(
        session,
        Plan(op_s=0.01),
        {},
        passes.Setting(call_s=1e-6, latency_s=4e-6, cache_bytes=1 << 20),
    )
    floor = [one for one in found if isinstance(one, OpPass) and one.method == "floor"]
    assert reconcile.combine(floor, 4e-6) is None


def _job(model: Model, plan: Plan, **options: str) -> Measure:
    return Measure(
        workload=Workload(model=model, batch=2),
        target=Target(backend="fake", options=options),
        plan=plan,
        floor=identity_model(),
        chain=chain_model(CHAIN),
        ops=True,
    )


@pytest.mark.parametrize(
    ("fault", "where", "error", "methods"),
    [
        ("crash", "isolated", ("ops", "WorkerCrashed"), ["runtime", "floor"]),
        (
            "memory",
            "close",
            ("close", "OutOfMemory"),
            ["runtime", "floor", "isolated", "differential"],
        ),
    ],
)
def test_clean_time_outlives_its_worker(
    model: Model, short: Plan, fault: str, where: str, error: tuple[str, str], methods: list[str]
) -> None:
    """Whatever ends a worker after its clean pass, what it had by then arrives, and why."""
    answer = hosts.run(_job(model, short, fault=fault, fault_pass=where), 60)
    assert isinstance(answer, Measured)
    assert min(answer.samples_s) > 0
    assert answer.pending == ()
    assert [(one.what, one.error) for one in answer.lost] == [error]
    assert [one.method for one in answer.op_passes] == methods


def _sofar(*pending: str) -> Measured:
    return Measured(
        clock="fake",
        facts={},
        samples_s=(1.0,),
        warmups_s=(1.0,),
        loops=1,
        state="steady",
        floor_s=0.1,
        open_s=0.1,
        timed_s=2.0,
        processors=(),
        before=Reading(),
        after=Reading(),
        pending=pending,
    )


def _stand_in(monkeypatch: pytest.MonkeyPatch, lines: bytes, end: str) -> None:
    """A worker that says so much, then ends so."""
    code = f"import os, sys, time; os.write(1, {lines!r}); {end}"
    monkeypatch.setattr(hosts.lifeline, "command", lambda _: [sys.executable, "-S", "-c", code])


def test_limit_in_a_later_pass_keeps_the_clean_time(
    model: Model, short: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker ended at its limit is kept up to there, and what never came is named."""
    line = msgspec.json.encode(_sofar("idle", "energy", "ops")) + b"\n"
    _stand_in(monkeypatch, line + line[:40], "time.sleep(600)")
    answer = hosts.run(_job(model, short), 2)
    assert isinstance(answer, Measured)
    assert [(one.what, one.error) for one in answer.lost] == [
        ("idle", "WorkerTimeout"),
        ("energy", "NotReached"),
        ("ops", "NotReached"),
    ]


def test_fault_takes_the_clean_pass_back(
    model: Model, short: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that changed while it was timed has no time, though its clean pass was told."""
    fault = Fault(error="BadFile", reason="It changed.", remedy="Measure again.")
    answers = [msgspec.json.encode(one) + b"\n" for one in (_sofar("ops"), fault)]
    _stand_in(monkeypatch, b"".join(answers), "sys.exit(0)")
    with pytest.raises(BadFile, match="It changed"):
        hosts.run(_job(model, short), 60)


def test_nothing_is_kept_of_a_worker_that_told_nothing(
    model: Model, short: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an answer is none: the cell fails, as a crash."""
    _stand_in(monkeypatch, msgspec.json.encode(_sofar("ops"))[:-9], "os.abort()")
    with pytest.raises(WorkerCrashed, match="SIGABRT"):
        hosts.run(_job(model, short), 60)


def test_cell_is_measured_and_says_what_failed(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cell keeps its time; the note says why it has no more, and `bench` ends with 1.

    A pass that ended the worker is not tried again.
    """
    target = Target(backend="fake", options={"fault": "crash", "fault_pass": "isolated"})
    cell = replace(cells[0], target=target)
    run, path = begin.start((cell,), short, tmp_path, name="test")
    list(sweep.sweep(run, path))
    run = results.load(path)
    (measurement,) = run.measurements
    assert (run.failures, measurement.stopped) == ((), "processes")
    assert [len(process.lost) for process in measurement.processes] == [1, 0, 0]
    assert not checks.is_complete(measurement)
    with pytest.raises(typer.Exit) as ended:
        _print(True, [path], "table", bundled=False)
    assert ended.value.exit_code == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "in 1 of 3 processes: WorkerCrashed: The worker ended with signal 11" in said
    assert "if it crashes again, the runtime has a bug with this model." in said


def test_idle_pass_that_fails_leaves_the_rest(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """Pauses that could not be timed are a check, not a failure, and `show` reads the Run."""
    target = Target(backend="fake", options={"fault": "bug", "fault_pass": "idle"})
    plan = replace(short, idle_s=(0.001, 0.002), processes=1, max_processes=1)
    run, path = begin.start((replace(cells[0], target=target),), plan, tmp_path, name="test")
    list(sweep.sweep(run, path))
    run = results.load(path)
    (measurement,) = run.measurements
    assert [one.samples_s for one in measurement.idle] == [((),), ((),)]
    assert measurement.ops is not None
    assert "pass_failed" in [check.code for check in measurement.checks]
    shown = CliRunner().invoke(app, ["show", str(path)])
    assert (shown.exit_code, "RuntimeError: The fake has a bug." in shown.stdout) == (0, True)
