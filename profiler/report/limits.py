"""Limits of an axis where a few values would flatten all curves. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.folders import listed

_REACH = 4  # spreads of the middle half, on each side of it, that are shown in any case
_GAIN = 3  # times larger the rest must become, or everything is shown
_MARGIN = 0.05  # of the range, as free space at both ends


class Limits(NamedTuple):
    """Ends of an axis, and in words what lies beyond them."""

    low: float
    high: float
    outside: str


def limits(curves: Mapping[str, NDArray[np.float64]], unit: str = "") -> Limits | None:
    """Where the axis ends, if a few values would flatten all others; None where they do not.

    Args:
        curves: name of each → its values; nan where there is none.
        unit: what stands behind a value in words.
    """
    told = np.concatenate([values.ravel() for values in curves.values()])
    told = told[~np.isnan(told)]
    if not told.size:
        return None
    first, third = np.percentile(told, (25, 75))
    reach = _REACH * (third - first)
    kept = told[(told >= first - reach) & (told <= third + reach)]
    low, high = float(kept.min()), float(kept.max())
    if high == low or told.max() - told.min() < _GAIN * (high - low):
        return None
    margin = _MARGIN * (high - low)
    return Limits(low - margin, high + margin, _outside(curves, low, high, unit))


def _outside(curves: Mapping[str, NDArray[np.float64]], low: float, high: float, unit: str) -> str:
    """Curves that end beyond, each with its last value, and those that are there for a while."""
    ends, some = [], []
    for name, values in curves.items():
        told = values[~np.isnan(values)]
        if not ((told < low) | (told > high)).any():
            continue
        if low <= told[-1] <= high:
            some.append(name)
        else:
            ends.append(f"{name} (ends at {digits(float(told[-1]), 3)}{unit})")
    parts = [listed(ends)] if ends else []
    parts += [f"epochs of {listed(some)}"] if some else []
    return f"outside: {'; '.join(parts)}"
