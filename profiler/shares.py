"""Shares of inferences and their intervals, in Python's own numbers, so that `show` starts fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nnprof.profiler.stats import t_975

END = 0.025  # beyond each end of an interval


class Estimate(NamedTuple):
    """A number with its 95 % interval; an end that the samples leave open is None."""

    value: float | None
    low: float | None
    high: float | None


class Share(NamedTuple):
    """A share of all inferences with its 95 % interval."""

    value: float
    low: float
    high: float


def clustered(
    hits: Sequence[int], sizes: Sequence[int], effective: float, alike: float = 0.0
) -> Share:
    """A share with the interval of Korn & Graubard 1998 (`tails` has the whole title).

    Args:
        hits: of each cluster.
        sizes: of each cluster.
        effective: how many independent ones they are worth at most.
        alike: correlation of clusters that are neighbours, 0 where they come in no order.
    """
    from scipy.special import betaincinv  # has numpy

    count, clusters = sum(sizes), len(sizes)
    share, worth = sum(hits) / count, effective
    if 0 < share < 1 and clusters > 1:
        apart = sum(
            (size / count) ** 2 * (own / size - share) ** 2
            for own, size in zip(hits, sizes, strict=True)
        )
        variance = apart * clusters / (clusters - 1) * (1 + alike) / (1 - alike)
        penalty = (t_975(count - 1) / t_975(clusters - 1)) ** 2
        if variance:
            worth = min(worth, share * (1 - share) / variance * penalty)
    worthy = share * worth
    low = float(betaincinv(worthy, worth - worthy + 1, END)) if worthy else 0.0
    high = float(betaincinv(worthy + 1, worth - worthy, 1 - END)) if worthy < worth else 1.0
    return Share(share, low, high)
