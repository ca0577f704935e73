"""The sweep: rounds, stopping, failures, killing and resuming."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from msgspec.structs import replace
from processes import killed, until

from nnprof.errors import BadFile, UsageError
from nnprof.exporters.models import load_model
from nnprof.profiler import results, stats, turns
from nnprof.profiler.run import begin, sweep
from nnprof.types import Cell, Model, Plan, Run, Target, Workload


def _all(cells: tuple[Cell, ...], plan: Plan, folder: Path) -> tuple[Run, Path]:
    run, path = begin.start(cells, plan, folder, name="test")
    list(sweep.sweep(run, path))
    return results.load(path), path


pytestmark = pytest.mark.usefixtures("workers_here")


def test_every_cell_is_measured(cells: tuple[Cell, ...], short: Plan, tmp_path: Path) -> None:
    """Each asked cell ends up finished, in the order asked, with its ops and environment."""
    run, _ = _all(cells, short, tmp_path)
    assert [m.workload.batch for m in run.measurements] == [1, 2, 4, 8]
    assert all(m.finished and m.ops for m in run.measurements)
    assert run.environment["backend"]["name"] == "fake"
    assert run.failures == ()


def test_narrow_interval_stops(cells: tuple[Cell, ...], short: Plan, tmp_path: Path) -> None:
    """A cell whose processes agree ends after the fresh ones that follow, because of its interval.

    Those before the decision do not count for the spread: they were chosen for it.
    """
    plan = replace(short, processes=2, max_processes=6, fresh=3, op_method="none")
    run, _ = _all(cells[:1], plan, tmp_path)
    (cell,) = run.measurements
    assert (cell.stopped, len(cell.processes)) == ("interval", 5)
    found = stats.level(cell)
    assert found is not None
    assert found.freedom == 2


def test_wide_interval_takes_more_processes(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """With levels that differ between processes a cell goes on to the plan's limit."""
    noisy = Target(backend="fake", options={"process": "0.5"})
    plan = replace(short, processes=2, max_processes=6, fresh=3, interval=0.01, op_method="none")
    run, _ = _all((replace(cells[0], target=noisy),), plan, tmp_path)
    assert (run.measurements[0].stopped, len(run.measurements[0].processes)) == ("processes", 6)
    assert "interval_wide" in {check.code for check in run.measurements[0].checks}


