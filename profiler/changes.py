"""Whether a cell changed: the difference of two cells' logarithms, its doubt, and a word for it.

The process is the unit, as everywhere. Of cells that were measured apart, the logarithms of the
processes' medians are compared by Welch's t (1947), which needs neither equal counts nor equal
spread. Of cells whose processes alternated (`pairs`) the logarithms of the pairs' ratios are held
against 0 by the trimmed t of Tukey & McLaughlin (1963) and Yuen (1974).

A cell is called FASTER or SLOWER when its change is beyond doubt larger than a tolerance; the doubt
is that of all cells together, by Holm's procedure (1979). It is SAME when its interval lies within
a margin (two one-sided tests, Schuirmann 1987), and AMBIGUOUS when neither can be said.

Why the trimmed t for pairs: under "no change" the two processes of a pair may be exchanged, so
their log ratio is symmetric whatever the machine does. But where a neighbour hits one of two, it is
far off. Simulated with 1.3 % between pairs, 15 % of them off by up to a factor of 2.5, and 40 cells
(`benchmarks/paired.py --simulated`), a change of 5 % is called in 399 of 400 cases after 12 pairs;
by Wilcoxon's signed ranks, whose least p is 2^-n, in 344 after 26, and by Student's t in 141.

A verdict on pairs is asked for at several numbers of them (`pairs.looks`). So each p counts as
often as there are looks, and each interval is as much wider: by Bonferroni's inequality that holds
whatever the looks have in common (repeated confidence intervals, Jennison & Turnbull 1989).
Pocock's boundaries (1977) would save a tenth of the pairs, but are made for a known spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from nnprof.profiler import pairs, stats, twins
from nnprof.types import Measurement

TOLERANCE = 0.01  # a shift that the same code shows from one hour to the next on a shared machine
TOLERANCE_PAIRED = 0.005  # of pairs, in which the hours divide out
SAME = 0.03
SAME_PAIRED = 0.02
ERROR = 0.05  # of calling any cell of a comparison FASTER or SLOWER when none is
RESOLUTION = 0.03  # the change that `needed` is about
_POWER = 0.9  # of calling it
_TRIMMED = 0.2  # of the pairs at each end (Wilcox 2012, "Robust estimation": a fifth)
_FEWEST, _MOST_NEEDED = 5, 10_000  # pairs: below there is nothing to trim, beyond no patience

Verdict: TypeAlias = Literal["SAME", "FASTER", "SLOWER", "AMBIGUOUS"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A difference of logarithms, its standard error and degrees of freedom.

    Attributes:
        looks: how often its verdict is asked for.
        tolerance: a smaller change is none.
        same: a cell whose change is beyond doubt below it is SAME.
        pairs: of processes that it is made of, None where they did not alternate.
        least, most: by how much the difference is smaller and larger on a board than at the middle
            of boards that differ (`twins`). A word about a change is one about each of them.
    """

    difference: float
    error: float
    freedom: float
    looks: int = 1
    tolerance: float = TOLERANCE
    same: float = SAME
    pairs: int | None = None
    least: float = 0.0
    most: float = 0.0

    @property
    def ratio(self) -> float:
        """After over before; above 1 is slower."""
        return math.exp(self.difference)


def apart(before: Measurement, after: Measurement) -> Change | None:
    """Of two cells measured one after the other; None where a side has a single process."""
    old, new = stats.level(before), stats.level(after)
    return on_each_board(between(old, new), before, after) if old and new else None


def on_each_board(made: Change, before: Measurement, after: Measurement) -> Change:
    """A change at the middle of the boards of two cells, as one of each of these boards."""
    least, most = twins.beyond(before, after)
    errors = (stats.board_steps(one)[1] for one in (before, after))
    return replace(made, error=math.hypot(made.error, *errors), least=least, most=most)


def between(old: stats.Level, new: stats.Level) -> Change:
    """Of two levels, measured one after the other."""
    # Welch-Satterthwaite; sides without any spread (a fake clock) leave no doubt at all.
    parts = [(side.error**2, side.freedom) for side in (old, new)]
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / own for part, own in parts) if total else 1.0
    return Change(difference=new.log - old.log, error=math.sqrt(total), freedom=freedom)


