"""Whose time is a layer of a chain."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from nnprof.profiler import ports
from nnprof.profiler.ports import OpNode

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
chains = importlib.import_module("chains")


def _ops(*told: tuple[float, tuple[str, ...]]) -> list[object]:
    return [
        ports.timed(OpNode(node="", op="", kind="other", origin=origin), at, seconds, "runtime")
        for at, (seconds, origin) in enumerate(told)
    ]


def test_what_a_runtime_puts_in_before_a_layer_is_of_that_layer() -> None:
    """Weights that ncnn copies cost as much with each layer; what follows the last is of none."""
    one = ((2.0, ()), (5.0, ("layer0",)))
    assert chains.layer_s(_ops(*one, (2.0, ()), (5.0, ("layer1",)), (9.0, ()))) == 7.0


def test_an_op_of_several_layers_is_shared() -> None:
    """Two layers that became one op took half of it each."""
    assert chains.layer_s(_ops((6.0, ("layer0", "layer1")))) == pytest.approx(3.0)
