"""Changes of a series of Runs, each of which is a sample of processes: steps, and a slow drift.

**Steps** are found by E-divisive means (Matteson & James 2014, "A nonparametric approach for
multiple change point analysis of multivariate data"), by which MongoDB finds regressions (Daly et
al. 2020, "The use of change point detection to identify software performance regressions in a
continuous integration system"). A series is cut where the energy distance between what lies before
and what lies behind is largest, then its parts, as long as a cut is beyond doubt. The process is
the unit of distance: two Runs are as far apart as their processes. The Run is the unit of doubt: a
cut is held against the strongest ones of the same Runs in random orders, for processes of one hour
share the state of their machine. The p-value is sequential (Besag & Clifford 1991).

**A drift** is a monotonic trend of the Runs' medians: Mann's and Kendall's test (1945) with the
slope of Theil (1950) and Sen (1968), by scipy.

Of many series some look changed by luck: doubts are those of all together (Benjamini & Hochberg
1995).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import msgspec

from nnprof.profiler import changes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    _Matrix = NDArray[np.float64]

LEAST = 8  # Runs: fewer have too few orders to put a change beyond doubt (2 of 70 with eight)
SIDE = 2  # Runs on either side of a step: one alone is no level
_ORDERS = 4999  # tried at most; no doubt is smaller than 1 in 5000
_ENOUGH = 10  # orders that look as changed: the doubt is known well enough then
_AT_ONCE = 100
_CLOSE = 1e-12  # what distances differ by when only the order of a sum does

Logs = Sequence[Sequence[float]]  # Run by Run the logarithms of its processes' times


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """A slow change over all Runs: relative per Run with its 95 % interval, in all, its p-value."""

    per_run: float
    low: float
    high: float
    total: float
    doubt: float


def sure(doubts: Sequence[float]) -> list[bool]:
    """Which changes stay when all cells are looked at (Benjamini & Hochberg 1995)."""
    from scipy.stats import false_discovery_control

    if not doubts:
        return []
    return [bool(one <= changes.ERROR) for one in false_discovery_control(doubts)]


def cuts(logs: Logs) -> list[tuple[int, float]]:
    """Where the level changes, and the doubt of each cut; the surest first.

    The first one is told whatever its doubt, for it is held against those of other cells.
    """
    import numpy as np

    apart = _apart(logs)
    random = np.random.default_rng(0)  # the same Runs have the same steps
    found: list[tuple[int, float]] = []
    parts = [(0, len(logs))]
    while True:
        best = max(((*_best(apart[a:b, a:b][None])[0], a, b) for a, b in parts), default=None)
        if best is None or best[0] <= 0:
            return found
        strength, place, start, end = best
        doubt = _doubt(apart, parts, strength, random)
        if not found or doubt <= changes.ERROR:
            found.append((start + place, doubt))
        if doubt > changes.ERROR:
            return found
        parts = [one for one in parts if one != (start, end)]
        parts += [(start, start + place), (start + place, end)]


def _apart(logs: Logs) -> _Matrix:
    """How far apart the processes of two Runs are on the mean; 0 for a Run and itself."""
    import numpy as np

    values = [np.asarray(one) for one in logs]
    apart = np.array([[np.abs(one[:, None] - other).mean() for other in values] for one in values])
    np.fill_diagonal(apart, 0.0)
    return apart


def _best(apart: _Matrix) -> list[tuple[float, int]]:
    """Of each order of Runs the strongest cut, and where it is.

    Its strength is the energy distance times n·m/(n+m) of the n Runs before it and the m behind, of
    which some at the end may be left out: a level that comes back would hide the cut.
    """
    import numpy as np

    orders, count, _ = apart.shape
    if count < 2 * SIDE:
        return [(0.0, 0)] * orders
    sums = np.zeros((orders, count + 1, count + 1))
    sums[:, 1:, 1:] = apart.cumsum(axis=1).cumsum(axis=2)
    cut, end = np.triu_indices(count + 1, SIDE)
    cut, end = cut[cut >= SIDE], end[cut >= SIDE]
    first, rest = cut, end - cut
    within = sums[:, cut, cut]
    across = sums[:, cut, end] - within
    behind = sums[:, end, end] - within - 2 * across
    energy = (
        2 * across / (first * rest) - within / (first * (first - 1)) - behind / (rest * (rest - 1))
    )
    strength = energy * first * rest / (first + rest)
    places = strength.argmax(axis=1)
    return [(float(one[at]), int(cut[at])) for one, at in zip(strength, places, strict=True)]


def _doubt(
    apart: _Matrix, parts: Sequence[tuple[int, int]], strength: float, random: np.random.Generator
) -> float:
    """Share of orders of the Runs, within the parts, that have as strong a cut."""
    import numpy as np

    tried = stronger = 0
    while tried < _ORDERS and stronger < _ENOUGH:
        most = np.full(_AT_ONCE, -np.inf)
        for start, end in parts:
            orders = random.permuted(np.tile(np.arange(start, end), (_AT_ONCE, 1)), axis=1)
            shuffled = apart[orders[:, :, None], orders[:, None, :]]
            most = np.maximum(most, [value for value, _ in _best(shuffled)])
        tried += _AT_ONCE
        stronger += int((most >= strength - _CLOSE).sum())
    return (stronger + 1) / (tried + 1)


def drift(logs: Logs) -> Drift:
    """The monotonic trend of the Runs' medians."""
    from scipy.stats import kendalltau, theilslopes

    medians, numbers = [median(own) for own in logs], range(len(logs))
    slope: Any = theilslopes(medians, numbers, 0.95)
    total = math.expm1(slope.slope * (len(logs) - 1))
    doubt = float(kendalltau(numbers, medians).pvalue)
    if math.isnan(doubt) or abs(total) <= changes.TOLERANCE:
        doubt = 1.0  # all alike, or too little to matter
    return Drift(
        per_run=math.expm1(slope.slope),
        low=math.expm1(slope.low_slope),
        high=math.expm1(slope.high_slope),
        total=total,
        doubt=doubt,
    )


def criterion(off: Sequence[float], parameters: int) -> float:
    """Schwarz's: what is left unexplained, and what the explanation costs."""
    left = fmean(value * value for value in off) + _CLOSE
    return len(off) * math.log(left) + parameters * math.log(len(off))
