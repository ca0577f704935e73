"""Boards that are alike: the check and the intervals, on simulated Runs whose truth is known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "twins.py"


@pytest.fixture(scope="module")
def twins() -> ModuleType:
    """The benchmark as a module; it is no part of the package."""
    spec = importlib.util.spec_from_file_location("twins", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["twins"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("boards", [2, 4])
def test_a_difference_is_found_and_intervals_hold_each_board(
    twins: ModuleType, boards: int
) -> None:
    """Boards 5 % apart: always found, and each is within; Student's t alone holds hardly any."""
    made = twins.row(boards, 0.05, 15, heavy=False)
    assert made.found == 1.0
    assert made.each > 0.88
    assert made.each_by_t < 0.3


@pytest.mark.parametrize("heavy", [False, True])
def test_boards_that_do_not_differ_are_left_alone(twins: ModuleType, heavy: bool) -> None:
    """Hardly ever found, also where some processes are slowed."""
    assert twins.row(2, 0.0, 20, heavy=heavy).found <= 0.1
