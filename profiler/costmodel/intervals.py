"""How far off predictions are: conformal factors, their growth, leverage, coefficients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.costmodel import features
from nnprof.profiler.costmodel.fit import FEW_SHAPES, Array, Fitted, fit, seconds_of
from nnprof.profiler.costmodel.rows import Rows
from nnprof.profiler.costmodel.sets import kind_of
from nnprof.profiler.costmodel.solve import FOLDS, resampled
from nnprof.profiler.costmodel.work import Work, columns_of

COVERAGE = 0.90
_CALIBRATION = 30  # residuals that a conformal factor of its own takes


def factor(logs: Array, coverage: float = COVERAGE) -> float | None:
    """The conformal factor from |ln(measured / predicted)| of rows that were held out.

    The ⌈(n + 1) · coverage⌉-th smallest (Vovk et al. 2005; Lei et al. 2018). None for too few rows.
    """
    scores = np.abs(logs[~np.isnan(logs)])
    found = _quantile(scores, np.ones(len(scores)), coverage)
    return None if found is None else math.exp(found)


def _quantile(scores: Array, weights: Array, coverage: float = COVERAGE) -> float | None:
    """The smallest score that has `coverage` of the weight at or below it; None if none has.

    One more score of the mean weight is counted with the largest: the one that is asked for
    (Tibshirani et al. 2019, weighted conformal prediction).
    """
    if not len(scores):
        return None
    order = np.argsort(scores)
    share = np.cumsum(weights[order]) / (weights.sum() + weights.mean())
    place = int(np.searchsorted(share, coverage - 1e-9))
    return float(scores[order[place]]) if place < len(scores) else None


def bootstrap(one: Fitted, mine: Rows) -> tuple[Array, Array]:
    """95 % interval of each coefficient, by a cluster bootstrap.

    Shapes are drawn again, not rows, for rows of a shape share what is odd about it.
    """
    matrix = features.matrix(one.names, mine.columns)
    return resampled(matrix, mine.seconds, mine.weights, mine.shapes, one.solver())


def leverage(relative: Array, held: Array) -> tuple[Array, float]:
    """R⁻¹ of the relative features' QR, and the largest leverage ‖x R⁻¹‖² of a training row.

    `held` are rows beside the training rows (`nnls`). Columns that hardly differ are kept apart by
    a ridge of 1e-3 of their size.
    """
    stacked = np.vstack((relative, held))
    size = np.sqrt((stacked**2).sum(axis=0))
    size[size == 0] = 1.0
    stacked = np.vstack((stacked, np.diag(1e-3 * size)))
    inverse = np.linalg.inv(np.linalg.qr(stacked, mode="r"))
    return inverse, float(((relative @ inverse) ** 2).sum(axis=1).max(initial=0.0))


def factors(
    found: Mapping[str, Fitted], rows_: Rows, *, by_network: bool = False
) -> dict[str, float | None]:
    """A conformal factor for each group; of all groups together where it has few rows.

    With `by_network`, residuals of rows whose whole network was left out, where there are at least
    3 networks: what is asked later will be of a network that was not seen.
    """
    groups = rows_.groups
    out = {name: one.out for name, one in found.items() if len(one.out)}
    names = sorted(set(rows_.networks))
    if by_network and len(names) >= FEW_SHAPES:
        whole = np.full(len(groups), np.nan)
        for part in range(min(FOLDS, len(names))):
            inside = np.isin(rows_.networks, names[part::FOLDS])
            whole[inside] = seconds_of(fit(rows_.only(~inside)), rows_.only(inside).works)
        out = {name: whole[groups == name] for name in out}
    logs = {
        name: np.log(np.maximum(one, 1e-12) / rows_.seconds[groups == name])
        for name, one in out.items()
    }
    every = np.concatenate(list(logs.values())) if logs else np.zeros(0)
    return {
        name: factor(one if np.sum(~np.isnan(one)) >= _CALIBRATION else every)
        for name, one in logs.items()
    }


SMALLER = (1 / 2, 2 / 3)  # of a group's rows, the shortest, that the others are predicted from
_LEAST_GROWTH = 0.05  # of a factor's logarithm; on our own ops beyond batch 16 and 64
_LEAST_OCTAVES = 0.25  # beyond the measurements that tell how errors grow there


class Beyond(NamedTuple):
    """How far ops leave the measurements: `features.octaves` and `features.untold`."""

    octaves: Array
    untold: Array


def beyond(one: Fitted, seen: Sequence[Work], asked: Sequence[Work]) -> Beyond:
    """How far these ops of a group leave those that it was fitted on."""
    most = features.matrix(one.names, columns_of(seen)).max(axis=0, initial=0.0)
    amounts = features.matrix(one.names, columns_of(asked))
    parts = amounts * one.coefficients
    return Beyond(features.octaves(amounts, parts, most), features.untold(parts, most))


def growths(rows_: Rows, factors_: Mapping[str, float | None]) -> dict[str, float]:
    """By how much the logarithm of a factor must grow for each doubling beyond the measurements.

    The shorter ops of each group are fitted as if they were all, and the longer ones predicted: of
    what their errors exceed the factor by, per doubling, the quantile, where ops count as in the
    fit: what hardly takes time in a network tells little. Of all groups together where few rows
    tell; at least `_LEAST_GROWTH`.
    """
    each: dict[str, list[Array]] = {name: [np.zeros((0, 2))] for name in factors_}
    for share in SMALLER:
        small = _shorter(rows_, share)
        found = fit(rows_.only(small))
        for name in set(found) & set(each):
            mine = rows_.groups == name
            long = rows_.only(mine & ~small)
            if kind_of(name) == "view" or not len(long.seconds):
                continue
            far = beyond(found[name], rows_.only(mine & small).works, long.works)
            off = np.abs(np.log(seconds_of(found, long.works) / long.seconds))
            more = np.maximum(off - math.log(factors_[name] or 1.0) - far.untold, 0.0)
            told = far.octaves >= _LEAST_OCTAVES
            each[name].append(np.column_stack((more[told] / far.octaves[told], long.weights[told])))
    joint = {name: np.concatenate(parts) for name, parts in each.items()}
    every = np.concatenate(list(joint.values()))
    scores = {name: one if len(one) >= _CALIBRATION else every for name, one in joint.items()}
    return {name: max(_quantile(*one.T) or 0.0, _LEAST_GROWTH) for name, one in scores.items()}


def growth(more: Array, octaves: Array, least: float) -> float:
    """Quantile of what errors exceed the factor's logarithm by, per doubling; `least` or more."""
    told = octaves >= _LEAST_OCTAVES
    scores = more[told] / octaves[told]
    return max(_quantile(scores, np.ones(len(scores))) or 0.0, least)


def _shorter(rows_: Rows, share: float) -> NDArray[np.bool_]:
    """That share of each group's rows which took the least time."""
    groups, chosen = rows_.groups, np.zeros(len(rows_.seconds), dtype=bool)
    for name in np.unique(groups):
        at = np.flatnonzero(groups == name)
        kept = math.ceil(share * len(at))
        chosen[at[np.argsort(rows_.seconds[at], kind="stable")[:kept]]] = True
    return chosen
