"""Which state of the caches an op is timed in, and what is timed at all."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from nnprof.exporters.export import export
from nnprof.exporters.models import load_model
from nnprof.networks.families import parse_network
from nnprof.profiler.backends.fake import BACKEND as FAKE
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.ports import OpNode
from nnprof.profiler.timing import passes
from nnprof.types import Model, OpPass, Plan, Target, Workload

CACHE_BYTES = 1000


def _node(name: str, weights: int, flowing: int = 10) -> OpNode:
    return OpNode(
        node=name, op="Gemm", kind="gemm", key=name,
        bytes_in=flowing, bytes_out=flowing, bytes_weights=weights,
    )  # fmt: skip


def test_weights_rotate_where_the_network_overflows_a_cache() -> None:
    """Reused within a core's cache; beyond it rotated through what the network touches.

    That is rounded up to a power of two, and never more than 64 copies.
    """
    for rest, wanted in ((400, 0), (500, 2500), (4000, 8500), (1 << 20, 32_000)):
        nodes = (_node("a", 500), _node("b", rest))
        found = passes.rotated_bytes(nodes[0], nodes, CACHE_BYTES)
        assert found == wanted
        assert found % 500 == 0


def test_weights_that_matter_little_are_reused() -> None:
    """An op that moves mostly activations runs on the same weights again and again."""
    nodes = (_node("a", 500, flowing=5000), _node("b", 4000))
    assert passes.rotated_bytes(nodes[0], nodes, CACHE_BYTES) == 0


def _setting(cache_bytes: int) -> passes.Setting:
    return passes.Setting(call_s=0.0, latency_s=1e-3, cache_bytes=cache_bytes)


def test_state_is_recorded_and_shared_by_it() -> None:
    """Each isolated op tells its state; what is known is taken over, with no run of its own."""
    model = export(parse_network("1x28x28 conv4k5 pool2 fc64 fc10"))
    session = BACKEND.open(Workload(model=model, batch=1), Target())
    plan, small = Plan(op_s=0.01), 80_000
    first = passes._isolated(session, plan, {}, _setting(small))
    rotated = {op.op: op.rotated_bytes for op in first.ops}
    assert rotated["MaxPool"] == 0
    assert (rotated["FusedGemm"] or 0) >= small
    assert "Reshape" not in rotated
    known = {passes.share_key(op): 1.5 for op in first.ops if op.op == "FusedGemm"}
    second = passes._isolated(session, plan, known, _setting(small))
    assert [(op.runs, op.seconds == 1.5) for op in second.ops] == [
        (0, True) if op.op == "FusedGemm" else (1, False) for op in first.ops
    ]
    # Where the network fits into the cache the same op is another measurement.
    assert all(op.runs for op in passes._isolated(session, plan, known, _setting(1 << 30)).ops)


def test_no_beginning_ends_with_a_view() -> None:
    """A reshape at the end of a network would copy, so it has no difference of its own."""
    model = export(parse_network("1x28x28 conv4k5 pool2 fc64 fc10"))
    session = BACKEND.open(Workload(model=model, batch=1), Target())
    nodes = session.graph()
    found = passes._differential(session, Plan(op_s=0.01), nodes, 0.0)
    views = [index for index, node in enumerate(nodes) if node.op == "Reshape"]
    assert len(views) == 1
    assert [op.index for op in found.ops] == [i for i in range(len(nodes)) if i not in views]
    assert sum(op.seconds for op in found.ops) == pytest.approx(found.latency_s)


def test_a_network_of_views_alone_has_no_differences(tmp_path: Path) -> None:
    """There is nothing to time alone nor to cut, and the runtime's own pass remains."""
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Flatten", ["x"], ["y"])
    graph = onnx.helper.make_graph(
        [node], "views", [value("x", 1, [1, 2, 3])], [value("y", 1, [1, 6])]
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    path = tmp_path / "views.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    model = load_model(path)
    session = BACKEND.open(Workload(model=model, batch=1), Target())
    found = passes.all_passes(
        session,
        Plan(op_s=0.01),
        {},
        passes.Setting(call_s=1e-6, latency_s=2e-6, cache_bytes=1 << 20),
    )
    assert "runtime" in [one.method for one in found]
    assert "differential" not in [one.method for one in found]


def test_what_a_call_costs_is_no_part_of_an_op(model: Model) -> None:
    """An op alone, and the first of the beginnings, are timed within a call, which is taken off."""
    session = FAKE.open(Workload(model=model, batch=1), Target(backend="fake"))
    call_s = session.clean_s(0.0)
    found = passes.all_passes(
        session,
        Plan(op_s=0.01),
        {},
        passes.Setting(call_s=call_s, latency_s=4e-6, cache_bytes=1 << 20),
    )
    found = {one.method: one for one in found if isinstance(one, OpPass)}
    weights = {"Gemm": 24, "Relu": 0, "Softmax": 0}
    for method in ("isolated", "differential"):
        seconds = {op.op: op.seconds for op in found[method].ops}
        assert seconds == pytest.approx({op: 1e-6 + 1e-10 * n for op, n in weights.items()})
    assert found["floor"].latency_s == call_s
    assert found["isolated"].latency_s == pytest.approx(session.clean_s(3e-6 + 24e-10))
