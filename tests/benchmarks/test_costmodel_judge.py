"""How the evaluation of the cost model judges, on numbers that can be checked by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nnprof.profiler.costmodel import work
from nnprof.profiler.costmodel.rows import Rows, rows_of


@pytest.fixture(scope="module")
def judge() -> ModuleType:
    """`benchmarks/costmodel_judge.py`; the folder is no package."""
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import costmodel_judge
    finally:
        sys.path.remove(folder)
    return costmodel_judge


def _rows(widths: list[int], batches: tuple[int, ...] = (1, 8)) -> Rows:
    """Products of these widths that take exactly 1 µs and 1 ns per FLOP."""
    works = [work.at_batch(work.gemm(64, width), batch) for width in widths for batch in batches]
    seconds = [1e-6 + 1e-9 * one.flops for one in works]
    return rows_of(works, seconds, [f"net {one.n:g}" for one in works])


def test_unknown_is_wholly_wrong(judge: ModuleType) -> None:
    """What could not be predicted is counted, and is 100 % off."""
    found = judge.errors(np.array([1.1, np.nan]), np.array([1.0, 1.0]))
    assert found["unknown"] == 1
    assert found["mape"] == pytest.approx(0.55)
    assert found["max"] == 1


def test_shapes_stay_together(judge: ModuleType) -> None:
    """A random split holds out about a fifth of the shapes, with all their batches."""
    rows = _rows(list(range(16, 36)))
    for train, test in judge.random_splits(rows, range(3)):
        assert test.sum() == 8
        assert not (train & test).any()
        assert not set(rows.shapes[train]) & set(rows.shapes[test])


def test_totals_of_splits_stay_apart(judge: ModuleType) -> None:
    """Ops that two splits hold out are judged twice, and no total mixes the splits."""
    rows = _rows([16, 32, 64, 128, 256, 512])
    splits = judge.random_splits(rows, range(4))
    seen = {}

    def learn(train: Rows):
        return lambda works: np.full(len(works), float(len(seen.setdefault("asked", works))))

    found = judge.compared(rows, rows.networks, splits, {"one": learn})
    asked = sum(int(test.sum()) for _, test in splits)
    assert found["models"]["one"]["ops"]["n"] == asked
    assert found["models"]["one"]["networks"]["n"] == asked / 2


def test_exact_form_is_found(judge: ModuleType) -> None:
    """Times that follow launch and FLOPs are predicted from few of them, also far outside."""
    rows = _rows([16, 32, 48, 64, 96, 128, 256, 1024])
    large = rows.columns["n"] > 128
    found = judge.compared(rows, rows.networks, [(~large, large)], {"2016-rel": _model("2016-rel")})
    assert found["models"]["2016-rel"]["ops"]["max"] < 1e-6


def _model(name: str):
    import costmodel_models

    return costmodel_models.MODELS[name]


def test_k_centre_covers_groups(judge: ModuleType) -> None:
    """So many rows as asked for, and each group has one of them at least."""
    products = _rows(list(range(16, 48)))
    copies = [work.at_batch(work.plain("Softmax", (10,)), batch) for batch in (1, 2, 4)]
    rows = rows_of([*products.works, *copies], [*products.seconds, 1e-6, 2e-6, 4e-6])
    chosen = judge.k_centre(rows, 12, seed=0)
    assert chosen.sum() == 12
    assert set(rows.groups[chosen]) == {"gemm", "softmax"}


def test_k_centre_can_give_each_group_so_many(judge: ModuleType) -> None:
    """As far as it has them; and no more than an even share."""
    products = _rows(list(range(16, 48)))
    copies = [work.at_batch(work.plain("Softmax", (10,)), 1 + batch) for batch in range(20)]
    rows = rows_of([*products.works, *copies], [*products.seconds, *([1e-6] * 20)])
    for count, least, mine in ((20, 8, 8), (12, 8, 6)):
        chosen = judge.k_centre(rows, count, 0, least)
        assert chosen.sum() == count
        for name in ("gemm", "softmax"):
            assert (rows.groups[chosen] == name).sum() >= mine


def test_k_centre_ends_among_equals(judge: ModuleType) -> None:
    """Ops that are measured twice are chosen, too, where nothing else is left."""
    once = _rows([16, 32])
    rows = rows_of([*once.works, *once.works], [*once.seconds, *once.seconds])
    assert judge.k_centre(rows, 7, seed=0).sum() == 7


def test_difference_of_equals_is_none(judge: ModuleType) -> None:
    """A model against itself differs by nothing; one that is 10 % worse by 10 %, without doubt."""
    measured = np.linspace(1, 2, 30)
    names = np.array([f"net {index % 10}" for index in range(30)])
    same = judge.difference(measured * 1.1, measured * 1.1, measured, names)
    assert (same["low"], same["high"]) == (0, 0)
    worse = judge.difference(measured * 1.2, measured * 1.1, measured, names)
    assert worse["difference"] == pytest.approx(0.1)
    assert 0.099 < worse["low"] <= worse["high"] < 0.101
    assert worse["networks"] == 10
