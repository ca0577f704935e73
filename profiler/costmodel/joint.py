"""Terms from whole networks alone, where nobody timed their ops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.costmodel import features, fit, intervals, nearby, sets, solve
from nnprof.profiler.costmodel.fit import Array, Fitted
from nnprof.profiler.costmodel.nearby import Field
from nnprof.profiler.costmodel.processor import UNKNOWN, Processor
from nnprof.profiler.costmodel.rows import Rows
from nnprof.profiler.costmodel.work import Work, columns_of

Networks = Sequence[Sequence[Work]]
Keys = list[tuple[str, str]]
Flags = NDArray[np.bool_]

# So much of the rows that columns which they do not tell apart share what they explain. (Below the
# first whole tile of the batch, weights that are read once and those read again are one amount.)
_SHARED = 1e-4
# Of a factor's logarithm. Three times that of ops: small batches of a network do not tell the step
# that larger ones take (chosen with `nearby`, on the same tables).
_LEAST_GROWTH = 0.15
_LEAST_S = 1e-12  # of a network, so that it has a logarithm


class Joint(NamedTuple):
    """Terms found from whole networks, whose ops nobody timed.

    Attributes:
        call_s: of an inference, whatever its ops.
        groups: terms of each group of ops.
        out: each network as predicted without those of its name.
        low, high: 95 % interval of each (group, feature), by resampling names.
        factor: of a network's 90 % interval; None for too few networks.
        growth: what its logarithm gains for each doubling beyond the measurements.
        field: what the terms leave of the measured times.
    """

    call_s: float
    groups: dict[str, Fitted]
    out: Array
    low: dict[tuple[str, str], float]
    high: dict[tuple[str, str], float]
    factor: float | None
    growth: float
    field: Field

    def seconds(self, networks: Networks) -> Array:
        """Seconds of each network."""
        told = [self.call_s + fit.seconds_of(self.groups, ops).sum() for ops in networks]
        return np.array(told) * np.exp(self.field.at(nearby.places(networks)))

    def widening(self, known: Networks, asked: Networks) -> Array:
        """What the logarithm of each network's factor gains for leaving the known networks."""
        far = _beyond(self.groups, known, asked)
        return self.growth * far.octaves + far.untold


def fit_networks(
    networks: Networks,
    seconds: Array,
    names: NDArray[np.str_],
    processor: Processor = UNKNOWN,
) -> Joint:
    """All groups' terms at once from whole networks, by relative error.

    The sets of features are taken level by level for all kinds together, and chosen as for ops,
    with all networks of a name in one fold.
    """
    # A shape has to stand for a network here: `choose` and `folds` read it.
    whole = Rows((), seconds, names, names, np.ones(len(seconds)))
    tried = _tried(networks, processor)
    scores = [solve.repeated(matrix, whole, _solve) for _, matrix in tried]
    keys, matrix = tried[solve.simplest(scores)]
    found = _solve(matrix, seconds, whole.weights)
    seen = _Seen(networks, seconds, keys, matrix, nearby.places(networks))
    out = seen.held_out(solve.folds(names))
    low, high = solve.resampled(matrix, seconds, whole.weights, names, _solve)
    factor = intervals.factor(np.log(out / seconds))
    return Joint(
        float(found[0]),
        _by_group(keys, found),
        out,
        dict(zip(keys, low.tolist(), strict=True)),
        dict(zip(keys, high.tolist(), strict=True)),
        factor,
        _growth(seen, factor),
        seen.field(np.ones(len(seconds), dtype=bool), found),
    )


def _solve(matrix: Array, seconds: Array, weights: Array) -> Array:
    return solve.nnls(matrix, seconds, weights, shared=_SHARED)


def _by_group(keys: Keys, found: Array) -> dict[str, Fitted]:
    fitted = {}
    for group in dict.fromkeys(group for group, _ in keys[1:]):
        at = [index for index, key in enumerate(keys) if key[0] == group and found[index] > 0]
        fitted[group] = Fitted(tuple(keys[index][1] for index in at), found[at], np.zeros(0), None)
    return fitted


def _tried(networks: Networks, processor: Processor) -> list[tuple[Keys, Array]]:
    """The columns of each level of sets."""
    groups = sorted({work.group for ops in networks for work in ops})
    offered = {group: sets.whole_of(sets.kind_of(group), processor) for group in groups}
    return [
        _summed(
            networks, {group: each[min(level, len(each) - 1)] for group, each in offered.items()}
        )
        for level in range(max(map(len, offered.values())))
    ]


