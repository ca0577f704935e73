"""Many networks of a family at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.errors import BadNotation, UnknownName
from nnprof.networks.families import mattsson
from nnprof.networks.spaces import parse_space


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
        **{"depth": (5, 10, 15, 20), "neurons": (128, 256, 257, 258)},
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
    with pytest.raises(UnknownName, match="Known: mattsson"):
        parse_space("resnet")


@given(st.text("mattsson()convfdepthurl=.|/, 0123456789", max_size=40))
def test_any_text_is_a_space_or_a_sentence(text: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        space = parse_space(text)
    except (BadNotation, UnknownName):
        return
    assert space.size >= 1