def by_pairs(before: Measurement, after: Measurement) -> Change | None:
    """Of two cells whose processes alternated; None with fewer than two whole pairs."""
    logs = pairs.log_ratios(before, after)
    if len(logs) < 2:
        return None
    return trimmed(logs, looks=len(pairs.looks(before.plan)))


def trimmed(logs: Sequence[float], *, looks: int = 1) -> Change:
    """Of the logarithms of at least two ratios: their mean without the fifth at either end.

    Its standard error is that of the values with those ends moved inwards (winsorised).
    """
    ordered, count = sorted(logs), len(logs)
    cut = int(_TRIMMED * count)
    kept = ordered[cut : count - cut]
    moved = [kept[0]] * cut + kept + [kept[-1]] * cut
    inner = len(kept)
    return Change(
        difference=fmean(kept),
        error=stdev(moved) * math.sqrt((count - 1) / (inner * (inner - 1))),
        freedom=inner - 1,
        looks=looks,
        tolerance=TOLERANCE_PAIRED,
        same=SAME_PAIRED,
        pairs=count,
    )


def doubt(change: Change | None) -> float:
    """p-value of "the change is within its tolerance", one-sided at the nearer edge."""
    from scipy.special import stdtr  # all of scipy.stats takes seconds to load

    if change is None:
        return 1.0
    nearest = max(change.difference + change.least, -(change.difference + change.most))
    beyond = nearest - math.log1p(change.tolerance)
    if not change.error:
        return 0.0 if beyond > 0 else 1.0
    return min(1.0, change.looks * float(stdtr(change.freedom, -beyond / change.error)))


def holm(doubts: Sequence[float]) -> list[bool]:
    """Which hypotheses Holm's step-down procedure rejects at the error of the whole family."""
    order = sorted(range(len(doubts)), key=doubts.__getitem__)
    rejected = [False] * len(doubts)
    for rank, index in enumerate(order):
        if doubts[index] > ERROR / (len(doubts) - rank):
            break
        rejected[index] = True
    return rejected


def verdict(change: Change | None, *, sure: bool) -> Verdict:
    """The word for a change; `sure`: its doubt is small enough among those of all cells."""
    if change is None:
        return "AMBIGUOUS"
    if sure:
        return "SLOWER" if change.ratio > 1 else "FASTER"
    low, high = bounds(change, 1 - 2 * ERROR)  # each of the two one-sided tests has 5 %
    within = low > 1 / (1 + change.same) and high < 1 + change.same
    return "SAME" if within else "AMBIGUOUS"


def is_clear(before: Measurement, after: Measurement, among: int) -> bool:
    """Whether cells that alternate need no further pair, as one of so many two that do.

    Each two are held against the strictest level of Holm's procedure, so that a verdict on them
    stands whatever the others give.
    """
    change = by_pairs(before, after)
    return verdict(change, sure=doubt(change) <= ERROR / among) != "AMBIGUOUS"


def bounds(change: Change, level: float) -> tuple[float, float]:
    """Interval of the ratio that holds at all looks together."""
    from scipy.special import stdtrit

    share = (1 - level) / 2 / change.looks
    reach = -float(stdtrit(change.freedom, share)) * change.error
    low, high = change.difference + change.least - reach, change.difference + change.most + reach
    return math.exp(low), math.exp(high)


def needed(change: Change | None, among: int) -> int | None:
    """How many pairs would call a change of `RESOLUTION`, were it there, in 9 of 10 cases.

    With the spread of the pairs at hand, by the t-values of the error and of the power. None
    without pairs, and beyond ten thousand.
    """
    import numpy as np
    from scipy.special import stdtrit

    if change is None or change.pairs is None:
        return None
    counts = np.arange(_FEWEST, _MOST_NEEDED + 1)
    freedom = counts - 2 * (_TRIMMED * counts).astype(int) - 1
    quantiles = stdtrit(freedom, _POWER) - stdtrit(freedom, ERROR / change.looks / among)
    reach = quantiles * change.error * np.sqrt(change.pairs / counts)
    enough = np.flatnonzero(reach <= math.log1p(RESOLUTION) - math.log1p(change.tolerance))
    return int(counts[enough[0]]) if enough.size else None
