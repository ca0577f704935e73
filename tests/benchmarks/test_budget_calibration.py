"""The verdicts about time budgets, simulated: a hundred Runs here, many in `docs/budget.md`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "budget_calibration.py"


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    """The benchmark as a module, with fewer inferences behind the truth."""
    spec = importlib.util.spec_from_file_location("budget_calibration", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["budget_calibration"] = module
    spec.loader.exec_module(module)
    return module


def undecided(calibration: ModuleType, count: int) -> float:
    """The share of Runs without a verdict, 5 % beyond the budget; none of them may be wrong."""
    true = calibration.Truth(1.0, 1.0722)  # exp(0.03 · 2.3263)
    words = []
    for seed in range(100):
        tail, medians = calibration.a_run(
            "normal", 0.0, count, calibration.np.random.default_rng(seed)
        )
        words.append(calibration.words(tail, medians, 1.02, true)[1])
    assert "MISSES" not in words
    return words.count("UNDECIDED") / len(words)


def test_more_samples_decide_more(calibration: ModuleType) -> None:
    """2 % within the budget: few inferences leave it undecided, many do not."""
    few, some, many = (undecided(calibration, count) for count in (50, 150, 400))
    assert few == 1.0
    assert few > some > many
    assert many <= 0.05


def test_processes_that_differ_make_no_wrong_claim(calibration: ModuleType) -> None:
    """At the percentile itself, with levels 2 % apart, hardly a Run in a hundred claims a side."""
    true = calibration.Truth(1.0, 2.718281828 ** (2.3263 * (0.03**2 + 0.02**2) ** 0.5))
    claimed = 0
    for seed in range(100):
        tail, medians = calibration.a_run(
            "normal", 0.02, 300, calibration.np.random.default_rng(seed)
        )
        claimed += calibration.words(tail, medians, 1.0, true)[1] != "UNDECIDED"
    assert claimed <= 6
