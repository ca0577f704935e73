"""The rule by which cells stop, simulated: few cells here, many in `benchmarks/README.md`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "stopping.py"


@pytest.fixture(scope="module")
def stopping() -> ModuleType:
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("stopping", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["stopping"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "times"), [("default", 0.3), ("default", 1.4), ("--quick", 1.4)])
def test_intervals_of_stopped_cells_hold(stopping: ModuleType, name: str, times: float) -> None:
    """Of cells that stopped for being narrow 93 to 97 % hold the truth, and so of all cells."""
    plan, _ = stopping.PLANS[name]
    found = stopping.row(list(stopping.cells(plan, times * plan.interval, 2000, 1)))
    assert 0.93 <= found.of_all <= 0.975
    if found.share > stopping.MEANINGFUL:
        assert 0.93 <= found.of_stopped <= 0.97


def test_rule_before_did_not_hold(stopping: ModuleType) -> None:
    """The simulation sees the fault: stopping at the first narrow look is right far too rarely."""
    plan, (first, last) = stopping.PLANS["default"]
    plan = stopping.replace(plan, processes=first, max_processes=last)
    found = stopping.row(list(stopping.cells_before(plan, 1.6 * plan.interval, 2000, 1)))
    assert found.of_stopped < 0.9
