"""Differences and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from nnprof.profiler.diff.numbers import Span, less


def test_sides_of_unlike_doubt() -> None:
    """By the published formula: what b may be less, and a more, go into the low end, and so on."""
    found = less(Span(10.0, 7.0, 12.0), Span(5.0, 4.5, 9.0))
    assert found.seconds == 5.0
    assert found.low == pytest.approx(5 - (3**2 + 4**2) ** 0.5)
    assert found.high == pytest.approx(5 + (2**2 + 0.5**2) ** 0.5)


def test_an_unknown_side_leaves_no_interval() -> None:
    """Where an op has no interval the difference has none, and still is a difference."""
    assert less(Span(2.0, None, None), Span(1.0, 0.9, 1.1)) == Span(1.0, None, None)


def test_the_interval_holds_the_truth() -> None:
    """Of 4000 normal pairs with 95 % intervals of their own, 94 to 96 % hold the difference."""
    random = np.random.default_rng(3)
    held = 0
    for a, b in random.normal((1.0, 1.5), (0.05, 0.2), (4000, 2)):
        sides = [Span(x, x - 1.96 * sd, x + 1.96 * sd) for x, sd in ((a, 0.05), (b, 0.2))]
        found = less(sides[1], sides[0])
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.5 <= found.high
    assert 0.94 <= held / 4000 <= 0.96
