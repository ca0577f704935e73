"""Differences with intervals: of two sums of ops, and of two cells end to end. Pure.

The interval of a difference is made of those of its two sides by MOVER (Zou & Donner 2008,
"Construction of confidence limits about effect measures: a general approach", Stat. Med. 27:1693):

    low  = (b - a) - √((b - b_low)² + (a_high - a)²)
    high = (b - a) + √((b_high - b)² + (a - a_low)²)

It asks for no symmetry, and only that the sides are independent, as two Runs are. Within a side the
ops of a row share their passes, and nobody knows how their errors hang together; so their
intervals are added up, which holds whatever they do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from nnprof.profiler import changes, pairs, stats
from nnprof.profiler.diff.values import IntervalFrom
from nnprof.types import Measurement, OpTime


class Span(NamedTuple):
    """A time with its 95 % interval, None where it has none."""

    seconds: float
    low: float | None
    high: float | None


class EndToEnd(NamedTuple):
    """Two cells, how much longer b takes, and what the interval of that is made of."""

    a: Span
    b: Span
    delta: Span
    interval_from: IntervalFrom


def of_ops(ops: Sequence[OpTime], measurement: Measurement) -> Span:
    """The sum of ops of a cell; 0 without doubt where nothing ran.

    On whatever boards its passes were, the interval reaches as far as those that differ are apart.
    """
    lows, highs = [op.low_s for op in ops], [op.high_s for op in ops]
    known = None not in lows and None not in highs
    steps = stats.board_steps(measurement)[0].values() or (0.0,)
    apart = math.exp(max(steps) - min(steps))
    return Span(
        sum(op.seconds for op in ops),
        sum(low or 0.0 for low in lows) / apart if known else None,
        sum(high or 0.0 for high in highs) * apart if known else None,
    )


def less(b: Span, a: Span) -> Span:
    """How much longer b is."""
    delta = b.seconds - a.seconds
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Span(delta, None, None)
    return Span(
        delta,
        delta - math.hypot(b.seconds - b.low, a.high - a.seconds),
        delta + math.hypot(b.high - b.seconds, a.seconds - a.low),
    )


def clean(measurement: Measurement) -> Span:
    """A cell end to end: the clean median."""
    low, high = stats.interval_s(measurement) or (None, None)
    return Span(stats.latency_s(measurement), low, high)


def end_to_end(a: Measurement, b: Measurement, *, paired: bool) -> EndToEnd:
    """Two clean medians; of processes that alternated, undisturbed levels (`pairs`), as `compare`.

    The interval of pairs is that of their ratio, in units of a's level, and holds the difference.
    """
    change = changes.by_pairs(a, b) if paired else None
    if change is None:
        first, second = clean(a), clean(b)
        delta = less(second, first)
        return EndToEnd(first, second, delta, "processes" if delta.low is not None else "")
    old, new = (median(pairs.levels_s(one).values()) for one in (a, b))
    low, high = (old * (bound - 1) for bound in changes.bounds(change, 0.95))
    delta = Span(new - old, min(low, new - old), max(high, new - old))
    return EndToEnd(Span(old, None, None), Span(new, None, None), delta, "pairs")
