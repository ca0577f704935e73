"""The other people's networks that the cost model is asked about."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from nnprof.networks.spec import parse


@pytest.fixture(scope="module")
def others() -> ModuleType:
    """`benchmarks/costmodel_others.py`; the folder is no package."""
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import costmodel_others
    finally:
        sys.path.remove(folder)
    return costmodel_others


def test_sets_are_drawn_alike_and_apart(others: ModuleType) -> None:
    """A set has the same 32 cells each time, and shares none with the other set."""
    dev, test = (others.drawn(others.seed_of(name)) for name in ("dev", "test"))
    assert dev == others.drawn(others.seed_of("dev"))
    assert len(dev) == len(test) == others.CELLS
    assert not set(dev) & set(test)


def test_kinds_are_there(others: ModuleType) -> None:
    """Every set has what other people's networks are made of, at batches of 1 to 1024."""
    for name in ("dev", "test"):
        cells = others.drawn(others.seed_of(name))
        words = " ".join(one.network for one in cells)
        for word in ("avgpool", "tanh", "sigmoid", "bn", "same", "s2", "k1", "k7", "3x32x32", "-"):
            assert word in words
        assert all(1 <= one.batch <= 1024 for one in cells)
        notations = [one.network for one in cells if not others.files.is_name(one.network)]
        assert all(parse(one).notation == one for one in notations)


def test_a_model_file_is_a_seed(others: ModuleType, tmp_path: Path) -> None:
    """Another model file draws other networks."""
    seeds = set()
    for text in ("one", "two"):
        (tmp_path / text).write_text(text)
        seeds.add(others.seed_of(str(tmp_path / text)))
    assert len(seeds - set(others.SEEDS.values())) == 2


def test_files_come_back(others: ModuleType, tmp_path: Path) -> None:
    """A file is the same bytes whenever it is made, and a valid ONNX network."""
    import onnx

    for kind in others.files.KINDS:
        first, second = (others.files.made(f"{kind}-7", tmp_path / one) for one in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
        onnx.checker.check_model(onnx.load(first), full_check=True)
