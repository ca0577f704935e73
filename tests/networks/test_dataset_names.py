"""The names of data sets with their arguments, read and written."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.errors import BadNotation, NnprofError
from nnprof.networks import datasets
from nnprof.networks.data import names

KEYS = st.text(string.ascii_lowercase, min_size=1, max_size=8)
VALUES = st.text(
    string.ascii_letters + string.digits + " ./=-_:éß", min_size=1, max_size=20
).filter(lambda text: text == text.strip())


def example(words: int = 3, column: str = "High") -> None:
    """What a data set takes."""


@given(st.dictionaries(KEYS, VALUES | st.integers(), max_size=4))
def test_a_written_name_is_read_again(arguments: dict[str, str | int]) -> None:
    """What `text_of` writes is what `parse` reads."""
    text = names.text_of("some-set", arguments)
    assert names.parse(text) == ("some-set", {key: str(of) for key, of in arguments.items()}, "")


@given(st.text(string.ascii_lowercase + "(),=: 0123456789-", max_size=30))
def test_any_text_is_arguments_or_one_sentence(text: str) -> None:
    """Whatever a user types is read, or refused in one sentence."""
    try:
        found = names.bound(example, text)
    except BadNotation as error:
        said = str(error).replace(text, "")
        assert said.count(". ") == 1, said
    else:
        assert isinstance(found.get("words", 0), int)
        assert isinstance(found.get("column", ""), str)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("set(words=x)", 11, "'words' takes a number"),
        ("set(words=1, wrds=2)", 14, "'wrds' is not known"),
        ("set(words=1,words=2)", 13, "each once"),
        ("set(words)", 5, "NAME=VALUE"),
        ("set(words=1", 1, "Incomplete"),
    ],
)
def test_a_wrong_argument_is_pointed_at(text: str, column: int, says: str) -> None:
    """The column of the error is where the wrong word stands."""
    with pytest.raises(BadNotation, match=says) as caught:
        names.bound(example, text)
    assert caught.value.column == column


@pytest.mark.parametrize("value", ["a,b", "a)", "(", "", " a"])
def test_a_value_that_could_not_be_read_again_is_refused(value: str) -> None:
    """A name is never recorded that would be read as something else."""
    with pytest.raises(BadNotation, match="another name"):
        names.text_of("prices", {"file": value})


@pytest.mark.parametrize("text", ["digits(words=3)", "digits:3", "prices", "prices()"])
def test_a_data_set_says_what_it_takes(text: str) -> None:
    """Arguments too many or too few are refused with those that there are."""
    with pytest.raises(NnprofError, match=r"takes no arguments|takes file, column, window, until"):
        datasets.load(text)
