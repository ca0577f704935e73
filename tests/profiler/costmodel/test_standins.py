"""Ops of kinds that no Run measured: predicted from others, said to be, with a wider interval."""

from __future__ import annotations

import math

import msgspec
import pytest

from nnprof.errors import BadFile
from nnprof.networks.families import parse_network
from nnprof.profiler.costmodel import features, fit, model, standins, work
from nnprof.profiler.costmodel.lowering import of_spec, of_specs
from nnprof.profiler.costmodel.model import CostModel, StandIn
from nnprof.profiler.costmodel.predict import extrapolating, predict, predict_specs
from nnprof.profiler.costmodel.rows import rows_of
from nnprof.profiler.costmodel.work import Work
from tests.profiler.costmodel.test_blocks import fitted, run_of
from tests.profiler.costmodel.test_work import recorded

# What no network of the Run has: average pools, the normalisation as ops, norms as convolutions.
LENET = "1x28x28 conv6k5same tanh avgpool2 conv16k5 tanh avgpool2 fc120 tanh fc84 tanh fc10"
NORMED = "3x16x16 conv20k3same relu bn conv20k3 relu tanh pool2 fc10"


@pytest.fixture(scope="module")
def made() -> CostModel:
    """A model through its file, of a Run in which an op took 1 µs and 1 ns for each byte written.

    Its pools are max-pools, and of ops that go element by element it has one.
    """
    found = fitted(run_of(recorded(16)))
    return model.decode(model.encode(found), "a file")


def asked(made: CostModel, text: str, batch: int = 16) -> tuple[Work, ...]:
    """The ops of a network by the model's rules."""
    return of_spec(parse_network(text), made.lowering, batch)


@pytest.mark.parametrize("text", [LENET, NORMED])
def test_a_network_with_ops_never_measured_is_predicted_and_says_of_which(
    text: str, made: CostModel
) -> None:
    """Nothing is refused; each such kind of op is named with what stands in for it."""
    ops = asked(made, text)
    found = predict(made, ops, 16)
    new = {one.group for one in ops if made.group(one.group) is None}
    assert new
    assert found.unknown == ()
    for name in new:
        assert any(one.startswith(f"{name}: not measured, predicted as ")
                   for one in found.extrapolates)  # fmt: skip
    real = sum(1e-6 + 1e-9 * one.bytes_out for one in ops)
    assert found.seconds == pytest.approx(real, rel=0.5)
    assert found.low_s is not None
    assert found.high_s is not None
    assert found.low_s < real < found.high_s


def test_an_average_pool_is_predicted_as_a_max_pool_of_its_layout(made: CostModel) -> None:
    """In blocks as the pools in blocks, outside as those outside."""
    for group in ("maxpool", "maxpool-plain"):
        told = standins.answer(made, group.replace("max", "average"))
        assert told.instead == group
        assert [(one.feature, one.coefficient) for one in told.terms] == [
            (one.feature, one.coefficient) for one in made.terms_of(group)
        ]


def test_many_networks_are_predicted_as_each_one(made: CostModel) -> None:
    """A search sees the same seconds, and that the network leaves what was measured."""
    spec = parse_network(LENET)
    alone = predict(made, asked(made, LENET), 16)
    assert predict_specs(made, [spec], 16)[0] == pytest.approx(alone.seconds)
    table = of_specs([spec], made.lowering).at(16, made.value_bytes)
    assert extrapolating(made, table, 16).all()


def test_the_interval_is_wider_by_the_share_of_time_that_only_others_tell(made: CostModel) -> None:
    """An op that something stands in for alone: as wide as a prior may be off, and the model is."""
    whole = msgspec.structs.replace(made, network=model.Whole(factor=1.1))
    one = work.at_batch(work.plain("Sigmoid", (20, 8, 8)), 16)
    found = predict(whole, [one], 16)
    call = sum(term.coefficient for term in made.terms_of("network"))
    assert found.high_s is not None
    assert found.seconds > call
    assert math.log(found.high_s / found.seconds) == pytest.approx(
        math.log(1.1) + features.UNTOLD, rel=1e-6
    )


def test_what_may_compute_anything_is_still_refused(made: CostModel) -> None:
    """Nothing stands in for a recurrent layer, nor for an op of no known kind."""
    for op in ("LSTM", "Attention", "NonMaxSuppression"):
        found = predict(made, [Work(group=op.lower(), op=op, bytes_out=4e3)], 1)
        assert found.unknown == (op,)


def test_ops_element_by_element_are_those_of_their_mates() -> None:
    """Where some were measured they tell the others: ten times slower than what copies do."""
    copies = [work.reorder("ReorderOutput", (32, n, n), (20, n, n)) for n in range(8, 28)]
    mates = [work.plain("Add", (20, n, n)) for n in range(8, 28)]

    def told(ops: list[Work]) -> StandIn:
        slow = [10.0 if one.group == "add" else 1.0 for one in ops]
        seconds = [1e-6 + times * 1e-10 * (one.bytes_in + one.bytes_out)
                   for one, times in zip(ops, slow, strict=True)]  # fmt: skip
        rows = rows_of(ops, seconds)
        (found,) = (one for one in standins.of(rows, fit.fit(rows), 1.0) if one.kind == "moves")
        return found

    alone, both = told(copies), told([*copies, *mates])
    assert both.whose == "add"
    assert alone.terms["bytes_moved"] == pytest.approx(1e-10, rel=0.3)
    assert both.terms["bytes_moved"] == pytest.approx(1e-9, rel=0.3)


def test_views_tell_no_rate() -> None:
    """A change of shape has bytes in its table, and moves none of them."""
    copies = [work.reorder("ReorderOutput", (32, n, n), (20, n, n)) for n in range(8, 28)]
    views = [work.reshape((64, n, n)) for n in range(8, 48)]
    rows = rows_of(
        [*copies, *views],
        [*(1e-6 + 1e-10 * (one.bytes_in + one.bytes_out) for one in copies), *[1e-7] * len(views)],
    )
    (found,) = (one for one in standins.of(rows, fit.fit(rows), 1.0) if one.kind == "moves")
    assert found.terms["bytes_moved"] == pytest.approx(1e-10, rel=0.3)


def test_a_prior_stands_in_where_the_rows_tell_nothing(made: CostModel) -> None:
    """Products alone say nothing of what moves values: the prior's, times the scale."""
    ops = [work.gemm(64, n) for n in range(10, 40)]
    rows = rows_of(ops, [1e-6 + 1e-11 * one.flops for one in ops])
    found = standins.of(rows, fit.fit(rows), 1.0, standins.scaled(made, 2.0))
    (mine,) = (one for one in found if one.kind == "moves")
    (theirs,) = (one for one in made.standins if one.kind == "moves")
    assert mine.whose.endswith("of the prior")
    assert mine.terms["launch"] == pytest.approx(2 * theirs.terms["launch"])


def test_the_file_refuses_features_that_are_none(made: CostModel) -> None:
    """A model file of a later nnprof, or of somebody's hand."""
    strange = StandIn(kind="moves", whose="nobody", terms={"magic": 1.0})
    text = model.encode(msgspec.structs.replace(made, standins=(strange,)))
    with pytest.raises(BadFile, match="feature magic"):
        model.decode(text, "a file")
