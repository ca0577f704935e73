"""Recurrent ops in a cost model."""

from __future__ import annotations

import numpy as np
import pytest

from nnprof.profiler.costmodel import features, model, predict, ran, sets, solve, work
from nnprof.profiler.costmodel.work import Work
from nnprof.profiler.graph import counts
from nnprof.profiler.ports import OpNode

GATES = {"LSTM": 4, "GRU": 3}


def layer(op: str, steps: int, tiles: int, inputs: int, units: int) -> Work:
    """A recurrent op as a runtime tells of it."""
    rows = GATES[op] * units
    shapes = (steps, tiles, inputs), (1, rows, inputs), (1, rows, units), (1, 2 * rows)
    made = ((steps, 1, tiles, units),)
    node = OpNode(
        node="one", op=op, kind="recurrent", inputs=shapes, outputs=made,
        flops=counts.flops(op, shapes, made, {}),
    )  # fmt: skip
    return ran.of_node(node)


def test_its_numbers_are_steps_tiles_and_weights() -> None:
    """60 steps of 8 tiles: the batch is 8, weights are no input, and all FLOPs count."""
    one = layer("LSTM", steps=60, tiles=8, inputs=3, units=50)
    assert (one.group, one.batch, one.k, one.bytes_in) == ("lstm", 8, 60, 4 * 60 * 8 * 3)
    assert one.bytes_weights == 4 * 200 * (3 + 50)
    assert one.flops == 60 * 8 * (2 * 200 * 53 + 24 * 50)
    assert (one.elements_out, one.bytes_out) == (60 * 8 * 50, 4 * 60 * 8 * 50)


def test_an_op_without_weights_in_sight_is_taken_as_it_is() -> None:
    """A profile that tells the shape of one input only is read, and counts no FLOPs."""
    node = OpNode(node="one", op="LSTM", kind="recurrent", inputs=((9, 4),), outputs=((9, 1, 4),))
    assert ran.of_node(node).flops == 0


def test_exact_times_give_steps_flops_and_values_back() -> None:
    """From layers of many sizes, what a step, a FLOP and a value cost comes out as it went in."""
    (names,) = sets.sets_of(sets.kind_of("gru"))
    assert names == ("launch", "steps", "flops", "values")
    truth, random = np.array([2e-6, 5e-7, 1e-11, 4e-9]), np.random.default_rng(0)
    sizes = 2 ** random.uniform(1, 7, (40, 4))
    works = [layer("GRU", *map(int, row)) for row in sizes.tolist()]
    amounts = features.matrix(names, work.columns_of(works))
    np.testing.assert_allclose(solve.nnls(amounts, amounts @ truth), truth, rtol=1e-6)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("name", ["gtx960-mattsson2016", "onnxruntime-avx512"])
def test_a_model_that_never_saw_one_says_so(op: str, name: str) -> None:
    """Nothing stands in for a recurrent op: it is unknown, by its type, and never free."""
    found = predict.predict(model.load(name), [layer(op, 60, 1, 1, 50)], 1)
    assert found.unknown == (op,)
    assert found.low_s is None
