"""The device while it is measured, on boards whose state changes in mid-run."""

from __future__ import annotations

import time
from pathlib import Path

import fake_board
import processes
import psutil
import pytest
from msgspec.structs import replace

from nnprof.profiler import results
from nnprof.profiler.ports import Session
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.timing import sample, telemetry
from nnprof.types import Cell, Model, Plan, Run, Target, Workload

JETSON = Target(backend="fake", device="jetson")
BOARDS = pytest.mark.parametrize(
    "board", ["orin-nano-jp5", "agx-orin-jp6", "thor-jp7"], indirect=True
)


def _run(model: Model, plan: Plan, folder: Path, batches: tuple[int, ...] = (1, 2)) -> Run:
    cells = [Cell(workload=Workload(model=model, batch=batch), target=JETSON) for batch in batches]
    run, path = begin.start(cells, plan, folder, name="test")
    list(sweep.sweep(run, path))
    return results.load(path)


def _codes(run: Run) -> list[set[str]]:
    return [{check.code for check in measurement.checks} for measurement in run.measurements]


@BOARDS
@pytest.mark.usefixtures("workers_here")
def test_throttling_in_mid_run_marks_its_cells(
    board: Path, model: Model, short: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over-current events during a run mark every cell that they hit; a calm board marks none."""
    plan = replace(short, op_method="none", processes=2, max_processes=2)
    calm = _run(model, plan, tmp_path / "calm")
    assert not any("throttled" in codes for codes in _codes(calm))
    clean_pass = sample.clean_pass

    def hit(session: Session, plan: Plan) -> sample.CleanPass:
        fake_board.throttle(board, 1)
        return clean_pass(session, plan)

    monkeypatch.setattr(sample, "clean_pass", hit)
    hot = _run(model, plan, tmp_path / "hot")
    assert all("throttled" in codes for codes in _codes(hot))
    process = hot.measurements[0].processes[0]
    assert (process.after.throttles or 0) > (process.before.throttles or 0)


@pytest.mark.usefixtures("workers_here")
def test_heat_marks_the_cells(board: Path, model: Model, short: Plan, tmp_path: Path) -> None:
    """A GPU that the kernel throttles for heat is named in the check of each cell."""
    fake_board.throttle(board, 0, alert=True)
    run = _run(model, replace(short, op_method="none", processes=1, max_processes=1), tmp_path)
    (found,) = (c for c in run.measurements[0].checks if c.code == "throttling")
    assert found.data == {"alerts": "gpu-throttle-alert"}
    assert "clocks_free" in _codes(run)[0]


def test_the_board_is_in_the_run(board: Path, model: Model, short: Plan, tmp_path: Path) -> None:
    """A Run on a board holds its facts, and readings before, during and after."""
    plan = replace(short, op_method="none", processes=1, max_processes=1, telemetry_s=0.05)
    run = _run(model, plan, tmp_path, (1,))
    device = run.environment["device"]
    assert (device["jetpack"], device["power_mode"]) == ("6.2", "25W")
    process = run.measurements[0].processes[0]
    assert process.during
    for reading in (process.before, *process.during, process.after):
        assert reading.power_mode == "25W"
        assert set(reading.rails_w) == {"VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"}
    assert run.measurements[0].facts["telemetry"] == "each 0.05 s, by a process of its own"


def test_switched_off(board: Path, model: Model, short: Plan, tmp_path: Path) -> None:
    """Without telemetry there is nothing between before and after, and the Run says so."""
    plan = replace(short, op_method="none", processes=1, max_processes=1)
    run = _run(model, plan, tmp_path, (1,))
    assert run.measurements[0].processes[0].during == ()
    assert run.measurements[0].facts["telemetry"] == "switched off"


def test_readings_are_in_order_and_in_time(board: Path) -> None:
    """Readings come each interval, count from the beginning, and can be asked for again."""
    with telemetry.beside(JETSON, (0,), (0,)) as watch:
        for _ in range(2):
            start_s = time.monotonic()
            watch.begin(0.02)
            time.sleep(0.3)
            times = [reading.at_s or 0.0 for reading in watch.end()]
            passed_s = time.monotonic() - start_s
            assert times == sorted(times)
            assert 1 <= len(times) <= passed_s / 0.02 + 2
            assert 0 <= times[0] <= times[-1] <= passed_s


def test_begun_and_ended_at_once(board: Path) -> None:
    """A pass too short for a reading still ends: both lines are there when the first is read."""
    with telemetry.beside(JETSON, (0,), (0,)) as watch:
        for _ in range(20):
            watch.begin(5.0)
            assert len(watch.end()) == 1


def test_no_processor_for_it() -> None:
    """Where all processors work, nobody reads, and it is said why."""
    with telemetry.beside(Target(), (0,), ()) as watch:
        watch.begin(0.01)
        assert watch.end() == ()
    assert watch.why == "no processor is left for it"


def test_its_process_dies(board: Path) -> None:
    """When its process is killed, the measurement goes on without it, and it is said."""
    before = processes.children()
    with telemetry.beside(JETSON, (0,), (0,)) as watch:
        watch.begin(0.01)
        (child,) = processes.children() - before
        psutil.Process(child).kill()
        assert watch.end() == ()
        watch.begin(0.01)
        assert watch.end() == ()
    assert watch.why == "its process ended"


def test_nothing_is_left_behind(board: Path) -> None:
    """Its process ends with the context, also by an error."""

    def fail() -> None:
        with telemetry.beside(JETSON, (0,), (0,)) as watch:
            watch.begin(0.01)
            raise ZeroDivisionError

    before = processes.children()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert processes.children() <= before
