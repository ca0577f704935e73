"""Two Runs whose processes alternate: order, stopping, failures, going on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from nnprof.errors import BadFile, UsageError
from nnprof.profiler import compare, results
from nnprof.profiler.run import begin, session, sweep
from nnprof.types import Cell, Plan, Run, Target

pytestmark = pytest.mark.usefixtures("workers_here")


@pytest.fixture
def plan(short: Plan) -> Plan:
    """Three to six pairs."""
    return replace(short, processes=3, max_processes=6, op_method="none")


def _against(cells: tuple[Cell, ...], **options: str) -> tuple[Cell, ...]:
    """The same cells with other options of the fake."""
    target = Target(backend="fake", options={"noise": "0.01", **options})
    return tuple(replace(cell, target=target) for cell in cells)


def _measured(path: Path) -> tuple[Run, Run]:
    list(sweep.sweep(begin.resume(path), path))
    return results.load_sides(path)


def test_processes_alternate(cells: tuple[Cell, ...], plan: Plan, tmp_path: Path) -> None:
    """Each pair has one process of each side, one right after the other, in both orders."""
    run, path = session.start_pairs((cells, _against(cells, speed="1.2")), plan, tmp_path)
    order = [
        (step.cell.workload.batch, step.cell.target.options.get("speed"))
        for step in sweep.sweep(run, path)
    ]
    twos = list(zip(order[::2], order[1::2], strict=True))
    assert all(one[0] == other[0] and one[1] != other[1] for one, other in twos)
    assert {one[1] for one, _ in twos} == {None, "1.2"}
    before, after = results.load_sides(path)
    for old, new in zip(before.measurements, after.measurements, strict=True):
        assert [one.pair for one in old.processes] == [one.pair for one in new.processes]
        assert all(one.begun_at_s for one in old.processes)


def test_a_clear_verdict_stops(cells: tuple[Cell, ...], plan: Plan, tmp_path: Path) -> None:
    """A cell far from its partner ends at the first look; the comparison says by how much."""
    sides = cells[:1], _against(cells[:1], speed="0.5")
    _, path = session.start_pairs(sides, plan, tmp_path)
    before, after = _measured(path)
    assert {one.stopped for run in (before, after) for one in run.measurements} == {"verdict"}
    (found,) = compare.compare(before, after).cells
    assert (found.verdict, found.pairs) == ("SLOWER", 3)
    assert found.ratio == pytest.approx(2.0, rel=0.1)


def test_an_unclear_one_goes_to_the_limit(
    cells: tuple[Cell, ...], plan: Plan, tmp_path: Path
) -> None:
    """Cells of which nothing can be said have the plan's most pairs, and no more."""
    wild = _against(cells[:1], process="0.5")
    other = _against(cells[:1], process="0.5", speed="1.01")
    noisy = tuple(
        replace(cell, workload=replace(cell.workload, seed=7)) for cell in other
    )  # whose levels are not those of the partner
    _, path = session.start_pairs((wild, noisy), plan, tmp_path)
    before, after = _measured(path)
    assert [len(run.measurements[0].processes) for run in (before, after)] == [6, 6]
    assert before.measurements[0].stopped == "processes"
    (found,) = compare.compare(before, after).cells
    assert (found.verdict, found.reason[:12]) == ("AMBIGUOUS", "its interval")


def test_like_sides_are_allowed(cells: tuple[Cell, ...], plan: Plan, tmp_path: Path) -> None:
    """A network against itself is SAME: how a user sees what this machine can tell."""
    _, path = session.start_pairs((cells[:1], cells[:1]), plan, tmp_path)
    found = compare.compare(*_measured(path))
    assert [cell.verdict for cell in found.cells] == ["SAME"]
    assert found.paired


def test_a_failure_ends_both_sides(cells: tuple[Cell, ...], plan: Plan, tmp_path: Path) -> None:
    """Where one side fails the other stops too, and says why; other cells go on."""
    bad = _against(cells, fault="memory", fault_batch="2")
    _, path = session.start_pairs((cells, bad), plan, tmp_path)
    before, after = _measured(path)
    assert [(one.workload.batch, one.error) for one in after.failures] == [(2, "OutOfMemory")]
    assert [one.workload.batch for one in before.failures] == [2]
    assert before.failures[0].reason.startswith("The cell that it alternates with failed")
    assert {cell.batch for cell in compare.compare(before, after).cells} == {1, 4, 8}


def test_going_on_after_half_a_pair(cells: tuple[Cell, ...], plan: Plan, tmp_path: Path) -> None:
    """Stopped between two processes of a pair, it goes on from either file, and counts no half."""
    run, path = session.start_pairs((cells[:1], _against(cells[:1], speed="0.5")), plan, tmp_path)
    steps = sweep.sweep(run, path)
    next(steps)
    steps.close()
    other = path.with_name(run.study.paired.other if run.study.paired else "")
    before, after = _measured(other)
    whole = [{one.pair for one in side.measurements[0].processes} for side in (before, after)]
    assert sorted(map(len, whole)) == [3, 4]
    assert whole[0] & whole[1] == {1, 2, 3}
    assert before.study.paired is not None
    assert before.study.paired.side == "a"


def test_sides_that_do_not_match_are_refused(
    cells: tuple[Cell, ...], plan: Plan, tmp_path: Path
) -> None:
    """Sides of unlike length, and a cell twice on one, are refused, and leave no file."""
    with pytest.raises(UsageError, match="One side has 2 cells, the other 1"):
        session.start_pairs((cells[:2], cells[:1]), plan, tmp_path)
    with pytest.raises(UsageError, match="twice on one side"):
        session.start_pairs(((cells[0], cells[0]), cells[:2]), plan, tmp_path)
    assert not list(tmp_path.glob("*.json"))


def test_the_other_file_is_needed(cells: tuple[Cell, ...], plan: Plan, tmp_path: Path) -> None:
    """Without the other side's file, or with another in its place, a sentence says so."""
    run, path = session.start_pairs((cells[:1], cells[:1]), plan, tmp_path)
    other = path.with_name(run.study.paired.other if run.study.paired else "")
    other.write_bytes(path.read_bytes())
    with pytest.raises(BadFile, match="is not"):
        list(sweep.sweep(run, path))
    other.unlink()
    with pytest.raises(BadFile):
        results.load_sides(path)


def test_rounds_visit_all_cells(cells: tuple[Cell, ...], plan: Plan, tmp_path: Path) -> None:
    """The next pair of a cell comes when all open cells had theirs, so that drift hits all."""
    run, path = session.start_pairs((cells, _against(cells, process="0.3")), plan, tmp_path)
    visited = [step.cell.workload.batch for step in sweep.sweep(run, path)][:24:2]
    rounds = [visited[start : start + 4] for start in (0, 4, 8)]
    assert all(sorted(one) == [1, 2, 4, 8] for one in rounds)
    assert any(one != other for one, other in pairwise(rounds))
