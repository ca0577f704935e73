"""The graph that really runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnprof.exporters.export import export
from nnprof.exporters.models import load_model
from nnprof.networks.families import parse_network
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.graph import opgraph
from nnprof.profiler.importers import ort_ops, ort_profile
from nnprof.profiler.ports import OpNode
from nnprof.types import Target, Workload


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("Conv", "conv"),
        ("FusedConv", "conv"),
        ("FusedGemm", "gemm"),
        ("MaxPool", "pool"),
        ("Relu", "elementwise"),
        ("Softmax", "softmax"),
        ("LSTM", "recurrent"),
        ("ReorderOutput", "memory"),
        ("NonMaxSuppression", "other"),
    ],
)
def test_kinds(op: str, kind: str) -> None:
    """Each op has its kind; what we do not know is other, never dropped."""
    assert opgraph.kind_of(op) == kind


def test_fused_nodes_know_where_they_came_from() -> None:
    """In a conv network every ONNX node is the origin of just one node that ran, or folded away."""
    model = export(parse_network("1x28x28 conv20k5 pool2 fc128 fc10"))
    session = BACKEND.open(Workload(model=model, batch=2), Target())
    nodes = session.graph()
    asked = [node.name for node in onnx.load(model.path).graph.node]
    origins = [name for node in nodes for name in node.origin]
    assert sorted(origins) == sorted(set(origins))
    assert set(origins) == set(asked)
    assert len(nodes[0].origin) == 2  # Conv and the ReLU fused into it
    assert nodes[0].kind == "conv"


def test_reorder_claims_no_origin() -> None:
    """A layout change that the runtime added came from no ONNX node."""
    model = export(parse_network("1x28x28 conv20k5 pool2 fc10"))
    nodes = BACKEND.open(Workload(model=model, batch=1), Target()).graph()
    added = [node for node in nodes if node.op.startswith("Reorder")]
    assert all(node.origin == () for node in added)


def test_op_times_of_a_real_network() -> None:
    """The runtime's pass names every node that ran once, in order, with shapes and seconds."""
    model = export(parse_network("1x28x28 conv20k5 pool2 fc128 fc10"))
    session = BACKEND.open(Workload(model=model, batch=16), Target())
    result = session.op_times(0.05)
    assert [op.node for op in result.ops] == [node.node for node in session.graph()]
    assert [op.index for op in result.ops] == list(range(len(result.ops)))
    assert result.ops[-1].outputs == ((16, 10),)
    assert all(op.seconds >= 0 for op in result.ops)
    assert sum(op.seconds for op in result.ops) > 0
    assert result.latency_s > 0


def test_profile_leaves_the_first_inference_out() -> None:
    """A node's time is the median of the runs after the warm-up one."""
    events = [
        {"cat": "Node", "name": "a_kernel_time", "dur": dur, "args": {"op_name": "Relu"}}
        for dur in (900, 10, 12, 11)
    ]
    run = {"cat": "Session", "name": "model_run", "dur": 1}
    found = ort_profile.inferences([one for event in events for one in (event, run)], "p.json")
    (op,) = ort_ops.op_times(found[-3:], ())
    assert (op.seconds, op.runs, op.kind) == (pytest.approx(11e-6), 3, "elementwise")


def test_outputs_are_right() -> None:
    """What is timed computes the right thing: softmax of a product, against numpy."""
    model = export(parse_network("784 fc10"))
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(model.path).graph.initializer}
    matrix = next(array for array in weights.values() if array.ndim == 2)
    tiles = np.random.default_rng(0).integers(0, 256, (4, 784)).astype(np.float32)
    session = BACKEND.open(Workload(model=model, batch=4), Target())
    (result,) = session.infer({model.inputs[0].name: tiles}).values()
    bias = next(array for array in weights.values() if array.ndim == 1)
    scores = tiles @ (matrix.T if matrix.shape[0] == 10 else matrix) + bias
    expected = np.exp(scores - scores.max(1, keepdims=True))
    assert result == pytest.approx(expected / expected.sum(1, keepdims=True), abs=1e-4)


def test_bound_batch_is_measured(tmp_path: Path) -> None:
    """A file bound to one batch opens and runs at that batch."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMax", ["x"], ["y"], axes=[1])],
        "bound",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [8, 1])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    onnx.save(proto, tmp_path / "bound.onnx")
    model = load_model(tmp_path / "bound.onnx")
    assert model.fixed_batch == 8
    assert BACKEND.open(Workload(model=model, batch=8), Target()).sample(2) > 0


def test_profile_is_matched_by_place() -> None:
    """Nodes are found by their order where the types agree, whatever the session calls them."""
    nodes = tuple(
        OpNode(node=name, op=op, kind="memory", key=name)
        for name, op in (("a", "ReorderOutput"), ("b", "MaxPool"), ("c", "ReorderOutput"))
    )
    events = [
        {"cat": "Node", "name": f"{name}_kernel_time", "dur": dur, "args": {"op_name": op}}
        for name, op, dur in (
            ("c", "ReorderOutput", 1),
            ("b", "MaxPool", 2),
            ("a", "ReorderOutput", 3),
        )
    ]
    ops = ort_ops.op_times(ort_profile.inferences(events, "p.json"), nodes)
    assert [(op.index, op.node) for op in ops] == [(0, "a"), (1, "b"), (2, "c")]
    assert [op.seconds for op in ops] == pytest.approx([1e-6, 2e-6, 3e-6])
    named = ort_ops.op_times(ort_profile.inferences(events[1:], "p.json"), nodes)
    assert [(op.index, op.node) for op in named] == [(1, "b"), (0, "a")]
