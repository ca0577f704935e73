"""Recurrent ops in a cost model."""

from __future__ import annotations

import numpy as np
import pytest

from nnprof.networks.counts import counted
from nnprof.networks.spec import parse
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.costmodel import features, model, predict, ran, sets, solve, work
from nnprof.profiler.costmodel.lowering import LOWERINGS, _State, _step, of_spec
from nnprof.profiler.costmodel.work import Work
from nnprof.profiler.graph import counts
from nnprof.profiler.ports import OpNode
from nnprof.profiler.studies import model_of
from nnprof.types import Target, Workload

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


def graph(text: str) -> tuple[OpNode, ...]:
    """What ONNX Runtime runs of a network, at batch 3."""
    session = BACKEND.open(Workload(model=model_of(text), batch=3), Target())
    found = session.graph()
    session.close()
    return found


def numbers(ops: tuple[Work, ...]) -> list[tuple[object, ...]]:
    """What features see of each op, but the batch: what runs has the steps there, where first."""
    return [(op.op, *op._replace(batch=0.0, label="")[3:]) for op in ops]


@pytest.mark.parametrize(
    "text",
    [
        "60x1 lstm50 lstm50 lstm50 fc1 linear",
        "60x1 gru50 dropout0.2 gru50 fc1 linear",
        "9x3 lstm5 relu gru4 sigmoid fc2 linear",
        "9x3 gru5 tanh relu softmax lstm4 linear fc2",
        "9x3 bn relu lstm5 softsign bn lstm4 bn fc2",
        "9x3 lstm5 [lstm4 | dropout0.1 lstm4] lstm3 fc2",
        "9x3 [lstm5 | gru5] fc2",
        "9x3 gru4 [ + gru4] gru4",
    ],
)
def test_the_rules_give_what_the_runtime_runs(text: str) -> None:
    """Every op, in order, with every number, copies of sequences into another order among them."""
    assert numbers(of_spec(parse(text), "fused", 3)) == numbers(ran.of_nodes(graph(text)))


def test_every_lowering_knows_them() -> None:
    """Each has the two ops; where a layer is one op, nothing else is there but the last layer."""
    spec = parse("9x3 lstm5 bn gru4 fc2 linear")
    for name in LOWERINGS:
        ops = [op.op for op in of_spec(spec, name, 2)]
        assert [op for op in ops if op in ("LSTM", "GRU")] == ["LSTM", "GRU"]
        assert name != "layers" or ops == ["LSTM", "GRU", "Gemm"]


def test_a_layer_without_a_rule_fails() -> None:
    """It is no layer that costs nothing."""

    class Strange: ...

    with pytest.raises(TypeError, match="no rule for a layer of the kind Strange"):
        _step("fused", Strange(), _State((3,)))  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", ["tanh", "relu"])
@pytest.mark.parametrize(("kind", "rows", "biases"), [("lstm", 4, 1), ("gru", 3, 2)])
def test_flops_are_twice_the_multiply_adds(kind: str, rows: int, biases: int, cell: str) -> None:
    """Of the products: multiply-adds have biases besides, FLOPs what joins gates and state."""
    spec = parse(f"60x2 {kind}50 {cell}")
    (op,) = (node for node in graph(spec.notation) if node.kind == "recurrent")
    products = counted(spec).mult_adds - 60 * rows * 50 * biases
    each = {"tanh": 4, "relu": 1}[cell]
    beside = 4 + 3 * 4 + 2 * each if kind == "lstm" else 5 + 2 * 4 + each
    assert op.flops == 3 * (2 * products + 60 * 50 * beside)
