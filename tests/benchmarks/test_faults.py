"""A short run of `benchmarks/faults.py`: what is measured outlives what breaks."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def faults() -> ModuleType:
    """The program; the folder is no package."""
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import faults
    finally:
        sys.path.remove(folder)
    return faults


@pytest.mark.parametrize("whom", ["command", "worker"])
def test_kills_lose_nothing(faults: ModuleType, tmp_path: Path, whom: str) -> None:
    """After kill -9 of the command or its worker all cells are measured, and nothing lives on."""
    row = faults.killed(whom, "fake", tmp_path / "run", 1)
    assert (row.times, row.finished) == (1, row.cells)
    assert (row.lost, row.torn, row.orphans) == (0, 0, 0)
    assert "Traceback" not in row.told


def test_two_commands_lose_nothing(faults: ModuleType, tmp_path: Path) -> None:
    """Two commands that want one Run take turns, or the second is refused; no cell is lost."""
    row = faults.two_commands(tmp_path / "run", 1)
    assert (row.finished, row.lost, row.torn, row.orphans) == (row.cells, 0, 0, 0)
    assert "is being written by process" in row.told


def test_a_save_that_fails_leaves_the_last_one(faults: ModuleType, tmp_path: Path) -> None:
    """Where the file may not grow, the command says so in one sentence, and the Run stays whole."""
    row = faults.limited_file(tmp_path / "run", 1)
    assert (row.finished, row.lost, row.torn, row.orphans) == (row.cells, 0, 0, 0)
    assert "cannot be written: File too large." in row.told
