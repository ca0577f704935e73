"""Many networks of a family at once: `mattsson(conv=1..5, depth=5..80/5)`.

A value of a parameter is a number, several apart by `|`, or a range `first..last` or
`first..last/step`, both ends included. A parameter that is left out has the family's own choices
(`families.FAMILIES`); a bare name of a family has all of them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from nnprof.errors import BadNotation, BadShape, UnknownName
from nnprof.networks.families import FAMILIES, defaults
from nnprof.networks.spec import NetworkSpec

MOST_NAMED = 10_000  # networks of one call that are measured or trained
MOST = 1_000_000  # networks of one space; a slip of the finger must not run for a day

_CALL = re.compile(r"\s*([a-z_][a-z0-9_]*)\s*(?:\(([^()]*)\))?\s*")
# A call in which a value is a range or a choice.
_RANGED = re.compile(r"\s*[a-z_][a-z0-9_]*\s*\([^()]*(\.\.|\|)[^()]*\)\s*")
_RANGE = re.compile(r"(\d{1,6})(?:\.\.(\d{1,6})(?:/(\d{1,6}))?)?")
_EXAMPLE = "Write it like this: mattsson(conv=1..5, fc=1, depth=5..80/5, neurons=128|256)."


class Space(NamedTuple):
    """The networks of a family with all combinations of these values, in ascending order."""

    family: str
    choices: dict[str, tuple[int, ...]]

    @property
    def size(self) -> int:
        """Combinations, those that make no network included."""
        return math.prod(len(values) for values in self.choices.values())

    def specs(self) -> Iterator[NetworkSpec]:
        """Each network; combinations that do not fit together are left out."""
        make = FAMILIES[self.family].make
        for values in itertools.product(*self.choices.values()):
            with suppress(BadShape):
                yield make(**dict(zip(self.choices, values, strict=True)))


def parse_space(text: str) -> Space:
    """The space that a user's text stands for.

    Raises:
        UnknownName: no family of that name.
        BadNotation: a parameter that the family does not have, or no value.
    """
    name, arguments = _call(text)
    return _space(text, name, arguments, FAMILIES[name].choices)


def calls(text: str) -> tuple[str, ...]:
    """The networks that a user's text names: those of a call with ranges, or the text itself.

    Unlike in a space, a parameter that is left out has its default.

    Raises:
        BadNotation: a parameter that the family does not have, no value, or too many networks.
        BadShape: a combination that makes no network.
    """
    if not _RANGED.fullmatch(text):
        return (text,)
    name, arguments = _call(text)
    usual = {parameter: (value,) for parameter, value in defaults(FAMILIES[name].make).items()}
    space = _space(text, name, arguments, usual)
    if space.size > MOST_NAMED:
        raise BadNotation(text, 1, f"{space.size} networks are too many", f"At most {MOST_NAMED}.")
    make = FAMILIES[name].make
    every = itertools.product(*space.choices.values())
    return tuple(make(**dict(zip(space.choices, values, strict=True))).name for values in every)


def _call(text: str) -> tuple[str, str]:
    """Name and arguments of a family's call."""
    call = _CALL.fullmatch(text)
    if not call:
        raise BadNotation(text, 1, "No family", _EXAMPLE)
    if call[1] not in FAMILIES:
        raise UnknownName("family", call[1], FAMILIES)
    return call[1], call[2] or ""


def _space(text: str, name: str, arguments: str, usual: Mapping[str, tuple[int, ...]]) -> Space:
    choices = dict(usual)
    for word in arguments.split(",") if arguments.strip() else ():
        parameter, equals, value = (part.strip() for part in word.partition("="))
        column = text.index(word) + 1
        if not equals or parameter not in choices:
            known = f"Its parameters: {', '.join(choices)}."
            raise BadNotation(text, column, f"'{word.strip()}' is not understood", known)
        choices[parameter] = _values(text, column, value)
    space = Space(name, choices)
    if space.size > MOST:
        raise BadNotation(
            text, 1, f"{space.size} networks are too many", f"At most {MOST} are looked at."
        )
    return space


def _values(text: str, column: int, value: str) -> tuple[int, ...]:
    found: set[int] = set()
    for word in value.split("|"):
        match = _RANGE.fullmatch(word.strip())
        if not match:
            raise BadNotation(text, column, f"'{word.strip()}' is no number or range", _EXAMPLE)
        first = int(match[1])
        last, step = int(match[2] or first), int(match[3] or 1)
        if step == 0 or last < first:
            raise BadNotation(text, column, f"'{word.strip()}' holds nothing", _EXAMPLE)
        found.update(range(first, last + 1, step))
    return tuple(sorted(found))
