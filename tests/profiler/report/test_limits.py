"""Limits of an axis: nothing is cut without need, and what is cut is told."""

from __future__ import annotations

import numpy as np
import pytest

from nnprof.profiler.report.limits import limits

NEAR = np.linspace(0.95, 0.98, 20)


def test_one_network_far_off_does_not_flatten_the_others() -> None:
    """The others fill the axis; the one outside is named with its last value."""
    curves = {f"s{at}": NEAR for at in range(6)} | {"s05": np.linspace(0.1, 0.2, 20)}
    found = limits({name: values * 100 for name, values in curves.items()}, " %")
    assert found is not None
    assert found.low == pytest.approx(95 - 0.15)
    assert found.high == pytest.approx(98 + 0.15)
    assert found.outside == "outside: s05 (ends at 20.0 %)"


def test_first_epochs_outside_are_told_apart_from_curves_that_stay_there() -> None:
    """A curve that comes into the picture is named for its epochs."""
    late = np.concatenate([[0.1, 0.3], NEAR])
    found = limits({"a": NEAR, "b": NEAR, "late": late})
    assert found is not None
    assert found.outside == "outside: epochs of late"


def test_curves_that_can_be_read_are_shown_whole() -> None:
    """Values of one scale, values all the same, and none: no limits."""
    assert limits({"a": NEAR, "b": np.linspace(0.9, 0.97, 20)}) is None
    assert limits({"a": np.ones(5)}) is None
    assert limits({"a": np.full(3, np.nan)}) is None


def test_gaps_are_no_values() -> None:
    """A curve that breaks off is told by the last value that it has."""
    lost = np.array([5e9, 7e9, np.nan])
    found = limits({"a": NEAR, "b": NEAR, "lost": lost})
    assert found is not None
    assert "lost (ends at" in found.outside