def _summed(networks: Networks, chosen: Mapping[str, Sequence[str]]) -> tuple[Keys, Array]:
    """(group, feature) of each column, and networks × columns; the first is once per call."""
    works, owner = _flat(networks)
    count = len(networks)
    keys: Keys = [("", "call")]
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


def _flat(networks: Networks) -> tuple[list[Work], NDArray[np.int64]]:
    """All ops, and which network each is of."""
    works = [work for ops in networks for work in ops]
    return works, np.repeat(np.arange(len(networks)), [len(ops) for ops in networks])


class _Seen(NamedTuple):
    """Measured networks: columns of the chosen sets, and places (`nearby`)."""

    networks: Networks
    seconds: Array
    keys: Keys
    matrix: Array
    places: Array

    def solved(self, at: Flags) -> Array:
        """Coefficients from those networks."""
        return _solve(self.matrix[at], self.seconds[at], np.ones(int(at.sum())))

    def field(self, at: Flags, found: Array) -> Field:
        """What these coefficients leave of those networks."""
        told = np.maximum(self.matrix[at] @ found, _LEAST_S)
        return Field.of(self.places[at], np.log(self.seconds[at] / told))

    def predicted(self, at: Flags, found: Array) -> Array:
        """The others, as the coefficients and the field of those tell them."""
        more = np.exp(self.field(at, found).at(self.places[~at]))
        return np.maximum(self.matrix[~at] @ found, _LEAST_S) * more

    def held_out(self, fold: NDArray[np.int64]) -> Array:
        """Each as the other folds tell it; NaN where there are none."""
        out = np.full(len(self.seconds), np.nan)
        for one in np.unique(fold):
            outside = fold != one
            if outside.any():
                out[~outside] = self.predicted(outside, self.solved(outside))
        return out


def _growth(seen: _Seen, factor: float | None) -> float:
    """By how much the logarithm of a factor grows for each doubling beyond the measurements.

    As for ops (`intervals.growths`): some networks are fitted as if they were all, and the larger
    ones predicted.
    """
    more, octaves = [np.zeros(0)], [np.zeros(0)]
    for small in _smaller(seen.networks, seen.seconds):
        found = seen.solved(small)
        known, asked = (
            [ops for ops, keep in zip(seen.networks, at, strict=True) if keep]
            for at in (small, ~small)
        )
        far = _beyond(_by_group(seen.keys, found), known, asked)
        off = np.abs(np.log(seen.predicted(small, found) / seen.seconds[~small]))
        more.append(np.maximum(off - math.log(factor or 1.0) - far.untold, 0.0))
        octaves.append(far.octaves)
    return intervals.growth(np.concatenate(more), np.concatenate(octaves), _LEAST_GROWTH)


def _smaller(networks: Networks, seconds: Array) -> list[Flags]:
    """Networks that others are predicted from: the shortest, and those of the smaller batches."""
    batches = np.array([max((op.batch for op in ops), default=0.0) for ops in networks])
    sizes = (seconds, batches)
    masks = [size <= np.quantile(size, share) for size in sizes for share in intervals.SMALLER]
    return [mask for mask in masks if not mask.all()]


def _beyond(groups: Mapping[str, Fitted], known: Networks, asked: Networks) -> intervals.Beyond:
    """How far networks leave the known ones: the mean of their ops, by time, and their batch.

    The batch counts even where the terms say that it costs nothing, for steps come unannounced.
    """
    seen, (works, owner) = [op for ops in known for op in ops], _flat(asked)
    of_group, spent = np.array([op.group for op in works]), fit.seconds_of(groups, works)
    octaves, untold = np.zeros(len(works)), np.zeros(len(works))
    for group, one in groups.items():
        at, mine = of_group == group, [op for op in seen if op.group == group]
        if one.names and at.any():
            far = intervals.beyond(
                one, mine, [op for op, is_ in zip(works, at, strict=True) if is_]
            )
            octaves[at], untold[at] = far.octaves, far.untold
    total = np.maximum(np.bincount(owner, spent, len(asked)), 1e-12)
    parts = (np.bincount(owner, spent * each, len(asked)) / total for each in (octaves, untold))
    further = nearby.doublings(nearby.places(asked)[:, 0], nearby.places(known)[:, 0].max())
    octaves, untold = parts
    return intervals.Beyond(octaves + further, untold)
