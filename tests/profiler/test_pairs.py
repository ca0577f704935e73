"""Pairs of processes, and what their ratios say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from nnprof.profiler import changes, pairs, results
from nnprof.types import Measurement, Paired, Plan, Run

GOLDEN = Path(__file__).parents[1] / "data" / "run-v1.json"
PLAN = Plan(protocol="pairs", processes=6, max_processes=40, fresh=0)


def _side(levels: Sequence[float], numbers: Sequence[int] | None = None) -> Measurement:
    """A cell whose processes have these levels, and belong to these pairs."""
    pattern = results.load(GOLDEN).measurements[1]
    known = range(len(levels)) if numbers is None else numbers
    return replace(
        pattern,
        plan=PLAN,
        samples_s=tuple((float(level),) for level in levels),
        warmups_s=tuple((1.0,) for _ in levels),
        processes=tuple(replace(pattern.processes[0], pair=number) for number in known),
    )


def _logs(seed: int, change: float, count: int = 40, off: float = 0.15) -> list[float]:
    """Log ratios with 1.3 % between pairs, a share of which a neighbour has hit on one side."""
    random = np.random.default_rng(seed)
    hit = random.random(count) < off
    far = random.choice([-1, 1], count) * random.uniform(0.2, 0.9, count)
    return [*(math.log1p(change) + random.normal(0, 0.013, count) + np.where(hit, far, 0.0))]


def test_half_a_pair_says_nothing() -> None:
    """A process whose partner never ran is left out, and its number is not given again."""
    before, after = _side([1.0, 2.0, 4.0], [0, 1, 2]), _side([2.0, 2.0], [0, 2])
    assert pairs.log_ratios(before, after) == pytest.approx([math.log(2), math.log(0.5)])
    assert pairs.next_pair(before, after) == 3
    assert pairs.next_pair(None, None) == 0


def test_a_process_stands_for_its_undisturbed_samples() -> None:
    """A neighbour that makes 80 % of a process's samples longer does not change its level."""
    quiet = _side([1.0])
    hit = replace(quiet, samples_s=((1.0,) * 20 + (2.5,) * 80,))
    assert pairs.log_ratios(quiet, hit) == (0.0,)


def test_who_comes_first_is_drawn_and_repeatable() -> None:
    """Of each two pairs one begins with each side; which one is drawn, and repeatable."""
    drawn = [pairs.first(PLAN, 0, number) for number in range(200)]
    assert drawn == [pairs.first(PLAN, 0, number) for number in range(200)]
    assert all({*two} == {"a", "b"} for two in zip(drawn[::2], drawn[1::2], strict=True))
    assert 30 <= drawn[::2].count("a") <= 70
    assert drawn != [pairs.first(replace(PLAN, seed=1), 0, number) for number in range(200)]


def test_looks_begin_with_the_least_and_end_with_the_most() -> None:
    """Six looks for 6 to 40 pairs; a single one where both are the same."""
    assert pairs.looks(PLAN) == (6, 9, 14, 21, 31, 40)
    assert pairs.looks(replace(PLAN, max_processes=6)) == (6,)


def test_sides_know_each_other() -> None:
    """Two Runs are sides of a pair in either order, and no Run is one with itself or another's."""
    run = results.load(GOLDEN)

    def side(word: str, created: str) -> Run:
        paired = Paired(side=word, other="x.json")  # type: ignore[arg-type]
        return replace(run, study=replace(run.study, paired=paired, created=created))

    one, other = side("a", "2026-11-26T01:00:00+00:00"), side("b", "2026-11-26T01:00:00+00:00")
    assert pairs.are_sides(one, other)
    assert pairs.are_sides(other, one)
    assert not pairs.are_sides(one, one)
    assert not pairs.are_sides(one, side("b", "2026-11-26T02:00:00+00:00"))
    assert not pairs.are_sides(run, run)


def _called(logs: Sequence[float], among: int) -> tuple[str, int]:
    """The verdict at the first look that gives one, and the pairs that it took."""
    looks = pairs.looks(PLAN)
    for count in looks:
        change = changes.trimmed(logs[:count], looks=len(looks))
        word = changes.verdict(change, sure=changes.doubt(change) <= changes.ERROR / among)
        if word != "AMBIGUOUS":
            return word, count
    return "AMBIGUOUS", looks[-1]


@pytest.mark.parametrize("among", [1, 40])
def test_looking_often_calls_no_like_pair(among: int) -> None:
    """Of 200 like cells that are looked at up to six times, at most 2 % are called changed."""
    words = [_called(_logs(seed, 0.0), among)[0] for seed in range(200)]
    assert words.count("FASTER") + words.count("SLOWER") <= 4
    assert words.count("SAME") >= 190


@pytest.mark.parametrize(("change", "most"), [(0.03, 20), (0.05, 13)])
def test_true_changes_are_called_beside_a_neighbour(change: float, most: float) -> None:
    """Of 40 cells with 15 % of pairs far off, 3 % and 5 % are called, in few pairs on average."""
    found = [_called(_logs(seed, change), among=40) for seed in range(200)]
    assert sum(word == "SLOWER" for word, _ in found) >= 197
    assert sum(count for _, count in found) / len(found) <= most


def test_an_interval_holds_at_all_looks_together() -> None:
    """In at least 95 % of 300 cells the intervals of all six looks hold the true ratio."""
    looks, held = pairs.looks(PLAN), 0
    for seed in range(300):
        logs = _logs(seed, 0.02, off=0.0)
        found = [changes.trimmed(logs[:count], looks=len(looks)) for count in looks]
        held += all(low < 1.02 < high for low, high in (changes.bounds(c, 0.95) for c in found))
    assert held >= 285


def test_pairs_needed_are_enough() -> None:
    """With as many pairs as are said to be needed, a change of 3 % is called in 9 of 10 cases."""
    first = changes.trimmed(_logs(0, 0.0, off=0.0))
    count = changes.needed(first, 1)
    assert count is not None
    sure = [
        changes.doubt(changes.trimmed(_logs(seed, 0.03, count, off=0.0))) <= changes.ERROR
        for seed in range(1, 201)
    ]
    assert 0.8 <= sum(sure) / 200 <= 1.0
    assert changes.needed(changes.apart(_side([1.0, 1.1]), _side([1.0, 1.1])), 1) is None


def test_pairs_that_all_agree_leave_no_doubt() -> None:
    """Of a clock without noise, a tenth more is SLOWER and nothing more is SAME."""
    slower = changes.by_pairs(_side([1.0] * 6), _side([1.1] * 6))
    same = changes.by_pairs(_side([1.0] * 6), _side([1.0] * 6))
    assert changes.verdict(slower, sure=changes.doubt(slower) == 0.0) == "SLOWER"
    assert changes.verdict(same, sure=changes.doubt(same) < 1.0) == "SAME"
