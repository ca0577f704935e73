"""What a study says of its outcome, as data: an order, a closeness, a range, a line, a spread.

`profiler/claims.py` judges them by the trainings of a user.
"""

from __future__ import annotations

from typing import Literal

import msgspec

# What a claim can be about; of a training with targets that are values there is no accuracy.
Measure = Literal[
    "test accuracy",
    "validation accuracy",
    "training accuracy",
    "test loss",
    "validation loss",
    "s per epoch",
    "training s",
]


class _Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Common to all claims.

    Attributes:
        says: the sentence, as the source has it or as we read it.
        of: what is compared.
    """

    says: str
    of: Measure


class Above(_Claim, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="above"):
    """Each of the cells `above` has a higher value than each of the cells `below`."""

    above: tuple[str, ...]
    below: tuple[str, ...]

    def about(self) -> set[str]:
        """Names of the cells."""
        return {*self.above, *self.below}


class Within(_Claim, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="within"):
    """The values of the cells differ by at most `most`."""

    cells: tuple[str, ...]
    most: float

    def about(self) -> set[str]:
        """Names of the cells."""
        return set(self.cells)


class Between(_Claim, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="between"):
    """The value of each of the cells is in low…high, both included."""

    cells: tuple[str, ...]
    low: float
    high: float

    def about(self) -> set[str]:
        """Names of the cells."""
        return set(self.cells)


class Linear(_Claim, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="linear"):
    """The value is a straight line of the number that is varied: R² is at least `least`."""

    cells: tuple[str, ...]
    varied: str
    least: float = 0.9

    def about(self) -> set[str]:
        """Names of the cells."""
        return set(self.cells)


class Wider(_Claim, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="wider"):
    """The values of the cells `wide` lie further apart than those of the cells `narrow`."""

    wide: tuple[str, ...]
    narrow: tuple[str, ...]

    def about(self) -> set[str]:
        """Names of the cells."""
        return {*self.wide, *self.narrow}


Claim = Above | Within | Between | Linear | Wider
