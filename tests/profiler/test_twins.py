"""Boards that are alike and differ: what is then said of deadlines, changes, ops and steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from nnprof.profiler import checks, deadlines, stats, twins
from nnprof.profiler.changes import apart
from nnprof.profiler.compare import compare
from nnprof.profiler.diff import numbers
from nnprof.profiler.report import comparison, shown_deadlines, shown_trend
from nnprof.profiler.trend import trend
from nnprof.types import (
    Cell,
    Measurement,
    Model,
    OpTime,
    Plan,
    Process,
    Reading,
    Run,
    Singles,
    Study,
    Target,
    Tensor,
    Workload,
)

TILE = Tensor(name="x", dtype="float32", shape=("batch", 1, 28, 28))
LEVEL_S = 0.01
SLOWER = 1.05  # of the board "two", and of "four"
SPEED = {"one": 1.0, "two": SLOWER, "three": 1.0, "four": SLOWER}


def _process(number: int, board: str, level_s: float, seed: int) -> Process:
    random = np.random.default_rng(seed)
    values = level_s * np.exp(0.005 * np.abs(random.normal(size=250)))
    return Process(
        round=number, processors=(0,), loops=1, state="steady", floor_s=0.0, open_s=0.0,
        timed_s=1.0, wall_s=1.0, before=Reading(), after=Reading(), board=board,
        singles=Singles(samples_s=tuple(values.tolist()), resolution_s=1e-7),
    )  # fmt: skip


def _cell(ran_on: Sequence[str], batch: int, seed: int, times: float = 1.0) -> Measurement:
    """A cell of about 10 ms whose processes, in order, ran on these boards."""
    random = np.random.default_rng(1000 * seed + batch)
    levels = [
        LEVEL_S * times * SPEED[board] * math.exp(random.normal(0, 0.002)) for board in ran_on
    ]
    model = Model(name="m", path="m.onnx", sha256="m", opset=17, inputs=(TILE,), outputs=(TILE,))
    return Measurement(
        workload=Workload(model=model, batch=batch), target=Target(host="fleet:x-1"),
        plan=Plan(max_processes=len(ran_on)), clock="perf_counter", stopped="processes",
        samples_s=tuple((level,) * 5 for level in levels), warmups_s=((),) * len(ran_on),
        processes=tuple(
            _process(number, board, level, number + 100 * seed)
            for number, (board, level) in enumerate(zip(ran_on, levels, strict=True))
        ),
    )  # fmt: skip


def _run(ran_on: Sequence[str], seed: int = 1, times: float = 1.0, day: int = 1) -> Run:
    """Three cells of a kind, with what shows over all of them."""
    cells = [_cell(ran_on, batch, seed, times) for batch in (1, 2, 4)]
    told = checks.of_boards(cells)
    measured = tuple(replace(one, checks=own) for one, own in zip(cells, told, strict=True))
    study = Study(
        name="test", command=(), created=f"2026-11-{day:02}T00:00:00+00:00", plan=cells[0].plan,
        cells=tuple(Cell(workload=one.workload, target=one.target) for one in cells),
    )  # fmt: skip
    return Run(study=study, environment={}, measurements=measured)


BOTH = ("one", "two") * 4
FAST = ("one",) * 6 + ("two",) * 2
SLOW = ("two",) * 6 + ("one",) * 2


@pytest.mark.parametrize(
    ("budget_s", "word"), [(0.0111, "FITS"), (0.0103, "UNDECIDED"), (0.0095, "MISSES")]
)
def test_a_verdict_about_slow_inferences_is_one_about_each_board(
    budget_s: float, word: str
) -> None:
    """FITS where each board fits, MISSES where none does; between them each board has its word."""
    run = _run(BOTH)
    for one in deadlines.verdicts(run, budget_s):
        assert (one.p99.word, one.missed.word) == (word, word)
        assert one.boards == ("one", "two")
        assert one.p99.estimate is not None
        assert one.p99.estimate > 1.04 * LEVEL_S  # of the slower one
        assert one.samples == 1000  # of one board
        told = "\n".join(shown_deadlines.lines([one]))
        assert "A verdict is one about each of one, two, which differ." in told
        assert "single inferences of a cell on one board" in told
        assert ("one FITS, two MISSES" in told) == (word == "UNDECIDED")


def test_of_a_board_with_one_process_nothing_is_claimed() -> None:
    """It tells no spread; of a board without any the other one's inferences say nothing."""
    run = _run(("one",) * 7 + ("two",))
    (first, *_) = deadlines.verdicts(run, 0.02)
    assert first.p99.word == "UNDECIDED"
    assert "two UNDECIDED (a single process tells no spread)" in first.p99.reason
    alone = run.measurements[0]
    alone = replace(alone, processes=tuple(replace(p, board="one") for p in alone.processes))
    (first, *_) = deadlines.verdicts(replace(run, measurements=(alone,)), 0.02)
    assert first.p99.word == first.missed.word == "UNDECIDED"
    assert "two UNDECIDED (no process ran there)" in first.missed.reason


def test_boards_that_do_not_differ_are_judged_together() -> None:
    """Nothing is told by board, and all inferences count."""
    (one, *_) = deadlines.verdicts(_run(("one", "three") * 4), 0.0111)
    assert one.word == "FITS"
    assert (one.boards, one.samples) == ((), 2000)


