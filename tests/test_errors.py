"""One tree of errors, drawn where they are defined; each says what is wrong and what to do."""

import inspect
import re

import pytest

from nnprof import errors
from nnprof.errors import BadNotation, CellError, NnprofError, UnknownName, UsageError

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and value.__module__ == errors.__name__
}


def drawn() -> dict[str, int]:
    """Name and depth of each class in the docstring's tree."""
    lines = re.findall(r"^    ([│├└─ ]*)([A-Z]\w+)  ", errors.__doc__ or "", re.MULTILINE)
    return {name: len(branch) // 4 for branch, name in lines}


def test_the_docstring_draws_every_class() -> None:
    """The tree in the docstring has each class, at the depth that it has in the code."""
    depths = {
        name: len(cls.__mro__) - NnprofError.__mro__.__len__() for name, cls in CLASSES.items()
    }
    assert drawn() == depths


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_each_error_is_of_the_tree(cls: type) -> None:
    """Each class is a usage error or a cell error, and says in a docstring what it means."""
    assert cls is NnprofError or issubclass(cls, UsageError | CellError)
    assert cls.__doc__


def test_the_text_is_reason_and_remedy() -> None:
    """The whole text is the reason, then the remedy; both can be had alone."""
    error = UsageError("The file is cut.", "Run it again.")
    assert (error.reason, error.remedy) == ("The file is cut.", "Run it again.")
    assert str(error) == "The file is cut. Run it again."
    assert str(CellError("No memory.")) == "No memory."


def test_bad_notation_knows_its_column() -> None:
    """A notation error says where, in the text and as a number."""
    error = BadNotation("1x28x28 cnv", 9, "Unknown layer 'cnv'")
    assert error.column == 9
    assert str(error) == "Unknown layer 'cnv' at column 9 of '1x28x28 cnv'."


def test_unknown_names_list_the_known_in_order() -> None:
    """The known names are sorted, however they were given."""
    error = UnknownName("device", "gpu", {"cuda": 1, "cpu": 2})
    assert str(error) == "Unknown device 'gpu'. Known: cpu, cuda."
