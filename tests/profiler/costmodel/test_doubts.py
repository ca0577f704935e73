"""A model that is known to be far off says so, and one of which no number is right is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from nnprof.errors import UsageError
from nnprof.profiler.costmodel import doubts, model
from nnprof.profiler.costmodel.model import CostModel, Group, Term, Whole

GOOD = CostModel(
    name="toy",
    terms=(
        Term(group="conv", feature="launch", coefficient=1e-6, share=0.06),
        Term(group="conv", feature="flops", coefficient=1e-11, share=0.06),
        Term(group="gemm", feature="flops", coefficient=1e-11, share=0.79),
        Term(group="softmax", feature="launch", coefficient=1e-6, share=0.09),
    ),
    groups=(
        Group(name="conv", ops=("Conv",), error=0.2),
        Group(name="gemm", ops=("Gemm",), error=0.1),
        Group(name="softmax", ops=("Softmax",), error=9.0),
    ),
    network=Whole(rows=20, networks=10, error=0.09, median=0.05, noise=0.02, how="left out"),
)


def test_a_good_model_is_not_marked() -> None:
    """Networks within 10 %, groups that matter within 25 %; a small group may be far off."""
    assert doubts.marked(GOOD).doubt == ""


def test_networks_that_are_far_off_mark_a_model() -> None:
    """With the error, how many, how they were left out, and the noise; and the file keeps it."""
    made = doubts.marked(replace(GOOD, network=replace(GOOD.network, error=0.188)))
    assert made.doubt == (
        "Known to be far off: whole networks by 18.8% on average (10, left out, noise of repeats "
        "2.0%)."
    )
    assert model.decode(model.encode(made), "again").doubt == made.doubt


def test_a_group_that_takes_time_and_is_far_off_marks_a_model() -> None:
    """All its terms together take more than a tenth of the time, none of them alone."""
    conv = replace(GOOD.groups[0], error=0.4)
    made = doubts.marked(replace(GOOD, groups=(conv, *GOOD.groups[1:])))
    assert made.doubt == "Known to be far off: shapes of conv (12.0% of the time) by 40.0%."


def test_time_that_no_term_has_marks_a_model() -> None:
    """Ops without shapes are in no prediction; a tenth of the time may lack without a word."""
    made = doubts.marked(GOOD, 0.885)
    lost = "88.5% of the time is of ops without shapes, and in no prediction"
    assert made.doubt == f"Known to be far off: {lost}."
    assert doubts.marked(GOOD, 0.1).doubt == ""


def test_a_model_of_which_no_number_is_right_is_refused() -> None:
    """Half of the networks off by more than half; of four networks that says too little."""
    off = replace(GOOD.network, error=0.9, median=0.6)
    with pytest.raises(UsageError, match=r"half of the 10 networks .* more than 60\.0% off"):
        doubts.marked(replace(GOOD, network=off))
    few = doubts.marked(replace(GOOD, network=replace(off, networks=4)))
    assert "whole networks by 90.0%" in few.doubt
