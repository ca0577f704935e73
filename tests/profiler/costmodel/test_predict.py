"""Predictions: sums, flags, refusals."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnprof.networks.families import mattsson
from nnprof.networks.spec import parse
from nnprof.profiler.costmodel.lowering import of_spec, of_specs
from nnprof.profiler.costmodel.model import CostModel, Group, Term, Whole
from nnprof.profiler.costmodel.predict import (
    extrapolating,
    network_factors,
    predict,
    predict_specs,
)
from nnprof.profiler.costmodel.prediction import Prediction

MADE = CostModel(
    name="toy",
    lowering="fused",
    terms=(
        Term(group="network", feature="call", coefficient=1e-5),
        Term(group="network", feature="launch", coefficient=1e-6),
        Term(group="conv", feature="flops", coefficient=1e-11, largest=1e8),
        Term(group="gemm", feature="bytes_weights", coefficient=1e-10),
        Term(group="maxpool", feature="bytes_in", coefficient=1e-10),
        Term(group="reshape", feature="launch", coefficient=1e-7),
        Term(group="softmax", feature="launch", coefficient=1e-6),
    ),
    groups=tuple(
        Group(name=name, ops=(name,), factor=factor)
        for name, factor in (("conv", 1.2), ("gemm", 1.1), ("maxpool", 1.3), ("reshape", 2.0),
                             ("softmax", 2.0))
    ),
)  # fmt: skip


@given(st.integers(0, 5), st.integers(0, 3), st.integers(1, 80), st.integers(1, 1024))
@settings(max_examples=40, deadline=None)
def test_one_network_costs_what_it_costs_among_many(
    conv: int, fc: int, depth: int, batch: int
) -> None:
    """The breakdown and the vectorised path give the same time, and the parts add up to it."""
    missed = (
        Term(group="gemm", feature="weights_missed_1m", coefficient=1e-10),
        Term(group="conv", feature="bytes_out_missed_4m", coefficient=1e-10),
    )
    made = msgspec.structs.replace(MADE, terms=(*MADE.terms, *missed))
    spec = mattsson(conv=conv, fc=fc, depth=depth)
    alone = predict(made, of_spec(spec, "fused", batch), batch)
    many = predict_specs(made, [mattsson(), spec, mattsson(conv=3)], batch)
    assert alone.seconds == pytest.approx(many[1])
    assert sum(part.seconds for part in alone.terms) == pytest.approx(alone.seconds)
    layers = sum(part.seconds for part in alone.layers)
    assert layers + 1e-5 + 1e-6 * len(alone.layers) == pytest.approx(alone.seconds)


PAST = Term(group="conv", feature="bytes_moved_past_1m", coefficient=1e-10, identified=False)
MISSED = Term(group="gemm", feature="weights_missed_1m", coefficient=3e-10, largest=1e5)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(1, 400)), min_size=1),
    st.sampled_from([1, 30, 1024, 5000]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_a_family_is_told_what_each_network_is_told(
    shapes: list[tuple[int, int, int]], batch: int, ranged: bool
) -> None:
    """Seconds, interval and flag of many at once are those of each alone; also by a box.

    Also where a term depends on all that the network touches.
    """
    groups = tuple(msgspec.structs.replace(group, growth=0.1) for group in MADE.groups)
    made = msgspec.structs.replace(MADE, terms=(*MADE.terms, PAST, MISSED), groups=groups)
    if not ranged:  # as the published model: no term says what it has seen, but groups do
        terms = tuple(msgspec.structs.replace(term, largest=None) for term in MADE.terms)
        groups = tuple(
            msgspec.structs.replace(
                group, domain={"c_out": (5, 80)} if group.name == "conv" else {}
            )
            for group in MADE.groups
        )
        made = msgspec.structs.replace(MADE, terms=terms, groups=groups, batches=(30, 1024))
    specs = [mattsson(conv=conv, fc=fc, depth=depth) for conv, fc, depth in shapes]
    table = of_specs(specs, "fused").at(batch)
    alone = [predict(made, of_spec(spec, "fused", batch), batch) for spec in specs]
    assert predict_specs(made, specs, batch) == pytest.approx([one.seconds for one in alone])
    flags = extrapolating(made, table, batch).tolist()
    assert flags == [bool(one.extrapolates) for one in alone]
    factors = [one.high_s / one.seconds for one in alone if one.high_s]
    assert network_factors(made, table) == pytest.approx(factors)


def test_a_group_without_a_factor_has_the_widest() -> None:
    """One op too few to have been held out takes no interval away from the network."""
    groups = tuple(
        msgspec.structs.replace(group, factor=None) if group.name == "reshape" else group
        for group in MADE.groups
    )
    found = predict(
        msgspec.structs.replace(MADE, groups=groups), of_spec(mattsson(), "fused", 64), 64
    )
    assert found.high_s is not None
    assert 1.1 < found.high_s / found.seconds < 2.0


def test_a_batch_below_all_that_were_measured_is_known_less() -> None:
    """What a call costs and what a tile costs are told apart by batches alone.

    Where all were 1024, the time at batch 1 may be that of its tile: 1/1024 of what 1024 take.
    """

    def asked(batches: tuple[int, int], batch: int) -> Prediction:
        made = msgspec.structs.replace(MADE, batches=batches)
        return predict(made, of_spec(mattsson(), "fused", batch), batch)

    def off(found: Prediction) -> float:
        assert found.high_s is not None
        return found.high_s / found.seconds

    least = asked((1024, 1024), 1024)
    one = asked((1024, 1024), 1)
    assert one.low_s is not None
    assert one.low_s <= least.seconds / 1024
    assert one.extrapolates[0] == "batch 1 is below the least that was measured, 1024"
    assert off(one) > off(asked((256, 1024), 1)) > off(asked((16, 1024), 1))
    assert off(asked((16, 1024), 1)) > off(asked((1, 1024), 1))


def test_a_small_part_is_not_spoken_of() -> None:
    """Less than a tenth of the time cannot move the total much, however far out it is."""

    def asked(coefficient: float) -> tuple[str, ...]:
        softmax = Term(group="softmax", feature="bytes_in", coefficient=coefficient, largest=1.0)
        others = tuple(term for term in MADE.terms if term.group != "softmax")
        made = msgspec.structs.replace(MADE, terms=(*others, softmax))
        return predict(made, of_spec(mattsson(), "fused", 1), 1).extrapolates

    assert asked(1e-12) == ()
    assert asked(1e-5) == ("softmax: 40.0 times the most bytes read that was measured",)


def test_an_op_never_seen_is_named_and_not_summed() -> None:
    """Tanh on its own is in no group; the rest is a part, and has no interval."""
    spec = parse("1x28x28 conv20k5 pool2 tanh fc10")
    found = predict(MADE, of_spec(spec, "fused", 4), 4)
    assert found.unknown == ("Tanh",)
    assert found.low_s is None
    assert math.isfinite(found.seconds)
    assert math.isnan(predict_specs(MADE, [spec], 4)[0])


def test_beyond_what_was_measured_is_flagged_with_the_term() -> None:
    """Ten times the largest convolution that was measured."""
    small = predict(MADE, of_spec(mattsson(), "fused", 1), 1)
    large = predict(MADE, of_spec(mattsson(depth=80), "fused", 4096), 4096)
    assert small.extrapolates == ()
    assert "conv" in large.extrapolates[0]
    assert "FLOPs" in large.extrapolates[0]


def test_the_interval_widens_beyond_what_was_measured() -> None:
    """By the group's growth for each doubling, and by the op's share of the network's time."""
    groups = tuple(
        msgspec.structs.replace(group, growth=0.2 if group.name == "conv" else None)
        for group in MADE.groups
    )
    made = msgspec.structs.replace(MADE, groups=groups, network=Whole(factor=1.1))

    def factor(batch: int) -> float:
        one = predict(made, of_spec(mattsson(conv=5), "fused", batch), batch)
        assert one.high_s is not None
        return one.high_s / one.seconds

    assert factor(1) == pytest.approx(1.1)
    assert factor(1024) > factor(512) > factor(256) > 1.1
    # Hardly anything but convolutions: each doubling is nearly e to the 0.2.
    assert factor(1024) / factor(512) == pytest.approx(math.exp(0.2), rel=0.05)


