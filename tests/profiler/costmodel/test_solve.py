"""Many fits at once are the same fits, and each is where the sum that it minimises is least."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from nnprof.profiler.costmodel import solve
from nnprof.profiler.costmodel.rows import HUBER, Rows
from nnprof.profiler.costmodel.solve import Array

PRIOR = np.array([3e-6, 2e-11, 5e-10, 1e-10])


def problem(seed: int, count: int = 30) -> tuple[Array, Array, Array]:
    """Amounts, seconds and weights of rows; one in ten is wild, and some amounts are 0."""
    random = np.random.default_rng(seed)
    matrix = 10 ** random.uniform([0, 4, 3, 3], [0.1, 9, 7, 7], (count, 4))
    matrix[:, 3] *= random.random(count) < 0.5
    seconds = matrix @ (PRIOR * np.exp(random.normal(0, 0.5, 4)))
    seconds *= np.exp(random.normal(0, np.where(random.random(count) < 0.1, 2.0, 0.05)))
    return matrix, seconds, random.uniform(0.1, 1, count)


def pulled(matrix: Array, seconds: Array, weights: Array) -> Array:
    """`mapped` around the prior of these tests."""
    return solve.mapped(matrix, seconds, PRIOR, weights)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_most_probable_coefficients_are_a_minimum(seed: int) -> None:
    """What `mapped` finds is, to a thousandth, no higher than what a general solver finds."""
    matrix, seconds, weights = problem(seed)
    relative = matrix / seconds[:, None]

    def residuals(logs: Array) -> Array:
        off = (relative @ np.exp(logs) - 1) / HUBER
        size = np.maximum(np.abs(off), 1)
        outer = np.sign(off) * np.sqrt(2 * size - 1)
        lost = np.sqrt(weights) * np.where(size > 1, outer, off)
        return np.concatenate((lost, (logs - np.log(PRIOR)) / solve.PRIOR_SD))

    general = least_squares(residuals, np.log(PRIOR), xtol=1e-12, ftol=1e-12, gtol=1e-12)
    found = np.log(pulled(matrix, seconds, weights))
    assert (residuals(found) ** 2).sum() <= 2 * general.cost * (1 + 1e-3)


@pytest.mark.parametrize("fit", [solve.nnls, pulled])
def test_a_stack_of_weights_is_as_many_fits(fit: solve.Solver) -> None:
    """Each row of weights gives what it gives alone; rows of weight 0 are as good as absent."""
    matrix, seconds, weights = problem(1)
    stack = np.array([weights, weights * (np.arange(30) % 3 > 0), np.ones(30)])
    found = fit(matrix, seconds, stack)
    for one, row in zip(found, stack, strict=True):
        kept = row > 0
        alone = fit(matrix[kept], seconds[kept], row[kept])
        np.testing.assert_allclose(one, alone, rtol=1e-3, atol=1e-14)


@pytest.mark.parametrize("fit", [solve.nnls, pulled])
def test_rows_are_predicted_without_their_fold(fit: solve.Solver) -> None:
    """Wrong by a factor of 100 in one fold, that fold alone is predicted as if it were not."""
    matrix, seconds, weights = problem(2)
    fold = np.arange(30) % 5
    names = np.array([str(one) for one in fold])

    def out(times: Array) -> Array:
        return solve.held_out(matrix, Rows((), times, names, names, weights), fold, fit)

    wild = np.where(fold == 3, 100.0, 1.0) * seconds
    np.testing.assert_allclose(out(wild)[fold == 3], out(seconds)[fold == 3], rtol=1e-3)
    assert not np.allclose(out(wild)[fold == 1], out(seconds)[fold == 1], rtol=1e-3)


def test_one_fold_alone_predicts_nothing() -> None:
    """There are no others to predict it from."""
    matrix, seconds, weights = problem(3)
    names = np.array(["same"] * 30)
    rows = Rows((), seconds, names, names, weights)
    assert np.isnan(solve.held_out(matrix, rows, solve.folds(names), solve.nnls)).all()


def test_the_bootstrap_draws_clusters() -> None:
    """The interval of a mean over clusters is that of their means, not of their many rows."""
    random = np.random.default_rng(0)
    level = 1 + random.normal(0, 0.02, 40)
    seconds, names = np.repeat(level, 25), np.repeat(np.arange(40).astype(str), 25)

    def average(matrix: Array, times: Array, weights: Array) -> Array:
        return np.asarray((weights @ times / (weights @ matrix[:, 0]))[:, None])

    low, high = solve.resampled(np.ones((1000, 1)), seconds, np.ones(1000), names, average)
    width = 2 * 1.96 * level.std() / np.sqrt(40)
    assert high[0] - low[0] == pytest.approx(width, rel=0.2)
