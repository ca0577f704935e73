"""Spec → torch module."""

import numpy as np
import pytest
import torch
from torch import nn

from nnprof.errors import BadFile, BadShape
from nnprof.networks import build
from nnprof.networks.spec import parse

EXAMPLES = [
    "1x28x28 conv20k5 conv20k5 pool2 fc128 fc10",
    "784 fc32 tanh fc10",
    "3x9x10 conv4k4same bn relu avgpool2 dropout0.5 fc7 softsign fc3 linear",
    "1x12x12 conv3k3s2same sigmoid conv2k2 pool3s1 fc5 bn tanh fc4",
    "2x7x7 conv5k4s3same softmax",
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_module_gives_the_shape_of_its_spec(text: str) -> None:
    """Every layer kind builds, and the output has the shape that the spec infers."""
    spec = parse(text)
    out = build.build(spec).eval()(torch.rand(2, *spec.input_shape))
    assert tuple(out.shape) == (2, *spec.shapes[-1])


def test_names_are_readable() -> None:
    """The state dict counts each kind of layer."""
    names = build.build(parse("1x9x9 conv2k3 bn relu conv3k3 fc4 fc2")).state_dict()
    learned = [name for name in names if name.endswith(("weight", "bias"))]
    assert learned == [
        f"{layer}.{part}"
        for layer in ("conv1", "bn1", "conv2", "fc1", "fc2")
        for part in ("weight", "bias")
    ]


def test_weights_come_from_the_seed_alone() -> None:
    """The same seed gives the same weights, another one others; torch's own state is untouched."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build.build(parse("784 fc10 seed7"))
    assert (torch.rand(3) == expected).all()
    again, other = build.build(parse("784 fc10 seed7")), build.build(parse("784 fc10 seed8"))
    assert torch.equal(first.state_dict()["fc1.weight"], again.state_dict()["fc1.weight"])
    assert not torch.equal(first.state_dict()["fc1.weight"], other.state_dict()["fc1.weight"])
    assert not first.state_dict()["fc1.bias"].any()


def test_signals_keep_their_size_through_many_layers() -> None:
    """Initial weights suit the activation: ten layers deep, values neither vanish nor explode."""
    spec = parse("256 " + "fc256 " * 10 + "fc10")
    out = build.build(spec)[:20](torch.randn(64, 256)).detach()
    assert 0.1 < float(out.std()) < 10


def test_odd_padding_goes_after() -> None:
    """'same' pads as SAME_UPPER of ONNX: the odd zero after, not before."""
    network = build.build(parse("1x4x4 conv1k2same linear"))
    with torch.no_grad():
        network.state_dict()["conv1.weight"].fill_(1)
    out = network(torch.ones(1, 1, 4, 4))[0, 0].detach()
    assert float(out[0, 0]) == 4
    assert float(out[3, 3]) == 1


def test_logits_share_the_weights_and_leave_softmax_out() -> None:
    """Softmax of the logits is the output; a network without softmax is its own logits."""
    network = build.build(parse("8 fc5 fc3"))
    tiles = torch.rand(4, 8)
    assert torch.allclose(torch.softmax(build.logits(network)(tiles), 1), network(tiles))
    assert build.logits(network)[0] is network[0]
    scores = build.build(parse("8 fc3 linear"))
    assert build.logits(scores) is scores


def test_dropout_has_its_rate() -> None:
    """The rate of the notation is the share that is dropped."""
    (dropout,) = (
        part for part in build.build(parse("8 dropout0.3 fc2")) if type(part) is nn.Dropout
    )
    assert dropout.p == 0.3


def test_weights_of_another_network_are_refused() -> None:
    """Restoring names where the weights are from and does not fit them by force."""
    with pytest.raises(BadFile, match="not those of '8 fc3'"):
        build.restore(parse("8 fc3"), {"fc1.weight": np.zeros((2, 8), np.float32)}, "there")


@pytest.mark.parametrize("layers", ["fc1000000", "fc99999999999", "fc99999999999 fc99999999999"])
def test_a_network_larger_than_any_file(layers: str) -> None:
    """A network of more weights than an ONNX file holds is refused before it takes memory."""
    with pytest.raises(BadShape, match="which no ONNX file holds"):
        build.build(parse(f"1x28x28 {layers}"))


def test_branches_are_joined() -> None:
    """Outputs of branches are concatenated or added; names count on through brackets."""
    values = torch.rand(3, 6)
    network = build.build(parse("6 [fc4 relu | fc3 relu fc2 tanh] fc2 linear")).eval()
    first, second, third, last = (
        network.state_dict()[f"{name}.weight"]
        for name in (
            *("branches1.branch1.fc1", "branches1.branch2.fc2", "branches1.branch2.fc3"),
            "fc4",
        )
    )
    left = (values @ first.T).relu()
    right = ((values @ second.T).relu() @ third.T).tanh()
    assert torch.allclose(network(values), torch.cat([left, right], 1) @ last.T, atol=1e-6)
    added = build.build(parse("6 [ + fc6 linear]")).eval()
    weight = added.state_dict()["branches1.branch2.fc1.weight"]
    assert torch.allclose(added(values), values + values @ weight.T, atol=1e-6)
