"""Claims of a study are held, not held or undecided, by the spread of seeds."""

from __future__ import annotations

from typing import Any

import pytest

from nnprof.networks.studies.claims import Above, Between, Claim, Linear, Wider, Within
from nnprof.profiler import claims
from nnprof.types import Epoch, TrainingRecord

Values = dict[str, list[float]]


def record(value: float, seed: int) -> TrainingRecord:
    """A training that reached this accuracy in the test, and took as many seconds."""
    epoch = Epoch(loss=0.1, validation_accuracy=value, elapsed_s=value, seconds=value)
    return TrainingRecord(
        network="784 fc10",
        dataset="mnist",
        normalisation="unit",
        settings={},
        seed=seed,
        epochs=(epoch,),
        best_epoch=0,
        test_accuracy=value,
        test_loss=value,
        finished=True,
    )


def judged(claim: Claim, told: Values) -> claims.Verdict:
    """The verdict where cells reached these accuracies, one for each seed."""
    trained = {
        name: [record(value, seed) for seed, value in enumerate(found)]
        for name, found in told.items()
    }
    varied = {name: {"layers": name.strip("abcdefgh") or "0"} for name in told}
    (verdict,) = claims.verdicts([claim], trained, varied)
    return verdict


def above(**more: Any) -> Above:
    """The cell a is above the cell b."""
    return Above(says="a > b", of="test accuracy", **{"above": ("a",), "below": ("b",), **more})


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"a": [0.99, 0.991], "b": [0.95, 0.951]}, "held"),
        ({"a": [0.95, 0.951], "b": [0.99, 0.991]}, "not held"),
        ({"a": [0.99, 0.90], "b": [0.95, 0.91]}, "undecided"),
        ({"a": [0.99], "b": [0.95]}, "undecided"),
        ({"a": [0.99, 0.991], "b": []}, "undecided"),
    ],
)
def test_an_order_needs_more_than_the_spread(told: Values, found: str) -> None:
    """Held and not held beyond the interval; else, with one seed, or without, undecided."""
    verdict = judged(above(), told)
    assert verdict.found == found


def test_the_interval_is_students() -> None:
    """Half width of a difference by hand: t(2) = 4.303, pooled deviation, two seeds each."""
    verdict = judged(above(), {"a": [0.98, 0.99], "b": [0.90, 0.91]})
    # Deviation of each pair: 0.01/√2; half width: 4.303 · 0.01/√2 · √(1/2 + 1/2) = 0.0304.
    assert verdict.why == "least: a − b = 0.08 ± 0.03"


def test_losses_are_compared_by_their_logarithms() -> None:
    """By ratios, so that a loss of 10⁶ does not drown others; a loss of 0 has no logarithm."""
    claim = Above(says="a > b", of="test loss", above=("a", "c"), below=("b",))
    told = {"a": [1.0, 2.0], "b": [0.01, 0.011], "c": [1e6, 1e9]}
    verdict = judged(claim, told)
    assert verdict.found == "undecided"
    told["c"] = [1e6, 2e6]
    assert judged(claim, told).found == "held"
    assert judged(claim, told).why.startswith("least: a / b = 134.8 ×/÷")
    zero = judged(claim, {"a": [1.0, 1.1], "b": [0.0, 0.0], "c": [1.0, 1.1]})
    assert zero.why.startswith("least: a − b = 1.05")


def test_one_pair_against_the_order_is_enough() -> None:
    """A claim about several cells falls with one of them."""
    claim = above(above=("a", "c"))
    told = {"a": [0.99, 0.991], "b": [0.95, 0.951], "c": [0.90, 0.901]}
    assert judged(claim, told).found == "not held"


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"a": [0.980, 0.981], "b": [0.982, 0.983]}, "held"),
        ({"a": [0.90, 0.901], "b": [0.982, 0.983]}, "not held"),
        ({"a": [0.980, 0.99], "b": [0.97, 0.983]}, "undecided"),
        ({"a": [0.980], "b": [0.981]}, "undecided"),
    ],
)
def test_closeness_needs_the_spread_within_it(told: Values, found: str) -> None:
    """Held where even the end of the interval is close enough."""
    claim = Within(says="same", of="test accuracy", cells=("a", "b"), most=0.01)
    assert judged(claim, told).found == found


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"a": [0.97]}, "held"),
        ({"a": [0.94]}, "not held"),
        ({"a": [0.97, 0.9701]}, "held"),
        ({"a": [0.961, 0.979]}, "undecided"),
        ({"a": [0.5, 0.501]}, "not held"),
    ],
)
def test_a_range_holds_the_interval(told: Values, found: str) -> None:
    """With one seed the value decides; with several their interval does."""
    claim = Between(says="0.97", of="test accuracy", cells=("a",), low=0.96, high=0.98)
    assert judged(claim, told).found == found


def test_a_line_of_what_is_varied() -> None:
    """R² of the means over the varied number."""
    claim = Linear(says="line", of="s per epoch", cells=("a1", "a2", "a4"), varied="layers")
    assert judged(claim, {"a1": [1.0], "a2": [2.0], "a4": [4.0]}).found == "held"
    assert judged(claim, {"a1": [1.0], "a2": [9.0], "a4": [2.0]}).found == "not held"


def test_a_wider_spread_of_cells() -> None:
    """Ranges of means are compared, with what seeds alone make of them."""
    claim = Wider(says="wider", of="test accuracy", wide=("a", "b"), narrow=("c", "d"))
    far = {"a": [0.5, 0.501], "b": [0.8, 0.801], "c": [0.9, 0.901], "d": [0.91, 0.911]}
    assert judged(claim, far).found == "held"
    near = {"a": [0.9, 0.901], "b": [0.91, 0.911], "c": [0.5, 0.501], "d": [0.8, 0.801]}
    assert judged(claim, near).found == "not held"
