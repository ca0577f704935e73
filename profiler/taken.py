"""What the processes of a cell took, in memory and in time to load: medians and spread.

The process is the unit, as for latencies (`stats`). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

from nnprof.profiler import stats
from nnprof.types import Loading, Measurement

BYTES = (  # in the order in which a process takes them
    *("weights_bytes", "live_bytes", "least_bytes", "arena_bytes", "device_bytes"),
    *("before_bytes", "imported_bytes", "loaded_bytes", "peak_load_bytes", "peak_bytes"),
    *("added_bytes", "free_bytes"),
)
SECONDS = ("import_s", "build_s", "first_s", "waited_s", "answer_s")


class Amount(NamedTuple):
    """Of so many processes the median, and the 95 % interval where there are several."""

    middle: float
    low: float | None
    high: float | None
    processes: int


class Taken(NamedTuple):
    """What the processes of a cell took.

    Attributes:
        amounts: by the names of `BYTES` and `SECONDS`; those that nobody knows are not there.
        unknown: why they are not.
        cached: processes whose session was made of an artifact kept from before.
        whole: whether peaks hold what the processes took before the runtime, too.
    """

    amounts: dict[str, Amount]
    unknown: dict[str, str]
    cached: int
    whole: bool

    def middle(self, name: str) -> float | None:
        """The median of an amount, None where it is not known."""
        return self.amounts[name].middle if name in self.amounts else None


def taken(measurement: Measurement) -> Taken | None:
    """Of a cell; None where nobody looked."""
    memories = [one.memory for one in measurement.processes if one.memory]
    loadings = [one.loading for one in measurement.processes if one.loading]
    if not memories and not loadings:
        return None
    found = {
        **{name: _amount(getattr(one, name) for one in memories) for name in BYTES},
        **{name: _amount(_SECONDS[name](one) for one in loadings) for name in SECONDS},
    }
    amounts = {name: amount for name, amount in found.items() if amount}
    told = [*(one.unknown for one in memories), *(one.unknown for one in loadings)]
    why = {name: reason for unknown in reversed(told) for name, reason in unknown.items()}
    return Taken(
        amounts=amounts,
        unknown={name: reason for name, reason in why.items() if name not in amounts},
        cached=sum(one.cached for one in loadings),
        whole=any(one.whole for one in memories),
    )


def answer_s(loading: Loading) -> float | None:
    """From a started program to its first result, without what it waited for a processor."""
    parts = (loading.import_s, loading.build_s, loading.first_s)
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return max(0.0, sum(known) - loading.waited_s)


_SECONDS: dict[str, Callable[[Loading], float | None]] = {
    "import_s": lambda one: one.import_s,
    "build_s": lambda one: one.build_s,
    "first_s": lambda one: one.first_s,
    "waited_s": lambda one: one.waited_s,
    "answer_s": answer_s,
}


def _amount(values: Iterator[float | None]) -> Amount | None:
    known = [float(value) for value in values if value is not None]
    if not known:
        return None
    bounds = stats.interval(known) if min(known) > 0 else None
    low, high = bounds or (None, None)
    return Amount(median(known), low, high, len(known))
