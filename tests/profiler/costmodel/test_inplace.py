"""Which whole networks to measure with the times of their ops."""

from __future__ import annotations

import numpy as np
import pytest

from nnprof.networks.spaces import parse_space
from nnprof.profiler.costmodel import around, inplace, lowering

SPACE = parse_space("mattsson(conv=1..3, fc=0..2)")


@pytest.fixture(scope="module")
def offered() -> inplace.Pool:
    """A hundred random networks."""
    asked = around.draws(SPACE, (1, 256), 0, 100)
    return inplace.pool(asked, "blocked16", 4.0, None)


def _choose(
    offered: inplace.Pool, cell_s: np.ndarray, budget_s: float, most_s: float = 1e9
) -> tuple[int, ...]:
    return inplace.choose(offered, (), cell_s, budget_s, most_s)


def test_the_budget_and_the_most_are_kept(offered: inplace.Pool) -> None:
    """Nothing that takes longer than the most is in, nor more than fits."""
    cell_s = 1 + 100 * offered.seconds
    chosen = _choose(offered, cell_s, 30.0, 4.0)
    assert 10 <= len(chosen) == len(set(chosen))
    assert cell_s[list(chosen)].sum() <= 30
    assert cell_s[list(chosen)].max() <= 4


def test_seconds_are_well_spent(offered: inplace.Pool) -> None:
    """The same networks at a hundred times the cost are passed over for the others."""
    dear = np.arange(100) % 2 == 0
    chosen = np.array(_choose(offered, np.where(dear, 100.0, 1.0), 20.0, 100.0))
    assert not dear[chosen].any()


def test_large_networks_are_among_the_chosen(offered: inplace.Pool) -> None:
    """Though a second buys more small ones: as many are above the median as below, nearly."""
    cell_s = 4 + 70 * offered.seconds
    chosen = list(_choose(offered, cell_s, 100.0))
    large = offered.seconds[chosen] > np.median(offered.seconds)
    assert large.mean() >= 0.3


def test_what_is_known_teaches_nothing(offered: inplace.Pool) -> None:
    """A network of which all ops were measured is not asked again."""
    first, *_ = _choose(offered, np.ones(100), 5.0)
    asked = offered.asked[first]
    known = lowering.of_spec(asked.spec, "blocked16", asked.batch) * 3
    assert first not in inplace.choose(offered, known, np.ones(100), 60.0, 1e9)


def test_every_kind_of_op_comes_early(offered: inplace.Pool) -> None:
    """A dozen networks have three ops of each group that twenty networks have."""
    chosen = _choose(offered, np.ones(100), 12.0)
    groups, owners = offered.groups, np.isin(offered.owner, chosen)
    common = [name for name in set(groups) if len(set(offered.owner[groups == name])) >= 20]
    assert {"conv-blocked", "gemm"} <= set(common)
    assert all((groups[owners] == name).sum() >= 3 for name in common)
