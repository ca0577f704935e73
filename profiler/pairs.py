"""Two cells whose processes alternated: the logarithms of the ratios, pair by pair. Pure.

What a machine does from one minute to the next (a neighbour, a clock, heat) hits both processes of
a pair and divides out; what is left is what happens within seconds. Who of a pair comes first is
drawn, so that a trend within pairs favours nobody. Whether a ratio is far from 1 is asked at a few
numbers of pairs only (`looks`), and each is charged for all of them.

A process stands for what its inferences take while nothing disturbs them: the time that a tenth of
its samples stay below. A neighbour on the same processor makes samples longer, never shorter, and a
median jumps with it as soon as it has half of the time (`benchmarks/README.md`: medians of like
pairs then differ by 34 to 60 %, these by 0.8 to 1.6 %). The minimum would do as well (Chen & Revels
2016, "Robust benchmarking in noisy environments") until one sample is too short by luck.
"""

from __future__ import annotations

import math
import random

from nnprof.types import Measurement, Plan, Run, Side

PROTOCOL = "pairs"
SIDES: tuple[Side, Side] = ("a", "b")
_SHARE = 0.1  # of a process's samples
_GROWTH = 1.45  # of the number of pairs from one look to the next


def are_sides(before: Run, after: Run) -> bool:
    """Whether the two Runs were measured in pairs with each other."""
    one, other = before.study, after.study
    return bool(
        one.paired
        and other.paired
        and one.paired.side != other.paired.side
        and one.created == other.created
        and len(one.cells) == len(other.cells)
    )


def first(plan: Plan, cell: int, pair: int) -> Side:
    """Which side's process comes first in a pair of the two cells at this position.

    It is drawn for each two pairs, of which one begins with a and one with b: as many of each, so
    that a trend within pairs cancels out.
    """
    # Not for secrets: the order must be repeatable.
    drawn = random.Random(f"{plan.seed}.{cell}.{pair // 2}").randrange(2)  # noqa: S311
    return SIDES[(drawn + pair) % 2]


def log_ratios(before: Measurement, after: Measurement) -> tuple[float, ...]:
    """Of each whole pair, in order: the logarithm of the second over the first."""
    old, new = levels_s(before), levels_s(after)
    return tuple(math.log(new[pair] / old[pair]) for pair in sorted(old.keys() & new.keys()))


def next_pair(*sides: Measurement | None) -> int:
    """The number of the next pair; one that was cut off in its middle keeps its own."""
    known = [one.pair for side in sides if side for one in side.processes if one.pair is not None]
    return max(known, default=-1) + 1


def looks(plan: Plan) -> tuple[int, ...]:
    """At how many pairs the verdict is asked for: the plan's least, then ever more, to its most.

    Steps that grow lose at most their growth in pairs, and keep the number of looks small.
    """
    found = [min(max(plan.processes, 2), plan.max_processes)]
    while found[-1] < plan.max_processes:
        found.append(min(plan.max_processes, math.ceil(found[-1] * _GROWTH)))
    return tuple(found)


def levels_s(measurement: Measurement) -> dict[int, float]:
    """Seconds per inference of an undisturbed process, by the pair that it belongs to."""
    return {
        process.pair: sorted(samples)[int(_SHARE * len(samples))]
        for process, samples in zip(measurement.processes, measurement.samples_s, strict=True)
        if process.pair is not None
    }
