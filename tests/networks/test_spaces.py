"""Many networks of a family at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.errors import BadNotation, BadShape, UnknownName
from nnprof.networks.families import mattsson
from nnprof.networks.spaces import calls, parse_space


def test_a_bare_name_is_the_whole_family() -> None:
    """`mattsson` spans the ranges of the 2016 groups, each network once."""
    space = parse_space("mattsson")
    specs = list(space.specs())
    assert len(specs) == space.size == len({spec.name for spec in specs})
    assert mattsson(conv=5, fc=5, depth=80, neurons=2048) in specs


def test_ranges_lists_and_numbers() -> None:
    """`a..b/step` holds both ends, `|` puts values side by side, in ascending order."""
    space = parse_space(" mattsson( conv=3|1, fc=2, depth=5..20/5, neurons=128|256..258 ) ")
    assert space.choices == {
        **{"conv": (1, 3), "fc": (2,)},
        **{"depth": (5, 10, 15, 20), "neurons": (128, 256, 257, 258), "pool1": (0,)},
    }


def test_what_does_not_fit_is_left_out() -> None:
    """28×28 tiles hold six ConvLayers; a seventh is no network."""
    space = parse_space("mattsson(conv=5..8, fc=1, depth=5, neurons=128)")
    assert [spec.parameters["conv"] for spec in space.specs()] == [5, 6]
    assert space.size == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mattsson(con=2)", "'con=2' is not understood at column 10"),
        ("mattsson(conv)", "'conv' is not understood"),
        ("mattsson(conv=two)", "'two' is no number or range at column 10"),
        ("mattsson(conv=5..2)", r"'5..2' holds nothing"),
        ("mattsson(depth=1..9/0)", "holds nothing"),
        ("mattsson(depth=1..999999, neurons=1..999999)", "are too many"),
        ("(conv=2)", "No family"),
    ],
)
def test_slips_are_sentences(text: str, said: str) -> None:
    """Each says what is wrong, and where."""
    with pytest.raises(BadNotation, match=said):
        parse_space(text)


def test_unknown_families_list_the_known() -> None:
    """A family that is not there names those that are."""
    with pytest.raises(UnknownName, match="Known: lenet, mattsson"):
        parse_space("resnet")


@given(st.text("mattsson()convfdepthurl=.|/, 0123456789", max_size=40))
def test_any_text_is_a_space_or_a_sentence(text: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        space = parse_space(text)
    except (BadNotation, UnknownName):
        return
    assert space.size >= 1


def test_a_call_with_ranges_is_several_networks() -> None:
    """What is not named has its default; a text without ranges is left as it is."""
    assert calls("mattsson(conv=1..2, pool1=1, depth=5|20)") == (
        "mattsson(conv=1, fc=1, depth=5, neurons=128, pool1=1)",
        "mattsson(conv=1, fc=1, depth=20, neurons=128, pool1=1)",
        "mattsson(conv=2, fc=1, depth=5, neurons=128, pool1=1)",
        "mattsson(conv=2, fc=1, depth=20, neurons=128, pool1=1)",
    )
    assert calls("lenet(kernel=3..5/2)") == ("lenet(kernel=3)", "lenet()")
    for text in ("mattsson(conv=2)", "1x28x28 fc10", "a.onnx", "mattsson"):
        assert calls(text) == (text,)


def test_a_range_that_does_not_fit_is_refused() -> None:
    """Unlike a search, which leaves out what makes no network, a bench must not."""
    with pytest.raises(BadShape):
        calls("mattsson(conv=5..8)")
    with pytest.raises(BadNotation, match="too many"):
        calls("mattsson(neurons=1..99999)")
    with pytest.raises(UnknownName, match="Known: lenet, mattsson"):
        calls("resnet(depth=1..2)")
