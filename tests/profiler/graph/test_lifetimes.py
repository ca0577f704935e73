"""What a network needs at least, from shapes and the order of its nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnprof.exporters.models import load_model
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.graph import least, lifetimes
from nnprof.profiler.graph.lifetimes import Step
from nnprof.types import Kind, Target, Workload

BUNDLED = Path(__file__).parents[3] / "networks" / "bundled" / "mnist.onnx"


def _step(op: str, kind: Kind, reads: str, makes: str) -> Step:
    return Step(op=op, kind=kind, reads=tuple(reads.split()), makes=tuple(makes.split()))


def test_a_chain_holds_what_a_node_reads_and_makes() -> None:
    """Of a chain each node needs its input and its output, and nothing of the others."""
    steps = [_step("Conv", "conv", "in", "a"), _step("Conv", "conv", "a", "b")]
    sizes = {"in": 3, "a": 10, "b": 4}
    assert lifetimes.live_bytes(steps, sizes, ["in"], ["b"]) == (13, 14)


def test_a_branch_is_kept_until_it_is_read() -> None:
    """What a later node reads is alive at the nodes between."""
    steps = [
        _step("Conv", "conv", "in", "a"),
        _step("Conv", "conv", "a", "b"),
        _step("Conv", "conv", "b", "c"),
        _step("Concat", "memory", "a c", "d"),
    ]
    sizes = {"in": 1, "a": 10, "b": 100, "c": 1000, "d": 10000}
    assert lifetimes.live_bytes(steps, sizes, ["in"], ["d"]) == (11, 110, 1110, 11010)


def test_views_and_elementwise_ops_take_nothing() -> None:
    """A new shape is the same memory, and an activation writes over what nobody else reads."""
    steps = [
        _step("Conv", "conv", "in", "a"),
        _step("Relu", "elementwise", "a", "b"),
        _step("Flatten", "memory", "b", "c"),
        _step("Gemm", "gemm", "c", "d"),
    ]
    sizes = {"in": 1, "a": 10, "b": 10, "c": 10, "d": 2}
    assert lifetimes.live_bytes(steps, sizes, ["in"], ["d"]) == (11, 10, 10, 12)


def test_what_is_read_again_or_bound_is_not_written_over() -> None:
    """A residual's first branch, and the caller's own input, keep their memory."""
    steps = [
        _step("Relu", "elementwise", "in", "a"),
        _step("Relu", "elementwise", "a", "b"),
        _step("Add", "elementwise", "a b", "c"),
    ]
    sizes = dict.fromkeys(("in", "a", "b", "c"), 10)
    assert lifetimes.live_bytes(steps, sizes, ["in"], ["c"]) == (20, 20, 20)


def test_the_bundled_network_by_hand() -> None:
    """The bundled network's peak is its first pool: 8 maps of 24×24 go in, of 12×12 come out."""
    found = least.of_file(BUNDLED, {"tiles": (256, 1, 28, 28)})
    values = 8 * 24 * 24 + 8 * 12 * 12
    assert (found.node, found.live_bytes, found.unsized) == ("pool1", 256 * values * 4, 0)
    learned = 8 * 26 + 16 * (8 * 25 + 1) + 64 * 257 + 10 * 65
    assert found.weights_bytes == learned * 4 + 2 * 8  # and a shape of two whole numbers


def test_weights_that_two_nodes_read_count_once(tmp_path: Path) -> None:
    """Weights are counted by name; those that no node reads are not."""
    values = np.zeros((4, 4), np.float32)
    nodes = [helper.make_node("MatMul", [one, "w"], [two]) for one, two in ("xa", "ay")]
    shape = ["batch", 4]
    graph = helper.make_graph(
        nodes,
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(values, name) for name in ("w", "unread")],
    )
    path = tmp_path / "twice.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    found = least.of_file(path, {"x": (3, 4)})
    assert (found.weights_bytes, found.live_bytes) == (64, 2 * 3 * 4 * 4)


@pytest.mark.parametrize("batch", [1, 64])
def test_the_bound_is_below_what_the_runtime_takes(batch: int) -> None:
    """ONNX Runtime's arena takes more than the bound of the graph that it runs."""
    session = BACKEND.open(Workload(model=load_model(BUNDLED), batch=batch), Target())
    most = max(node.live_bytes or 0 for node in session.graph())
    taken = session.arena()
    assert taken is not None
    assert 0 < most <= taken
