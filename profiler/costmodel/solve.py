"""Coefficients that are not negative, and how well they predict rows that were left out.

Errors are relative, large ones count less, and a prior can be held. Knows no group and no device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.costmodel import features
from nnprof.profiler.costmodel.rows import HUBER, Rows

Array = NDArray[np.float64]


FOLDS = 5


PRIOR_SD = features.PRIOR_SD  # of log coefficients around the prior


RESAMPLES = 200


_ROUNDS = 12


_STEPS = 200  # of a descent, at most; a dozen are usual


_STRIDE = 3.0  # of a logarithm in one of them


_DAMPING, _MOST_DAMPING = 1e-3, 1e12  # at its start, and where no step leads down any more


_LEAST_GAIN = 1e-12  # of the height, below which a step is the last


_REPEATS = 5  # draws of the folds that sets are compared over


_REACH = 0.5  # standard errors that a simpler set may be worse by


def nnls(
    matrix: Array,
    seconds: Array,
    weights: Array | None = None,
    held: Array | None = None,
    shared: float = 0.0,
) -> Array:
    """Coefficients ≥ 0 with the least relative error, robust against outliers.

    Minimises Σ wᵢ ρ(xᵢc / yᵢ - 1) with Huber's ρ, by iteratively reweighted non-negative least
    squares (Lawson & Hanson 1974). Columns are scaled, so that units do not matter.

    Each row h of `held` is one more measurement, h·c = HUBER / PRIOR_SD: a normal prior (`held`).
    Columns that the rows do not tell apart share what they explain with `shared` > 0: a ridge of so
    much of the rows. A stack of `weights`, one row for each fit, gives a stack of coefficients.
    """
    relative = matrix / seconds[:, None]
    base = np.ones(len(seconds)) if weights is None else weights
    held = np.zeros((0, matrix.shape[1])) if held is None else held
    goal = np.concatenate((np.ones(len(seconds)), np.full(len(held), HUBER / PRIOR_SD)))
    stacked = np.vstack((relative, held))
    scale = np.sqrt((stacked**2).sum(axis=0) / max(len(stacked), 1))
    used = scale > 0
    result = np.zeros((*base.shape[:-1], matrix.shape[1]))
    if used.any():
        columns = stacked[:, used] / scale[used]
        if shared:
            ridge = math.sqrt(shared * len(seconds)) * np.eye(columns.shape[1])
            columns = np.vstack((columns, ridge))
            goal = np.concatenate((goal, np.zeros(len(ridge))))
        found = _reweighted(columns, goal, np.atleast_2d(base))
        result[..., used] = found.reshape(*base.shape[:-1], -1) / scale[used]
    return result


def _reweighted(columns: Array, goal: Array, base: Array) -> Array:
    """The fits of `nnls`, a row for each row of `base`; rows of `columns` beyond those are held."""
    from scipy.optimize import nnls as solve

    count, most = base.shape[1], 100 * columns.shape[1]
    firm = np.ones(len(columns) - count)
    found, weight, live = np.zeros((len(base), columns.shape[1])), base.copy(), np.arange(len(base))
    for _ in range(_ROUNDS):
        for at in live:
            root = np.sqrt(np.concatenate((weight[at], firm)))
            found[at], _rest = solve(columns * root[:, None], goal * root, maxiter=most)
        residual = np.abs(found[live] @ columns[:count].T - 1)
        fresh = base[live] * np.minimum(1.0, HUBER / np.maximum(residual, 1e-12))
        moving = np.abs(fresh - weight[live]) > 1e-8 + 1e-3 * weight[live]
        weight[live] = fresh
        live = live[moving.any(axis=1)]
        if not len(live):
            break
    return found


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

    A stack of `weights`, one row for each fit, gives a stack of coefficients.
    """
    used = prior > 0
    base = np.ones(len(seconds)) if weights is None else weights
    hills = _Hills(matrix[:, used] / seconds[:, None], 1 - known / seconds, np.log(prior[used]))
    result = np.zeros((*base.shape[:-1], len(prior)))
    found = np.exp(_descended(hills, np.atleast_2d(base)))
    result[..., used] = found.reshape(*base.shape[:-1], -1)
    return result


