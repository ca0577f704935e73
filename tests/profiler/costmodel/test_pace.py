"""How long measuring takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnprof.profiler import results, stats
from nnprof.profiler.costmodel import pace

ROOT = Path(__file__).parents[3]


def test_without_cells_it_is_that_of_other_machines() -> None:
    """A process of a small network takes less than a second without its ops, more with them."""
    speed = pace.of_cells([], [])
    whole, timed = speed.process_s(np.array([1e-4]), 0), speed.process_s(np.array([1e-4]), 8)
    assert 0.5 < whole[0] < 1.0 < timed[0] < 3


@pytest.mark.parametrize("name", ["train", "test"])
def test_processes_of_a_run_are_told_from_its_first_cells(name: str) -> None:
    """From 6 cells, latencies told by half: all others together take that, within a factor 1.5.

    Those above 0.1 s apart: with the plan of that Run they were timed by a method more.
    """
    (path,) = (ROOT / "bench_results").glob(f"costmodel-{name}-*.json")
    every = results.load(path).measurements
    cells = [cell for cell in every if stats.latency_s(cell) < 0.1]
    told = [stats.latency_s(cell) / 2 for cell in cells]
    speed = pace.of_cells(cells[:6], told[:6])
    assert speed.latency == pytest.approx(2)
    ops = np.array([len(cell.ops.ops) if cell.ops else 0 for cell in cells])
    found = speed.process_s(np.array(told), ops)[6:].sum()
    took = sum(cell.processes[0].wall_s for cell in cells[6:])
    assert took / 1.5 < found < took * 1.5
