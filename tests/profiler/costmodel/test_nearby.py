"""Networks beside those that were timed whole: what the terms leave of their times."""

from __future__ import annotations

import numpy as np
import pytest

from nnprof.networks.spec import parse
from nnprof.profiler.costmodel import features, joint, lowering, nearby, predict, sets, work
from nnprof.profiler.costmodel.model import NETWORK, CostModel, Group, Term
from nnprof.profiler.costmodel.work import Work

WIDTHS, BATCHES = (16, 40, 100, 250, 630, 1600), (1, 4, 16, 64, 256)


def network(width: int, batch: int) -> list[Work]:
    """Ops of an MLP."""
    return lowering.of_spec(parse(f"784 fc{width} fc{width} fc10 linear"), "fused", batch)


def seconds_of(networks: list[list[Work]], *, odd: float = 1.0) -> np.ndarray:
    """On a device of known speed, where batches from 16 on take `odd` times as long."""
    flops = np.array([sum(op.flops for op in ops) for ops in networks])
    moved = np.array([sum(op.bytes_weights for op in ops) for ops in networks])
    late = np.array([ops[0].batch >= 16 for ops in networks])
    return (1e-5 + flops * 1e-11 + moved * 1e-10) * np.where(late, odd, 1.0)


def everything() -> tuple[list[list[Work]], np.ndarray]:
    """All networks, and their names."""
    networks = [network(width, batch) for width in WIDTHS for batch in BATCHES]
    return networks, np.repeat([str(width) for width in WIDTHS], len(BATCHES))


def test_a_step_that_no_term_has_is_taken_from_the_networks_beside() -> None:
    """A library that changes its kernel at a batch: what the terms are off by is gone."""
    networks, names = everything()
    seconds = seconds_of(networks, odd=1.4)
    asked = np.array([ops[0].batch == 16 for ops in networks]) & (names == "250")
    known = [ops for ops, out in zip(networks, asked, strict=True) if not out]
    found = joint.fit_networks(known, seconds[~asked], names[~asked])
    terms = found._replace(field=found.field._replace(weights=0 * found.field.weights))
    (at,) = np.flatnonzero(asked)
    off = [abs(one.seconds([networks[at]])[0] / seconds[at] - 1) for one in (found, terms)]
    assert off[0] < 0.03 < 0.1 < off[1]


def test_far_from_all_networks_the_terms_speak_alone() -> None:
    """Four doublings away nothing is left of what a network was off by; at its place, most."""
    places = np.array([[3.0, 20.0, 20.0]])
    field = nearby.Field.of(places, np.array([0.3]))
    assert field.at(places)[0] == pytest.approx(0.3, rel=0.1)
    assert abs(field.at(places + np.array([4.0, 0.0, 0.0]))[0]) < 0.001


def test_below_a_whole_tile_products_take_as_long() -> None:
    """FLOPs in tiles of 32 rows are equal from batch 1 to 32, and twice as many from 33."""
    amount = features.FEATURES["batch_tiles_32"].of
    ops = [work.at_batch(work.gemm(100, 50), batch) for batch in (1, 32, 33, 64)]
    found = amount(work.columns_of(ops))
    np.testing.assert_allclose(found, found[0] * np.array([1, 1, 2, 2]))
    assert "batch_tiles_32" in sets.whole_of("gemm")[0]
    assert sets.whole_of("pool") == sets.sets_of("pool")


def test_beyond_the_measured_batches_the_interval_is_wider() -> None:
    """Also where the terms say that a larger batch costs nothing more."""
    networks, names = everything()
    small = [ops for ops in networks if ops[0].batch <= 16]
    names = names[np.array([ops[0].batch <= 16 for ops in networks])]
    found = joint.fit_networks(small, seconds_of(small), names)
    wider = found.widening(small, [network(250, batch) for batch in (16, 64, 256)])
    assert wider[0] == 0
    assert wider[1] >= 2 * 0.05
    assert wider[2] >= wider[1] + 2 * 0.05


def test_a_model_file_predicts_as_the_fit_does() -> None:
    """One network with its breakdown, and many at once."""
    networks, names = everything()
    found = joint.fit_networks(networks, seconds_of(networks, odd=1.4), names)
    model = _model(found)
    ops = network(300, 32)
    told = predict.predict(model, ops, 32)
    assert told.seconds == pytest.approx(found.seconds([ops])[0], rel=1e-9)
    assert sum(part.seconds for part in told.terms) == pytest.approx(told.seconds)
    many = predict.predict_specs(model, [parse("784 fc300 fc300 fc10 linear")], 32)
    assert many[0] == pytest.approx(told.seconds, rel=1e-9)
    wide = predict.predict(model, network(300, 1024), 1024)
    assert wide.high_s / wide.seconds > told.high_s / told.seconds


def _model(found: joint.Joint) -> CostModel:
    terms = [Term(group=NETWORK, feature="call", coefficient=found.call_s)]
    for group, one in found.groups.items():
        for name, value in zip(one.names, one.coefficients.tolist(), strict=True):
            terms.append(Term(group=group, feature=name, coefficient=value, largest=1e15))
    return CostModel(
        name="known",
        terms=tuple(terms),
        groups=tuple(
            Group(name=name, ops=(), factor=1.1, growth=found.growth) for name in found.groups
        ),
        batches=(1, 256),
        nearby=found.field.kept(),
    )