def test_a_paced_median_holds_each_board() -> None:
    """The median of paced single inferences FITS only where the slower board's does."""
    (cell, *_) = _run(BOTH).measurements
    paced = tuple(
        replace(p, singles=replace(p.singles, period_s=0.02)) for p in cell.processes if p.singles
    )
    estimate, _ = deadlines.median_of(replace(cell, processes=paced))
    assert estimate.low is not None
    assert estimate.high is not None
    level_s = 1.0034 * LEVEL_S  # half of a normal tail of 0.5 % is beyond that
    assert estimate.low <= level_s < SLOWER * level_s <= estimate.high
    assert estimate.high < 1.02 * SLOWER * level_s


def test_which_board_measured_more_is_no_change() -> None:
    """The same code, first mostly on the faster board and then mostly on the slower one: SAME.

    What is 10 % slower on both is SLOWER, and what differs is told once for each Run.
    """
    found = compare(_run(FAST), _run(SLOW, seed=2))
    assert {cell.verdict for cell in found.cells} == {"SAME"}
    assert all(cell.ratio == pytest.approx(1.0, abs=0.01) for cell in found.cells)
    slower = compare(_run(FAST), _run(SLOW, seed=2, times=1.1))
    assert {cell.verdict for cell in slower.cells} == {"SLOWER"}
    assert len(found.boards) == 2
    told = "\n".join(comparison.comparison_lines(found))
    assert "The boards of the Run before differ: two takes 5.0% longer than one." in told.replace(
        "4.9%", "5.0%"
    ).replace("5.1%", "5.0%")
    assert "Verdicts hold for each of them." in told


def test_other_boards_of_a_kind_are_held_against_each() -> None:
    """A change that one board may have and another one not is none: the interval holds both."""
    before, after = _run(BOTH), _run(("three", "four") * 4, seed=2, times=1.04)
    found = compare(before, after)
    assert {cell.verdict for cell in found.cells} == {"AMBIGUOUS"}
    assert {cell.reason for cell in found.cells} == {
        "its interval is too wide to tell a change from none, for it holds boards that differ"
    }
    for cell in found.cells:
        assert cell.low is not None
        assert cell.high is not None
        assert cell.low < 1.04 / SLOWER < 1.04 * SLOWER < cell.high
    change = apart(before.measurements[0], after.measurements[0])
    assert change is not None
    assert change.least < -0.04 < 0.04 < change.most
    assert apart(*(_run(("one",) * 8, seed=n).measurements[0] for n in (1, 2))) is not None


def test_ops_are_as_uncertain_as_boards_are_apart() -> None:
    """On whatever boards the passes were, the interval of a sum of ops reaches the other's."""
    op = OpTime(
        index=0, node="n", op="Conv", kind="conv", inputs=(), outputs=(), origin=(), kernel="",
        seconds=1.0, runs=3, method="combined", low_s=0.99, high_s=1.01,
    )  # fmt: skip
    (cell, *_) = _run(BOTH).measurements
    span = numbers.of_ops([op], cell)
    assert span.low is not None
    assert span.high is not None
    assert (span.low, span.high) == pytest.approx((0.99 / SLOWER, 1.01 * SLOWER), rel=0.01)
    assert numbers.of_ops([op], replace(cell, checks=())).high == 1.01


def test_a_trend_has_no_step_where_other_boards_measured() -> None:
    """Runs mostly on the faster board, then mostly on the slower one, or on others: no step.

    What becomes slower on both is a step, with the boards beside it where they changed.
    """
    same = [_run(FAST if day <= 5 else SLOW, seed=day, day=day) for day in range(1, 11)]
    found = trend(same)
    assert not [cell.steps for cell in found.cells if cell.steps]
    assert len(found.boards) == 10
    assert (
        "The boards of 2026-11-01T00:00:00+00:00 differ: two takes" in shown_trend.lines(found)[1]
    )
    others = ("three", "four") * 4

    def changed(times: float, then: Sequence[str]) -> list[int]:
        runs = [
            _run(BOTH, seed=day, day=day)
            if day <= 5
            else _run(then, seed=day, day=day, times=times)
            for day in range(1, 11)
        ]
        return [len(cell.steps) for cell in trend(runs).cells]

    assert changed(1.04, BOTH) == [1, 1, 1]
    assert changed(1.04, others) == [0, 0, 0]
    assert changed(1.2, others) == [1, 1, 1]


def test_the_level_of_a_cell_is_that_of_the_middle_of_its_boards() -> None:
    """Whichever of them measured it more often."""
    levels = [stats.level(_run(ran).measurements[0]) for ran in (FAST, SLOW)]
    middle = math.log(LEVEL_S * math.sqrt(SLOWER))
    assert [one.log for one in levels if one] == pytest.approx([middle] * 2, abs=0.003)
    assert twins.said(_run(BOTH).measurements).startswith("two takes ")
    assert twins.said(_run(("one", "three") * 4).measurements) == ""


def test_cells_that_are_tied_to_boards_say_so() -> None:
    """Where no cell was measured by two boards nobody knows whether they differ; none is silent."""
    fast, slow = (_run((board,) * 5).measurements[at] for at, board in enumerate(("one", "two")))
    told = checks.of_boards([fast, slow])
    assert [[check.code for check in own] for own in told] == [["boards_unknown"]] * 2
    assert [own[0].data["board"] for own in told] == ["one", "two"]
    assert checks.of_boards([fast]) == ((),)
    again = [replace(one, checks=own) for one, own in zip((fast, slow), told, strict=True)]
    assert checks.of_boards(again) == told