def test_time_limit_waits_for_three_processes(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A cell beyond its time limit still gets the three processes that an interval needs."""
    plan = replace(short, processes=4, max_processes=4, interval=1e-9, cell_limit_s=0.001)
    run, _ = _all(cells[:1], plan, tmp_path)
    assert (run.measurements[0].stopped, len(run.measurements[0].processes)) == ("time", 3)


def test_rounds_are_shuffled_and_repeatable(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """Each round visits all cells once, in an order of its own that the seed repeats."""
    orders = []
    for folder in ("a", "b"):
        run, path = begin.start(cells, short, tmp_path / folder, name="test")
        orders.append([step.cell.workload.batch for step in sweep.sweep(run, path)])
    rounds = [tuple(orders[0][start : start + 4]) for start in (0, 4, 8)]
    assert orders[0] == orders[1]
    assert all(sorted(visited) == [1, 2, 4, 8] for visited in rounds)
    assert len(set(rounds)) > 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [("crash", "WorkerCrashed"), ("memory", "OutOfMemory"), ("hang", "WorkerTimeout")],
)
def test_failed_cell_does_not_stop_the_sweep(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path, fault: str, error: str
) -> None:
    """A cell that crashes, hangs or is too large becomes a Failure; the others are measured."""
    target = Target(backend="fake", options={"fault": fault, "fault_batch": "4"})
    limit_s = 4.0 if fault == "hang" else 60.0
    plan = replace(short, processes=1, max_processes=1, process_limit_s=limit_s)
    run, _ = _all(tuple(replace(cell, target=target) for cell in cells), plan, tmp_path)
    assert [m.workload.batch for m in run.measurements] == [1, 2, 8]
    assert [(f.workload.batch, f.error) for f in run.failures] == [(4, error)]
    assert run.failures[0].reason
    assert run.failures[0].remedy


def test_model_that_the_runtime_refuses(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A file the runtime cannot open is refused before the sweep, and leaves no Run behind."""
    target = Target(backend="fake", options={"fault": "error"})
    with pytest.raises(BadFile, match="refuses"):
        begin.start((replace(cells[0], target=target),), short, tmp_path, name="test")
    assert list(tmp_path.glob("*.json")) == []


def test_same_cell_twice_is_measured_once(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A cell named twice is one question and gets one answer."""
    run, _ = _all((cells[0], cells[0]), short, tmp_path)
    assert len(run.measurements) == 1


def test_ops_are_combined_and_shared(model: Model, short: Plan, tmp_path: Path) -> None:
    """Each distinct op is timed alone in as many processes as asked, whichever cells have it."""
    twin = tmp_path / "twin.onnx"
    proto = onnx.load(model.path)
    proto.graph.name = "twin"
    onnx.save(proto, twin)
    cells = tuple(
        Cell(workload=Workload(model=one, batch=2), target=Target(backend="fake"))
        for one in (model, load_model(twin))
    )
    run, _ = _all(cells, replace(short, op_processes=2), tmp_path)
    alone = [
        op for m in run.measurements for one in m.op_passes
        if one.method == "isolated" for op in one.ops
    ]  # fmt: skip
    keys = {op.key for op in alone}
    assert sum(op.runs > 0 for op in alone) == 2 * len(keys)
    assert len(alone) == 4 * len(keys)
    for m in run.measurements:
        assert m.ops is not None
        assert m.ops.method == "combined"
        assert [op.op for op in m.ops.ops] == ["Gemm", "Relu", "Softmax", "call"]
        assert sum(op.seconds for op in m.ops.ops) == pytest.approx(stats.latency_s(m), rel=0.05)


def test_loop_protocol(cells: tuple[Cell, ...], short: Plan, tmp_path: Path) -> None:
    """The protocol of 2016 gives four turns of twenty calls per network, and a finished Run."""
    run, path = _all(cells, replace(short, protocol="loop"), tmp_path)
    assert all(m.finished for m in run.measurements)
    assert [[len(turn) for turn in m.samples_s] for m in run.measurements] == [[20] * 4] * 4
    assert list(sweep.sweep(begin.resume(path), path)) == []
    assert turns.drift(run.measurements) is not None


def test_fresh_loops_are_processes(cells: tuple[Cell, ...], short: Plan, tmp_path: Path) -> None:
    """As in 2016: three loops in order, a process for each cell, each on disk before the next."""
    run, path = begin.start(cells, replace(short, protocol="loop-fresh"), tmp_path, name="test")
    steps = sweep.sweep(run, path)
    order = [next(steps).cell.workload.batch for _ in range(5)]
    steps.close()
    cut = results.load(path)
    assert [len(m.processes) for m in cut.measurements] == [2, 1, 1, 1]
    assert not any(m.finished for m in cut.measurements)
    rest = list(sweep.sweep(begin.resume(path), path))
    order += [step.cell.workload.batch for step in rest]
    assert order == [1, 2, 4, 8] * 3
    assert [step.round_over for step in rest] == [False, False, True] + [False] * 3 + [True]
    run = results.load(path)
    assert [[len(turn) for turn in m.samples_s] for m in run.measurements] == [[20] * 3] * 4
    assert all(m.stopped == "processes" for m in run.measurements)
    assert run.measurements[0].samples_s[:2] == cut.measurements[0].samples_s
    begun = [[m.processes[turn].begun_at_s for m in run.measurements] for turn in range(3)]
    times = [one for turn in begun for one in turn if one is not None]
    assert len(times) == 12
    assert times == sorted(times)
    assert "a fresh process for each network and turn" in run.measurements[0].facts["loop"]
    assert turns.drift(run.measurements) is not None
    assert list(sweep.sweep(begin.resume(path), path)) == []


def test_a_crash_in_fresh_loops_is_a_failure(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A cell whose process crashes becomes a Failure; it is tried once, the others go on."""
    target = Target(backend="fake", options={"fault": "crash"})
    crashing = tuple(replace(cell, target=target) for cell in cells[:2])
    run, _ = _all(crashing, replace(short, protocol="loop-fresh"), tmp_path)
    assert [failure.error for failure in run.failures] == ["WorkerCrashed"] * 2
    assert run.measurements == ()


def test_loop_that_crashes_is_a_failure(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """When the one process of a loop crashes, each of its cells becomes a Failure in the Run."""
    target = Target(backend="fake", options={"fault": "crash"})
    crashing = tuple(replace(cell, target=target) for cell in cells)
    run, _ = _all(crashing, replace(short, protocol="loop"), tmp_path)
    assert [failure.error for failure in run.failures] == ["WorkerCrashed"] * len(cells)
    assert run.measurements == ()


def test_drift_of_a_fake_loop_is_found(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A target that slows down while it runs is found to drift within its calls."""
    drifting = Target(backend="fake", options={"drift": "0.05"})
    plan = replace(short, protocol="loop")
    run, _ = _all(tuple(replace(cell, target=drifting) for cell in cells), plan, tmp_path)
    assert {p.state for m in run.measurements for p in m.processes} == {"drifting"}


def test_resume_measures_only_what_is_missing(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A Run cut after some processes is completed; what it held stays bit for bit."""
    run, path = begin.start(cells, short, tmp_path, name="test")
    steps = sweep.sweep(run, path)
    for _ in range(7):
        next(steps)
    steps.close()
    before = results.load(path)
    steps = list(sweep.sweep(begin.resume(path), path))
    after = results.load(path)
    assert len(steps) == 3 * 4 - 7
    assert all(m.finished for m in after.measurements)
    for old, new in zip(before.measurements, after.measurements, strict=True):
        assert new.samples_s[: len(old.samples_s)] == old.samples_s
    assert after.study.wall_s > before.study.wall_s


def test_resume_of_a_whole_run_does_nothing(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """Resuming a finished Run measures nothing and changes nothing."""
    run, path = _all(cells, short, tmp_path)
    assert list(sweep.sweep(begin.resume(path), path)) == []
    assert results.load(path) == run


def test_resume_tries_failed_cells_again(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A failed cell is missing, so resuming tries it again."""
    target = Target(backend="fake", options={"fault": "memory", "fault_batch": "4"})
    run, path = _all(tuple(replace(cell, target=target) for cell in cells), short, tmp_path)
    steps = list(sweep.sweep(begin.resume(path), path))
    assert [step.cell.workload.batch for step in steps] == [4]
    assert results.load(path).failures == run.failures


def test_resume_needs_the_same_model(cells: tuple[Cell, ...], short: Plan, tmp_path: Path) -> None:
    """A foreign model that has changed is not mixed into the Run."""
    _, path = _all(cells, short, tmp_path)
    Path(cells[0].workload.model.path).write_bytes(b"changed")
    with pytest.raises(BadFile, match="no longer the model that was measured"):
        begin.resume(path)


def test_resume_needs_the_same_machine(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """Numbers of another processor are not mixed into the Run."""
    run, path = _all(cells, short, tmp_path)
    moved = {**run.environment, "device": {"name": "cpu", "model": "Z80"}}
    results.save(replace(run, environment=moved), path)
    with pytest.raises(UsageError, match="measured with device model 'Z80'"):
        begin.resume(path)


@pytest.mark.parametrize(
    ("part", "fact", "here", "sentence"),
    [
        ("nnprof", "", "9.9", "nnprof '.*'; here it is '9.9'"),
        ("python", "", "2.7", "python '.*'; here it is '2.7'"),
        ("system", "", "Linux 1.0", "system '.*'; here it is 'Linux 1.0'"),
        ("device", "model", "Z80", "device model '.*'; here it is 'Z80'"),
        (
            "device",
            "governor",
            "powersave",
            "device governor 'performance'; here it is 'powersave'",
        ),
        ("device", "governor", None, "device governor 'performance'; here it is 'not set'"),
        ("device", "power_mode", "15W", "device power_mode 'MAXN'; here it is '15W'"),
        ("device", "clocks_locked", False, "device clocks_locked 'True'; here it is 'False'"),
        ("device", "core", "efficiency", "device core '.*'; here it is 'efficiency'"),
        ("device", "processors", 1024, "device processors '.*'; here it is '1024'"),
        ("device", "caches", {}, "device caches '.*'; here it is '{}'"),
        ("backend", "version", "0", "backend version '1'; here it is '0'"),
        (
            "variables",
            "OMP_NUM_THREADS",
            "4",
            "variables OMP_NUM_THREADS 'not set'; here it is '4'",
        ),
        ("variables", "MALLOC_ARENA_MAX", None, "MALLOC_ARENA_MAX '1'; here it is 'not set'"),
    ],
)
def test_resume_needs_the_same_place(
    finished: tuple[Run, Path],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    fact: str,
    here: object,
    sentence: str,
) -> None:
    """What decides how fast a network runs must be as it was; the sentence names what is not."""
    run, path = finished
    changed = {**run.environment[part], fact: here} if fact else here
    now = {**run.environment, part: changed}
    monkeypatch.setattr(begin, "_probe", lambda _: now)
    whole = path.read_bytes()
    with pytest.raises(UsageError, match=sentence):
        begin.resume(path)
    assert path.read_bytes() == whole


def test_resume_minds_nothing_else(
    finished: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that the kernel counts anew, newer limits, and facts of newer kinds do not matter."""
    run, path = finished
    device = {**run.environment["device"], "memory_bytes": 1, "why": {}, "news": 1}
    now = {**run.environment, "device": device, "roofline": {"news": 1}}
    monkeypatch.setattr(begin, "_probe", lambda _: now)
    assert begin.resume(path).environment["roofline"] == {"news": 1}


@pytest.fixture
def finished(golden: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Path]:
    """A Run of one cell, on disk, in a place of which all is known."""
    run, path = golden, tmp_path / "run.json"
    device = {**run.environment["device"], "governor": "performance", "power_mode": "MAXN"}
    variables = {"MALLOC_ARENA_MAX": "1"}
    environment = {
        **run.environment,
        "device": {**device, "clocks_locked": True},
        "variables": variables,
    }
    run = replace(run, environment=environment)
    results.save(run, path)
    monkeypatch.setattr(begin, "_find_again", lambda model: model)
    return run, path


@pytest.fixture(scope="module")
def golden(
    tmp_path_factory: pytest.TempPathFactory, tiny_onnx: Callable[..., Path], short: Plan
) -> Run:
    """The Run of one cell, measured once for all tests that only read it."""
    folder = tmp_path_factory.mktemp("golden")
    model = load_model(tiny_onnx(folder / "tiny.onnx"))
    cell = Cell(workload=Workload(model=model, batch=1), target=Target(backend="fake"))
    run, path = begin.start((cell,), replace(short, op_method="none"), folder, name="test")
    list(sweep.sweep(run, path))
    return results.load(path)


def test_processes_get_different_tiles(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """Each process has a seed of its own, so their levels differ where the target's do."""
    target = Target(backend="fake", options={"process": "0.1"})
    run, _ = _all((replace(cells[0], target=target),), short, tmp_path)
    assert len(set(stats.process_medians_s(run.measurements[0]))) >= 3


def test_kill_at_any_moment_loses_nothing(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """After kill -9 at 8 random moments the file was always whole, and nothing was redone.

    The bench is a real process; it is killed, resumed, killed again, and at last left to finish.
    A moment lies behind so many processes, and not at a time: on a slow machine, too.
    """
    plan = replace(short, processes=4, max_processes=4, op_method="none")
    run, path = begin.start(cells, plan, tmp_path, name="test")
    resume = [sys.executable, "-m", "nnprof", "bench", "--resume", str(path), "--format", "json"]
    moments = random.Random(11)  # noqa: S311  not for secrets
    kept = _samples(run)
    for _ in range(8):
        before, pause_s = kept, moments.uniform(0, 0.5)
        wanted = sum(map(len, before.values())) + moments.randrange(3)
        with (
            subprocess.Popen(
                resume, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process,
            killed(process),
        ):
            # Valid at every moment, not only after the kill.
            until(lambda: _measured(path) >= wanted or process.poll() is not None)  # noqa: B023
            time.sleep(pause_s)
        kept = _samples(results.load(path))
        for key, samples in before.items():
            assert kept[key][: len(samples)] == samples
    subprocess.run(
        resume, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )
    run = results.load(path)
    assert all(m.finished for m in run.measurements)
    assert [file.name for file in tmp_path.iterdir() if file.suffix != ".onnx"] == [path.name]
    whole = _samples(run)
    assert all(whole[key][: len(samples)] == samples for key, samples in kept.items())
    # The planned processes: nothing was measured twice.
    assert [len(m.processes) for m in run.measurements] == [4] * 4


def _measured(path: Path) -> int:
    return sum(map(len, _samples(results.load(path)).values()))


def _samples(run: Run) -> dict[str, tuple[tuple[float, ...], ...]]:
    return {Cell(workload=m.workload, target=m.target).key: m.samples_s for m in run.measurements}


def test_a_copy_of_a_model_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Of two files with one content the first is measured, and the other is named."""
    cell = results.load(Path(__file__).parents[2] / "data" / "run-v1.json").study.cells[0]
    copies = [
        replace(cell, workload=replace(cell.workload, model=replace(cell.workload.model, path=f)))
        for f in ("a.onnx", "b.onnx", "a.onnx")
    ]
    (kept,) = begin._unique(copies)
    assert kept.workload.model.path == "a.onnx"
    assert [one.getMessage() for one in caplog.records] == [
        "b.onnx is the same model as a.onnx, and is measured once, as that."
    ]
