"""The Run that all exports are made of, and where what they are to be stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from nnprof.profiler import results
from nnprof.types import Run

DATA = Path(__file__).parents[2] / "data" / "exports"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of `run.json`, of the network `tiny.onnx`, and of what is made of them.

    The Run came from the fake backend. Then its ops were given what a real runtime gives: a fused
    op, a reorder that is of no node, a time below 0, work, limits and readings of a board.
    """
    return DATA


@pytest.fixture(scope="session")
def run() -> Run:
    """Two cells, at batch 1 with ops longer than the clean time, and a failure."""
    return results.load(DATA / "run.json")


@pytest.fixture(scope="session")
def slower(run: Run) -> Run:
    """The same Run, in which the second cell takes 1.2 times as long."""
    one, two = run.measurements
    longer = replace(
        two, samples_s=tuple(tuple(1.2 * value for value in own) for own in two.samples_s)
    )
    return replace(run, measurements=(one, longer))
