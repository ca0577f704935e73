"""Coefficients that are not negative, and how well they predict rows that were left out.

Errors are relative, large ones count less, and a prior can be held. Knows no group and no device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.costmodel import features
from nnprof.profiler.costmodel.rows import HUBER, Rows

Array = NDArray[np.float64]


FOLDS = 5


PRIOR_SD = features.PRIOR_SD  # of log coefficients around the prior


RESAMPLES = 200


_ROUNDS = 12


_REPEATS = 5  # draws of the folds that sets are compared over


_REACH = 0.5  # standard errors that a simpler set may be worse by


def nnls(
    matrix: Array,
    seconds: Array,
    weights: Array | None = None,
    held: Array | None = None,
) -> Array:
    """Coefficients ≥ 0 with the least relative error, robust against outliers.

    Minimises Σ wᵢ ρ(xᵢc / yᵢ - 1) with Huber's ρ, by iteratively reweighted non-negative least
    squares (Lawson & Hanson 1974). Columns are scaled, so that units do not matter.

    Each row h of `held` is one more measurement, h·c = HUBER / PRIOR_SD: a normal prior (`held`).
    """
    from scipy.optimize import nnls as solve

    relative = matrix / seconds[:, None]
    base = np.ones(len(seconds)) if weights is None else weights
    held = np.zeros((0, matrix.shape[1])) if held is None else held
    goal = np.concatenate((np.ones(len(seconds)), np.full(len(held), HUBER / PRIOR_SD)))
    stacked = np.vstack((relative, held))
    scale = np.sqrt((stacked**2).mean(axis=0))
    used = scale > 0
    result = np.zeros(matrix.shape[1])
    if not used.any():
        return result
    columns, firm = stacked[:, used] / scale[used], np.ones(len(held))
    weight = base
    for _ in range(_ROUNDS):
        root = np.sqrt(np.concatenate((weight, firm)))
        found, _rest = solve(columns * root[:, None], goal * root, maxiter=100 * columns.shape[1])
        residual = np.abs(columns[: len(seconds)] @ found - 1)
        fresh = base * np.minimum(1.0, HUBER / np.maximum(residual, 1e-12))
        done = np.allclose(fresh, weight, rtol=1e-3)
        weight = fresh
        if done:
            break
    result[used] = found / scale[used]
    return result


def mapped(
    matrix: Array,
    seconds: Array,
    prior: Array,
    weights: Array | None = None,
    known: Array | float = 0.0,
) -> Array:
    """The most probable coefficients > 0 around a prior: log-normal, PRIOR_SD in the logarithm.

    Minimises Σ wᵢ ρ(rᵢ / HUBER) + Σ (ln cⱼ - ln priorⱼ)² / sd² with rᵢ the relative residual, so a
    row weighs as much as its residual is large beside the noise that Huber's ρ assumes. Features
    whose prior is 0 stay 0. `known` seconds of each row are not up for fitting.
    """
    from scipy.optimize import least_squares

    used = prior > 0
    relative = matrix[:, used] / seconds[:, None]
    root = np.ones(len(seconds)) if weights is None else np.sqrt(weights)
    rest = 1 - known / seconds
    start = np.log(prior[used])

    def residuals(logs: Array) -> Array:
        off = (relative @ np.exp(logs) - rest) / HUBER
        size = np.abs(off)
        robust = np.where(size <= 1, off, np.sign(off) * np.sqrt(2 * np.maximum(size, 1) - 1))
        return np.concatenate((root * robust, (logs - start) / PRIOR_SD))

    found = least_squares(residuals, start)
    result = np.zeros(len(prior))
    result[used] = np.exp(found.x)
    return result


def folds(shapes: NDArray[np.str_], count: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """A fold for each row; all rows of a shape are in one. Deterministic."""
    distinct = sorted(set(shapes))
    order = np.random.default_rng(seed).permutation(len(distinct))
    place = {shape: int(order[index]) % count for index, shape in enumerate(distinct)}
    return np.array([place[shape] for shape in shapes], dtype=np.int64)


Solver = Callable[[Array, Array, Array], Array]


def held_out(matrix: Array, rows_: Rows, fold: NDArray[np.int64], solve: Solver) -> Array:
    """Each row predicted by coefficients from the other folds; NaN where there are none."""
    predicted = np.full(len(rows_.seconds), np.nan)
    for one in np.unique(fold):
        inside, outside = fold == one, fold != one
        if outside.any():
            found = solve(matrix[outside], rows_.seconds[outside], rows_.weights[outside])
            predicted[inside] = matrix[inside] @ found
    return predicted


def choose(
    rows_: Rows, sets: Sequence[tuple[str, ...]], expected: Mapping[str, float] = {}
) -> tuple[str, ...]:
    """The simplest set of features within `_REACH` standard errors of the best."""
    columns = rows_.columns
    scores = [
        repeated(features.matrix(names, columns), rows_, near(names, expected)) for names in sets
    ]
    return sets[simplest(scores)]


def repeated(matrix: Array, rows_: Rows, solve: Solver) -> tuple[float, float]:
    """Score of a set, and its standard error: means over several ways to draw the folds.

    With few shapes one way alone decides by chance (Kim 2009, "Estimating classification error
    rate: repeated cross-validation").
    """
    drawn = (folds(rows_.shapes, seed=seed) for seed in range(_REPEATS))
    each = [_score(held_out(matrix, rows_, fold, solve), rows_) for fold in drawn]
    mean, error = np.mean(each, axis=0).tolist()
    return mean, error


def held(names: Sequence[str], expected: Mapping[str, float]) -> Array:
    """A row c/expected = 1 with weight (HUBER/PRIOR_SD)² for each feature with an expectation.

    That is a normal prior of sd PRIOR_SD for the relative coefficient.
    """
    rows_ = np.diag([HUBER / PRIOR_SD / expected.get(name, np.inf) for name in names])
    return np.asarray(rows_[[name in expected for name in names]])


def near(names: Sequence[str], expected: Mapping[str, float]) -> Solver:
    """`nnls` near what is expected of these features."""
    prior = held(names, expected)
    return lambda x, y, w: nnls(x, y, w, prior)


def _score(out: Array, rows_: Rows) -> tuple[float, float]:
    """Mean relative error over shapes, each error at most 1, and its standard error.

    Rows count by their weights: an op that was not measured well says little of a set.
    """
    error = np.minimum(np.abs(out / rows_.seconds - 1), 1.0)
    _, place = np.unique(rows_.shapes, return_inverse=True)
    weights = np.bincount(place, rows_.weights) / np.bincount(place)
    by_shape = np.bincount(place, rows_.weights * error) / np.bincount(place, rows_.weights)
    mean = float(np.average(by_shape, weights=weights))
    return mean, math.sqrt(float(((weights * (by_shape - mean)) ** 2).sum())) / weights.sum()


def simplest(scores: Sequence[tuple[float, float]]) -> int:
    """Which of these (score, standard error), simplest first, is the first that is good enough."""
    best, error = min(scores)
    return next(index for index, one in enumerate(scores) if one[0] <= best + _REACH * error)
