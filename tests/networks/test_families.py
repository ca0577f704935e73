"""A family's call is a network."""

import pytest

from nnprof.errors import BadNotation, BadShape, UnknownName
from nnprof.networks import families
from nnprof.networks.families import mattsson, parse_network
from nnprof.networks.spec import parse


def test_the_network_of_2016() -> None:
    """M ConvLayers 5×5 with ReLU, one 2×2 pool after the last, K hidden FC, FC 10, softmax."""
    spec = mattsson(conv=2, fc=1)
    assert spec.notation == "1x28x28 conv20k5 conv20k5 pool2 fc128 fc10"
    assert spec.shapes == ((20, 24, 24), (20, 20, 20), (20, 10, 10), (128,), (10,))
    assert mattsson(conv=0, fc=0).notation == "1x28x28 fc10"


def test_the_pools_of_2016() -> None:
    """With pool1=1 a 1×1 pool stands behind each ConvLayer but the last."""
    spec = mattsson(conv=3, pool1=1)
    assert spec.notation == "1x28x28 conv20k5 pool1 conv20k5 pool1 conv20k5 pool2 fc128 fc10"
    assert spec.name == "mattsson(conv=3, fc=1, depth=20, neurons=128, pool1=1)"
    assert spec.shapes[-4:] == mattsson(conv=3).shapes[-4:]
    assert mattsson(conv=1, pool1=1).layers == mattsson(conv=1).layers


def test_lenet_of_2019() -> None:
    """Groth's base network, and what she varies; a name tells only what is unlike the base."""
    base = "1x28x28 conv20k5 pool2 conv50k5 pool2 fc500 fc10"
    assert families.lenet().notation == base
    assert families.lenet().name == "lenet()"
    wide = parse_network("lenet(filters1=40, filters2=100)")
    assert wide.notation == "1x28x28 conv40k5 pool2 conv100k5 pool2 fc500 fc10"
    assert families.parameters(wide)["kernel"] == 5
    assert parse_network("lenet(convs=0)").notation == "1x28x28 fc500 fc10"
    assert parse_network("lenet(stride=3, same=1)").shapes[3] == (50, 1, 1)
    assert parse_network("lenet(channels=3, size=32)").notation.startswith("3x32x32")
    with pytest.raises(BadShape, match="same from 0 to 1"):
        families.lenet(same=2)


def test_a_seed_is_part_of_the_name() -> None:
    """A seed other than 0 stands in the name, and comes back from it."""
    spec = mattsson(seed=7)
    assert spec.name == "mattsson(conv=1, fc=1, depth=20, neurons=128, seed=7)"
    assert parse_network(spec.name) == spec
    assert spec != mattsson()


def test_notation_and_calls_are_both_networks() -> None:
    """A user's text is notation or a call, with any spaces; what is left out has its default."""
    assert parse_network("1x28x28 fc10") == parse("1x28x28 fc10")
    assert parse_network(" mattsson ( fc = 3,conv=2 ) ") == mattsson(conv=2, fc=3)
    assert parse_network("mattsson()") == mattsson()


ARGUMENT = "Write name=number, each once, of: conv, fc, depth, neurons, pool1, seed."
CALL = "Write it like this: mattsson(conv=2, fc=1)."


@pytest.mark.parametrize(
    ("text", "column", "sentence"),
    [
        (
            "mattsson(conv=1, foo=2)",
            18,
            f"'foo=2' is not understood at column 18 of {{}}. {ARGUMENT}",
        ),
        ("mattsson(conv=-1)", 10, f"'conv=-1' is not understood at column 10 of {{}}. {ARGUMENT}"),
        ("mattsson(fc=1,fc=2)", 15, f"'fc=2' is not understood at column 15 of {{}}. {ARGUMENT}"),
        ("mattsson(conv=1,)", 17, f"'' is not understood at column 17 of {{}}. {ARGUMENT}"),
        ("mattsson(2)", 10, f"'2' is not understood at column 10 of {{}}. {ARGUMENT}"),
        ("mattsson(conv=1", 1, f"Incomplete call of a family at column 1 of {{}}. {CALL}"),
        ("mattsson", 1, f"Incomplete call of a family at column 1 of {{}}. {CALL}"),
    ],
)
def test_bad_calls_say_where(text: str, column: int, sentence: str) -> None:
    """A call that is not understood is shown with the column of the word and the right form."""
    with pytest.raises(BadNotation) as caught:
        parse_network(text)
    assert str(caught.value) == sentence.format(f"'{text}'")
    assert caught.value.column == column


def test_unknown_families_are_refused_with_the_known() -> None:
    """A family that does not exist is refused with the list of those that do."""
    with pytest.raises(UnknownName, match=r"^Unknown family 'resnet'\. Known: lenet, mattsson\.$"):
        parse_network("resnet(conv=1)")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("mattsson(conv=7)", "conv 7 of 7: 5×5 does not fit 4×4."),
        ("mattsson(conv=1000000000)", "mattsson needs conv from 0 to 1000, not 1000000000."),
        ("mattsson(fc=1000000000)", "mattsson needs fc from 0 to 1000, not 1000000000."),
        ("mattsson(depth=0)", "conv 1 of 1 needs sizes of at least 1."),
        ("mattsson(neurons=0)", "fc 1 of 2 needs at least 1 neuron."),
    ],
)
def test_impossible_members_are_refused(call: str, sentence: str) -> None:
    """A member that cannot be built is refused at once, however large its numbers."""
    with pytest.raises(BadShape) as caught:
        parse_network(call)
    assert str(caught.value) == sentence


def test_a_negative_count_is_refused() -> None:
    """A negative number of layers is an error, not zero layers."""
    with pytest.raises(BadShape, match="conv from 0 to 1000, not -1"):
        mattsson(conv=-1)


def test_six_conv_layers_are_the_most() -> None:
    """Six ConvLayers leave 4×4 of 28×28, which the pool halves; a seventh does not fit."""
    assert mattsson(conv=6).shapes[6] == (20, 2, 2)
