"""Runs of the bundled network, whose models' files are here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from nnprof.profiler import results
from nnprof.types import Measurement, Run

DATA = Path(__file__).parents[2] / "data"
FILES = {
    "mnist.onnx": Path(__file__).parents[3] / "networks" / "bundled" / "mnist.onnx",
    "int8": DATA / "diff" / "int8.onnx",
}


def _with_file(measurement: Measurement, path: str) -> Measurement:
    model = replace(measurement.workload.model, path=path)
    return replace(measurement, workload=replace(measurement.workload, model=model))


def recorded(name: str) -> Run:
    """A Run of `tests/data/diff`, with its model's file where it is on this machine."""
    run = results.load(DATA / "diff" / f"{name}.json")
    path = FILES["int8" if name.endswith("int8") else "mnist.onnx"]
    cells = tuple(_with_file(one, str(path)) for one in run.measurements)
    return replace(run, measurements=cells)


@pytest.fixture(scope="session")
def kept() -> Callable[[str], Run]:
    """The reader of such Runs, by name."""
    return recorded
