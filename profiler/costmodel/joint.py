"""Terms from whole networks alone, where nobody timed their ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.costmodel import features, fit, sets, solve
from nnprof.profiler.costmodel.fit import Array, Fitted
from nnprof.profiler.costmodel.processor import UNKNOWN, Processor
from nnprof.profiler.costmodel.rows import Rows
from nnprof.profiler.costmodel.work import Work, columns_of


class Joint(NamedTuple):
    """Terms found from whole networks, whose ops nobody timed.

    Attributes:
        call_s: of an inference, whatever its ops.
        groups: terms of each group of ops.
        out: each network as predicted without those of its name.
        low, high: 95 % interval of each (group, feature), by resampling names.
    """

    call_s: float
    groups: dict[str, Fitted]
    out: Array
    low: dict[tuple[str, str], float]
    high: dict[tuple[str, str], float]

    def seconds(self, networks: Sequence[Sequence[Work]]) -> Array:
        """Seconds of each network."""
        return np.array([self.call_s + fit.seconds_of(self.groups, ops).sum() for ops in networks])


def fit_networks(
    networks: Sequence[Sequence[Work]],
    seconds: Array,
    names: NDArray[np.str_],
    processor: Processor = UNKNOWN,
) -> Joint:
    """All groups' terms at once from whole networks, by relative error.

    The sets of features are taken level by level for all kinds together, and chosen as for ops,
    with all networks of a name in one fold.
    """
    works = [work for ops in networks for work in ops]
    owner = np.repeat(np.arange(len(networks)), [len(ops) for ops in networks])
    groups = sorted({work.group for work in works})
    # A shape has to stand for a network here: `choose` and `folds` read it.
    whole = Rows((), seconds, names, names, np.ones(len(seconds)))
    offered = {group: sets.sets_of(sets.kind_of(group), processor) for group in groups}
    tried = []
    for level in range(max(map(len, offered.values()))):
        chosen = {group: each[min(level, len(each) - 1)] for group, each in offered.items()}
        tried.append(_summed(works, owner, len(networks), chosen))
    scores = [solve.repeated(matrix, whole, solve.nnls) for _, matrix in tried]
    keys, matrix = tried[solve.simplest(scores)]
    found, out = (
        solve.nnls(matrix, seconds),
        solve.held_out(matrix, whole, solve.folds(names), solve.nnls),
    )
    fitted = {}
    for group in groups:
        at = [index for index, key in enumerate(keys) if key[0] == group and found[index] > 0]
        fitted[group] = Fitted(tuple(keys[index][1] for index in at), found[at], np.zeros(0), None)
    low, high = solve.resampled(matrix, seconds, whole.weights, names, solve.nnls)
    return Joint(
        float(found[0]),
        fitted,
        out,
        dict(zip(keys, low.tolist(), strict=True)),
        dict(zip(keys, high.tolist(), strict=True)),
    )


def _summed(
    works: Sequence[Work],
    owner: NDArray[np.int64],
    count: int,
    chosen: Mapping[str, Sequence[str]],
) -> tuple[list[tuple[str, str]], Array]:
    """(group, feature) of each column, and networks × columns; the first is once per call."""
    keys: list[tuple[str, str]] = [("", "call")]
    columns: list[Array] = [np.ones(count)]
    every, of_group = columns_of(works), np.array([one.group for one in works])
    for group, names in chosen.items():
        at = of_group == group
        mine = {name: values[at] for name, values in every.items()}
        for name in names:
            amount = features.FEATURES[name].of(mine)
            keys.append((group, name))
            columns.append(np.bincount(owner[at], weights=amount, minlength=count).astype(float))
    return keys, np.column_stack(columns)
