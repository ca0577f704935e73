"""Weights and multiply-adds are those that Li's tables print."""

import pytest

from nnprof.networks.counts import _one, counted
from nnprof.networks.families import parse_network
from nnprof.networks.layers import KINDS, Act
from nnprof.networks.spec import parse

FCN = "784 fc{} bn relu fc{} bn relu fc10"
CNN = (
    "1x28x28 conv{}k3same bn relu pool2 conv{}k3same bn relu pool2 "
    "fc{} bn relu fc{} bn relu fc10"
)  # fmt: skip


@pytest.mark.parametrize(
    ("network", "weights", "batch_mult_adds"),
    [
        (FCN.format(100, 180), 98_490, "50.43 M"),
        (FCN.format(50, 120), 46_580, "23.85 M"),
        (FCN.format(200, 200), 199_210, "102.00 M"),
        (CNN.format(10, 18, 8, 20), 9_192, "208.33 M"),
        (CNN.format(20, 30, 9, 20), 19_279, "632.18 M"),
        (CNN.format(25, 40, 20, 30), 49_450, "1.03 G"),
        (CNN.format(40, 60, 25, 50), 97_395, "2.37 G"),
    ],
)
def test_the_tables_of_li(network: str, weights: int, batch_mult_adds: str) -> None:
    """All seven networks, weights without batch norm, multiply-adds at batch 512."""
    found = counted(parse_network(network))
    assert found.weights == weights
    number, unit = batch_mult_adds.split()
    assert f"{512 * found.mult_adds / {'M': 1e6, 'G': 1e9}[unit]:.2f}" == number


def test_batch_norm_and_brackets_are_counted() -> None:
    """Norms have a scale and a shift per channel; a bracket has what its branches have."""
    assert counted(parse_network("784 fc100 bn relu fc10")).norm_weights == 200
    text = "784 [fc64 relu bn fc128 relu bn | fc32 relu bn fc64 relu bn] fc256 relu bn fc10"
    found = counted(parse_network(text))
    # The network of parallel paths of Świętek 2024, section 9.
    assert found.weights + found.norm_weights == 138_858


@pytest.mark.parametrize(
    ("network", "weights", "mult_adds"),
    [
        ("60x1 lstm50 fc1 linear", 10_400 + 51, 60 * 10_400 + 51),
        ("60x3 gru50 lstm20 fc1 linear", 8_250 + 5_680 + 21, 60 * (8_250 + 5_680) + 21),
    ],
)
def test_recurrent_layers_are_counted_by_steps(network: str, weights: int, mult_adds: int) -> None:
    """Weights as Keras counts them; each of them multiplies once a step."""
    found = counted(parse_network(network))
    assert (found.weights, found.mult_adds) == (weights, mult_adds)


def test_norms_of_sequences_have_two_weights_a_feature() -> None:
    """Not of each step."""
    assert counted(parse("60x3 bn lstm5 bn fc1")).norm_weights == 2 * 3 + 2 * 5


def test_no_kind_of_layer_is_counted_as_nothing_by_default() -> None:
    """A layer that nobody counts fails; all that are known are in one network or another."""

    class Strange: ...

    with pytest.raises(TypeError, match="nobody counts a layer of the kind Strange"):
        _one(Strange(), (3,), (3,))  # type: ignore[arg-type]
    texts = ("1x9x9 conv2k3 pool2 bn dropout0.1 tanh [fc3 | fc4] fc2", "6x1 gru5 lstm5 fc1")
    specs = [parse(text) for text in texts]
    assert all(counted(spec).weights for spec in specs)
    assert {type(layer) for spec in specs for layer in spec.layers} | {Act} == set(KINDS)
