"""Numbers as people read them: so many significant digits, and aligned on the decimal point."""

from __future__ import annotations

import math
from collections.abc import Sequence


def digits(value: float | None, count: int = 4) -> str:
    """A number to so many significant digits, without exponents where they can be helped."""
    if value is None or math.isnan(value):
        return "–"
    if value == 0 or not 1e-6 <= abs(value) < 1e9:
        return f"{value:.{count}g}"
    decimals = max(0, count - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def aligned(values: Sequence[float], count: int = 4) -> list[str]:
    """Numbers with as many decimals as the largest needs for `count` significant digits."""
    largest = max((abs(value) for value in values), default=0.0)
    whole = math.floor(math.log10(largest)) if largest else 0
    return [f"{value:.{max(0, count - 1 - whole)}f}" for value in values]