def test_a_term_that_nothing_measured_tells_is_flagged() -> None:
    """A byte of memory that only a bandwidth tells: said so, and the interval is wider for it."""
    flops = Term(group="conv", feature="flops", coefficient=1e-11, largest=1e12)
    others = tuple(term for term in MADE.terms if term.group != "conv")
    past = msgspec.structs.replace(PAST, coefficient=1e-9)
    made = msgspec.structs.replace(MADE, terms=(*others, flops, past))
    spec = mattsson(conv=2)
    found = [predict(made, of_spec(spec, "fused", batch), batch) for batch in (1, 256)]
    assert found[0].extrapolates == ()
    assert any("no op that was measured" in text for text in found[1].extrapolates)
    widths = [one.high_s / one.seconds for one in found if one.high_s]
    assert widths[1] > 1.3 * widths[0]


def test_the_interval_is_that_of_whole_networks_where_it_is_known() -> None:
    """Else the ops' factors, weighted by their time."""
    ops = of_spec(mattsson(conv=5), "fused", 1024)
    from_ops = predict(MADE, ops, 1024)
    assert from_ops.high_s is not None
    assert 1.1 < from_ops.high_s / from_ops.seconds < 1.25
    whole = msgspec.structs.replace(MADE, network=Whole(factor=1.05))
    found = predict(whole, ops, 1024)
    assert found.high_s == pytest.approx(found.seconds * 1.05)
    assert found.low_s == pytest.approx(found.seconds / 1.05)
