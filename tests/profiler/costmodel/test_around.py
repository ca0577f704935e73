"""Random networks around a family."""

from __future__ import annotations

import pytest

from nnprof.errors import UsageError
from nnprof.networks.layers import Conv, Dense, Pool
from nnprof.networks.spaces import parse_space
from nnprof.profiler.costmodel import around

SPACE = parse_space("mattsson(conv=1..3, fc=0..2, depth=10..40/10, neurons=128..512/64)")


def _drawn(seed: int, count: int = 300) -> list[around.Asked]:
    return around.draws(SPACE, (2, 64), seed, count)


def test_a_seed_draws_the_same_networks() -> None:
    """And another one others."""
    assert _drawn(1, 20) == _drawn(1, 20) != _drawn(2, 20)


def test_sizes_are_those_of_the_family_and_a_little_beyond() -> None:
    """From half the smallest to 1.2 times the largest; batches from end to end."""
    drawn = _drawn(3)
    layers = [layer for one in drawn for layer in one.spec.layers[:-1]]
    depths = {layer.depth for layer in layers if isinstance(layer, Conv)}
    widths = {layer.neurons for layer in layers if isinstance(layer, Dense)}
    assert min(depths) < 10
    assert max(depths) > 40
    assert depths <= set(range(5, 49))
    assert widths <= set(range(64, 615))
    assert {one.batch for one in drawn} <= set(range(2, 65))
    assert all(one.spec.layers[-1] == Dense(10, "softmax") for one in drawn)


def test_the_smallest_batch_and_plain_networks_have_their_share() -> None:
    """An eighth are at the smallest batch, a sixth have no ConvLayer, an eighth pad, or average."""
    drawn = _drawn(4, 600)
    plain = [one for one in drawn if not any(isinstance(x, Conv) for x in one.spec.layers)]
    padded = [one for one in drawn if any(
        isinstance(x, Conv) and x.padding == "same" for x in one.spec.layers)]  # fmt: skip
    averaged = [one for one in drawn if any(
        isinstance(x, Pool) and x.mode == "avg" for x in one.spec.layers)]  # fmt: skip
    assert 0.12 <= sum(one.batch == 2 for one in drawn) / 600 <= 0.25
    assert 0.1 <= len(plain) / 600 <= 0.25
    assert 0.05 <= len(padded) / 600 <= 0.2
    assert 0.05 <= len(averaged) / 600 <= 0.2


def test_few_networks_have_small_and_large_batches() -> None:
    """Of any ten in a row at least one is in each third of the logarithms."""
    batches = [one.batch for one in _drawn(5, 40)]
    for at in range(30):
        some = batches[at : at + 10]
        assert min(some) <= 6
        assert any(6 <= one <= 20 for one in some)
        assert max(some) >= 20


def test_a_family_without_networks_is_refused() -> None:
    """Seven ConvLayers do not fit on 28×28 tiles."""
    with pytest.raises(UsageError, match="no such network"):
        around.draws(parse_space("mattsson(conv=7)"), (1,), 0, 1)