class _Hills(NamedTuple):
    """What `mapped` minimises over logarithms of coefficients, of many fits at once."""

    relative: Array
    goal: Array
    start: Array

    def at(self, logs: Array, weights: Array) -> tuple[Array, Array, Array]:
        """Height, slope and bend (Gauss & Newton's) of each fit; a row of `logs` each.

        The residual beyond 1 is √(2|r| - 1), whose square is Huber's ρ.
        """
        rates = np.exp(logs)
        off = (rates @ self.relative.T - self.goal) / HUBER
        size = np.maximum(np.abs(off), 1.0)
        root = np.sqrt(2 * size - 1)
        lost = np.where(size > 1, np.sign(off) * root, off)
        lean = (np.sqrt(weights) / root)[:, :, None] * self.relative / HUBER * rates[:, None, :]
        lost, pull = np.sqrt(weights) * lost, (logs - self.start) / PRIOR_SD
        height = (lost**2).sum(axis=1) + (pull**2).sum(axis=1)
        turned = lean.transpose(0, 2, 1)
        slope = (turned @ lost[:, :, None])[:, :, 0] + pull / PRIOR_SD
        return height, slope, turned @ lean + np.eye(len(self.start)) / PRIOR_SD**2


def _descended(hills: _Hills, weights: Array) -> Array:
    """The lowest place of each fit that lies downhill of the start (Levenberg & Marquardt)."""
    logs = np.tile(hills.start, (len(weights), 1))
    live, damping = np.arange(len(weights)), np.full(len(weights), _DAMPING)
    height, slope, bend = hills.at(logs, weights)
    for _ in range(_STEPS):
        heavier = damping[live, None] * np.diagonal(bend[live], axis1=1, axis2=2)
        ridge = heavier[:, :, None] * np.eye(logs.shape[1])
        step = -np.linalg.solve(bend[live] + ridge, slope[live][:, :, None])[:, :, 0]
        tried = logs[live] + np.clip(step, -_STRIDE, _STRIDE)
        fresh = hills.at(tried, weights[live])
        lower = fresh[0] <= height[live]
        gained = height[live] - fresh[0] > _LEAST_GAIN * height[live]
        moved = live[lower]
        logs[moved] = tried[lower]
        for old, new in zip((height, slope, bend), fresh, strict=True):
            old[moved] = new[lower]
        damping[live] *= np.where(lower, 0.2, 5.0)
        live = live[np.where(lower, gained, damping[live] < _MOST_DAMPING)]
        if not len(live):
            break
    return logs


def folds(shapes: NDArray[np.str_], count: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """A fold for each row; all rows of a shape are in one. Deterministic."""
    distinct = sorted(set(shapes))
    order = np.random.default_rng(seed).permutation(len(distinct))
    place = {shape: int(order[index]) % count for index, shape in enumerate(distinct)}
    return np.array([place[shape] for shape in shapes], dtype=np.int64)


# (matrix, seconds, a row of weights for each fit) → a row of coefficients for each.
Solver = Callable[[Array, Array, Array], Array]


def held_out(matrix: Array, rows_: Rows, fold: NDArray[np.int64], solve: Solver) -> Array:
    """Each row predicted by coefficients from the other folds; NaN where there are none."""
    outside = np.unique(fold)[:, None] != fold
    if len(outside) < 2:
        return np.full(len(rows_.seconds), np.nan)
    found = solve(matrix, rows_.seconds, outside * rows_.weights)
    place = np.argmin(outside, axis=0)  # the fold that each row is in
    return np.asarray((matrix * found[place]).sum(axis=1))


def resampled(
    matrix: Array, seconds: Array, weights: Array, clusters: NDArray[np.str_], solve: Solver
) -> tuple[Array, Array]:
    """95 % interval of each coefficient, by a bootstrap: clusters of rows are drawn again.

    A row that was drawn twice is one of twice the weight.
    """
    random = np.random.default_rng(0)
    names, place = np.unique(clusters, return_inverse=True)
    drawn = [random.integers(0, len(names), len(names)) for _ in range(RESAMPLES)]
    times = np.array([np.bincount(one, minlength=len(names)) for one in drawn])
    found = solve(matrix, seconds, times[:, place] * weights)
    return np.quantile(found, 0.025, axis=0), np.quantile(found, 0.975, axis=0)


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
