"""Where a sweep stands, as a value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nnprof.errors import OutOfMemory
from nnprof.profiler.run.rounds import Sweep
from nnprof.types import (
    Cell,
    Measurement,
    Model,
    Plan,
    Process,
    Reading,
    Target,
    Tensor,
    Workload,
)

TENSOR = Tensor(name="x", dtype="float32", shape=("batch", 4))
MODEL = Model(name="m", path="", sha256="0" * 64, opset=17, inputs=(TENSOR,), outputs=(TENSOR,))
CELLS = {
    cell.key: cell
    for cell in (
        Cell(workload=Workload(model=MODEL, batch=batch), target=Target(backend="fake"))
        for batch in range(1, 6)
    )
}
PLAN = Plan(processes=2, max_processes=2)


def _measured(cell: Cell, processes: int, stopped: bool) -> Measurement:
    one = Process(
        round=0, processors=(), loops=1, state="steady", floor_s=0.0, open_s=0.0, timed_s=1.0,
        wall_s=2.0, before=Reading(), after=Reading(),
    )  # fmt: skip
    return Measurement(
        workload=cell.workload, target=cell.target, plan=PLAN, clock="fake",
        samples_s=((1.0,),) * processes, warmups_s=((),) * processes,
        processes=(one,) * processes, stopped="processes" if stopped else "",
    )  # fmt: skip


def _sweep(counts: list[int]) -> Sweep:
    """Cells with that many processes each; two are enough."""
    done = {
        key: _measured(cell, count, count == PLAN.processes)
        for (key, cell), count in zip(CELLS.items(), counts, strict=True)
        if count
    }
    return Sweep(PLAN, CELLS, done, {})


@given(st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_a_round_has_each_cell_that_is_behind_once(counts: list[int]) -> None:
    """The cells with the fewest processes come next, each once; finished cells never."""
    found = _sweep(counts).next_round()
    fewest = min((count for count in counts if count < 2), default=None)
    assert sorted(found) == sorted(
        key for key, count in zip(CELLS, counts, strict=True) if count == fewest
    )


@given(st.lists(st.integers(0, 2), min_size=5, max_size=5), st.data())
def test_no_cell_is_lost(counts: list[int], data: st.DataObject) -> None:
    """Failed, left out or ended for the budget: each cell is told of in the Run, once."""
    now = _sweep(counts)
    for key in now.open_keys():
        if data.draw(st.booleans()):
            now = now.with_failure(key, OutOfMemory("no room"))
        else:
            now = now.without_budget(key)
    assert not now.next_round()
    told = {*now.done, *now.failed, *now.out}
    assert told == set(CELLS)
    assert all(measurement.finished for measurement in now.done.values())


def test_a_step_counts_what_is_over() -> None:
    """Two of five cells are finished; the others need two processes of two seconds each."""
    step = _sweep([2, 2, 0, 0, 0]).step(next(iter(CELLS)))
    assert (step.finished, step.total, step.done, step.expected) == (2, 5, 4, 10)
    assert step.left_s == 3 * 2 * 2.0
    assert step.measurement == _measured(step.cell, 2, stopped=True)


def test_a_failure_keeps_what_there_is() -> None:
    """A cell that fails at its second process keeps its first, and says why it ended."""
    first = next(iter(CELLS))
    now = _sweep([1, 0, 0, 0, 0]).with_failure(first, OutOfMemory("no room"))
    assert now.done[first] == replace(_measured(CELLS[first], 1, False), stopped="failure")
    assert now.failed[first].error == "OutOfMemory"


@given(st.lists(st.integers(0, 2), min_size=5, max_size=5), st.sets(st.integers(0, 4)))
def test_beside_others_comes_who_is_furthest_behind(counts: list[int], out: set[int]) -> None:
    """A cell that is out or finished is never next; of the others one of those with the fewest."""
    keys = list(CELLS)
    found = _sweep(counts).next_beside({keys[index] for index in out})
    free = {
        key: count
        for index, (key, count) in enumerate(zip(keys, counts, strict=True))
        if index not in out and count < PLAN.processes
    }
    assert (found in free and free[found] == min(free.values())) if free else found is None


def test_one_place_at_a_time_is_a_single_sweep() -> None:
    """Cells one after the other come in the order of the rounds of a single sweep."""
    fresh, out = _sweep([0] * 5), set[str]()
    order = []
    while (key := fresh.next_beside(out)) is not None:
        order.append(key)
        out.add(key)
    assert order == fresh.next_round()
