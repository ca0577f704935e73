"""What a calibration measures next, from Runs that were measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from nnprof.profiler import results
from nnprof.profiler.costmodel import course
from nnprof.profiler.costmodel.course import Course
from nnprof.profiler.costmodel.gather import LEAST_ASKED
from nnprof.profiler.costmodel.model import CostModel, Whole, load
from nnprof.types import Run

ROOT = Path(__file__).parents[3]
MADE = load("onnxruntime-avx512")
SECONDS = 900.0
COURSE = Course("mattsson", (1, 1024), SECONDS, 0, MADE)


def _run(name: str) -> Run:
    (path,) = (ROOT / "bench_results").glob(f"costmodel-{name}-*.json")
    return results.load(path)


def _some(timed: int, whole: int) -> Run:
    """A Run with so many small networks with the times of ops, then so many without."""
    first, second = _run("train"), _run("test")
    small = [one for one in first.measurements if one.processes[0].wall_s < 4]
    cells = (*small[:timed], *second.measurements[:whole])
    return replace(first, measurements=cells)


def test_networks_with_ops_come_first() -> None:
    """After a probe; for the first share of the time, less what the probe took."""
    turn = COURSE.next_turn(_some(4, 0), SECONDS)
    assert turn is not None
    assert turn.plan == course.TIMED
    assert len(turn.asked) >= 15
    assert f"{len(turn.asked)} networks with the times of their ops, about 3" in turn.words


def test_the_same_run_has_the_same_next_turn() -> None:
    """Nothing is left to chance but the seed."""
    assert COURSE.next_turn(_some(4, 0), SECONDS) == COURSE.next_turn(_some(4, 0), SECONDS)
    assert COURSE._replace(seed=5).next_turn(_some(4, 0), 900) != COURSE.next_turn(_some(4, 0), 900)


def test_then_as_many_whole_ones_as_an_interval_needs() -> None:
    """Some of them at batch 1, and some above 64."""
    turn = COURSE._replace(seconds=100).next_turn(_some(8, 0), 80.0)
    assert turn is not None
    assert (turn.plan, len(turn.asked)) == (course.WHOLE, LEAST_ASKED)
    batches = [one.batch for one in turn.asked]
    assert batches.count(1) >= 2
    assert max(batches) > 64


def test_turns_alternate_after_that() -> None:
    """More ops after whole networks."""
    turn = _with(1.3, 0.1)._replace(seconds=200).next_turn(_some(8, LEAST_ASKED), 100)
    assert turn is not None
    assert turn.plan == course.TIMED


def test_what_does_not_fit_is_not_begun() -> None:
    """A second is too little for any network."""
    assert COURSE.next_turn(_some(8, 30), 1.0) is None


def _with(factor: float, *errors: float) -> Course:
    made: CostModel = replace(MADE, network=Whole(error=errors[-1], factor=factor))
    return COURSE._replace(model=made, errors=errors)


@pytest.mark.parametrize(
    ("asked", "held_out", "enough"),
    [
        (_with(1.09, 0.05), LEAST_ASKED, True),
        (_with(1.09, 0.05), LEAST_ASKED - 1, False),  # of too few: luck
        (_with(1.3, 0.10), LEAST_ASKED, False),
        (_with(1.3, 0.10, 0.09, 0.08), LEAST_ASKED, False),
        (_with(1.3, 0.10, 0.099, 0.098), LEAST_ASKED, True),
        (_with(1.3, 0.10, 0.20, 0.08), LEAST_ASKED, False),
    ],
)
def test_it_is_enough_when_more_does_not_help(asked: Course, held_out: int, enough: bool) -> None:
    """A narrow interval, or two fits without a gain of a twentieth."""
    assert asked.is_enough(held_out) == enough


def test_where_no_op_has_a_time_networks_are_measured_whole() -> None:
    """The fit is of whole networks then, so none is kept apart."""
    turn = COURSE.next_turn(_some(0, 6), SECONDS)
    assert turn is not None
    assert turn.plan == course.WHOLE
    assert "whole networks" in turn.words
