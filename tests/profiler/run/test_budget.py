"""A Run that has a budget: what it gives up first, and that it says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from nnprof.profiler import results
from nnprof.profiler.run import begin, budget, sweep
from nnprof.types import Cell, Measurement, OpPass, Plan, Process, Reading, Run, Target

PLAN = Plan(processes=3, max_processes=5, op_processes=2, budget_s=100.0)


def _done(cell: Cell, walls_s: list[float], ops_s: list[float]) -> Measurement:
    """A cell whose processes took so long, of which the ops so much."""
    processes = tuple(
        Process(round=number, processors=(), loops=1, state="steady", floor_s=1e-6, open_s=0.1,
                timed_s=1.0, wall_s=wall_s, before=Reading(), after=Reading())
        for number, wall_s in enumerate(walls_s)
    )  # fmt: skip
    passes = tuple(
        OpPass(method="runtime", latency_s=1.0, ops=(), process=number, timed_s=seconds)
        for number, seconds in enumerate(ops_s)
    )
    times = tuple((1.0,) for _ in walls_s)
    return Measurement(
        workload=cell.workload, target=cell.target, plan=PLAN, clock="fake", samples_s=times,
        warmups_s=times, processes=processes, op_passes=passes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spent_s", "expected"),
    [
        (0.0, (True, True)),
        # Three cells wait for two processes each without their ops (6 s), this one for its own 10.
        (100 - 10 - 6 * 6.0, (True, True)),
        (100 - 10 - 6 * 6.0 + 1, (True, False)),
        (100 - 6.0, (True, False)),
        (100 - 6.0 + 1, (False, False)),
        (100.0, (False, False)),
    ],
)
def test_ops_are_given_up_before_processes(
    cells: tuple[Cell, ...], spent_s: float, expected: tuple[bool, bool]
) -> None:
    """A process that would take the others' planned ones away runs without its ops, then not."""
    done = {cell.key: _done(cell, [10.0], [4.0]) for cell in cells}
    keys = list(done)
    assert budget.offer(keys[0], keys, done, PLAN, spent_s)[:2] == expected


def test_each_cell_is_measured_before_any_is_measured_well(cells: tuple[Cell, ...]) -> None:
    """The first process of a cell has its ops if those not yet begun can still have one each."""
    done = {cells[0].key: _done(cells[0], [10.0], [4.0])}
    keys = [cell.key for cell in cells]
    # Two others have none yet: 10 + 2 * 6 are needed.
    assert budget.offer(keys[1], keys, done, PLAN, 100 - 22.0)[:2] == (True, True)
    assert budget.offer(keys[1], keys, done, PLAN, 100 - 21.9)[:2] == (True, False)


def test_without_a_budget_all_is_offered(cells: tuple[Cell, ...]) -> None:
    """No budget, no limit but that of a process."""
    done = {cells[0].key: _done(cells[0], [1e6], [1.0])}
    offer = budget.offer(cells[0].key, [cells[0].key], done, replace(PLAN, budget_s=0.0), 1e9)
    assert offer == (True, True, PLAN.process_limit_s)


def test_a_worker_is_ended_with_the_budget(cells: tuple[Cell, ...]) -> None:
    """What is left is the limit of a worker, where that is less than its own."""
    assert budget.offer(cells[0].key, [cells[0].key], {}, PLAN, 30.0).limit_s == 70.0


def _swept(cells: tuple[Cell, ...], plan: Plan, folder: Path) -> tuple[Run, Path]:
    run, path = begin.start(cells, plan, folder, name="test")
    list(sweep.sweep(run, path))
    return results.load(path), path


@pytest.mark.usefixtures("workers_here")
def test_a_slow_machine_keeps_to_its_budget(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """On a clock as slow as one likes the Run ends within its budget, and says what it left out.

    The fake's clock says what a process cost: four seconds a call, in reality nothing.
    """
    slow = Target(backend="fake", options={"speed": "1e-6", "process": "0.1"})
    plan = replace(short, processes=3, max_processes=5, interval=1e-9, budget_s=250.0)
    cells = tuple(replace(cell, target=slow) for cell in cells[:2])
    run, path = _swept(cells, plan, tmp_path)
    counts = [len(cell.processes) for cell in run.measurements]
    assert [cell.stopped for cell in run.measurements] == ["budget"] * 2
    assert 2 <= sum(counts) < 10
    assert sum(budget.spent_s(cell) for cell in run.measurements) <= 250
    (line,) = budget.left_out_lines(run)
    assert line.startswith("Left out to keep to 250 s: ")
    assert "processes of" in line
    # Another 250 s go on where these ended.
    list(sweep.sweep(begin.resume(path), path))
    again = [len(cell.processes) for cell in results.load(path).measurements]
    assert sum(again) > sum(counts)


def test_a_cell_without_a_turn_is_named(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A cell that hangs until the budget is spent is left out, with those after it: no failures."""
    hang = Target(backend="fake", options={"fault": "hang", "fault_batch": "2"})
    plan = replace(short, processes=1, max_processes=1, op_method="none", budget_s=6.0)
    cells = tuple(replace(cell, target=hang) for cell in cells[:2])
    run, path = begin.start(cells[:1], plan, tmp_path, name="test")  # a probe would hang, too
    run = replace(run, study=replace(run.study, cells=cells))
    steps = list(sweep.sweep(run, path))
    run = results.load(path)
    assert run.left_out == (1,)
    assert run.failures == ()
    assert (steps[-1].finished, steps[-1].total) == (2, 2)
    (line,) = budget.left_out_lines(run)
    assert line.startswith("Left out to keep to 6 s: 1 of 2 cells (batch 2). nnprof bench --resume")


@pytest.mark.usefixtures("workers_here")
def test_nothing_left_out_is_not_mentioned(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A Run that kept to its budget anyway is as without one."""
    plan = replace(short, processes=2, max_processes=2, budget_s=1000.0)
    run, _ = _swept(cells[:1], plan, tmp_path)
    assert (run.measurements[0].stopped, run.left_out) == ("processes", ())
    assert budget.left_out_lines(run) == []
