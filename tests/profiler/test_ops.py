"""Which state of the caches an op is timed in, and what is timed at all."""

from __future__ import annotations

from nnprof.exporters.onnx import export
from nnprof.networks.families import parse_network
from nnprof.profiler import ops
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.ops import Caches
from nnprof.profiler.ports import OpNode
from nnprof.types import Plan, Target, Workload

CACHES = Caches(core=1000, last=10_000)
CACHES_LARGE = Caches(core=1 << 30, last=1 << 31)


def _node(name: str, weights: int, flowing: int = 10) -> OpNode:
    return OpNode(
        node=name, op="Gemm", kind="gemm", key=name,
        bytes_in=flowing, bytes_out=flowing, bytes_weights=weights,
    )  # fmt: skip


def test_weights_rotate_where_the_network_overflows_a_cache() -> None:
    """Reused within a core's cache; beyond it twice that cache; beyond the last twice the last."""
    for rest, wanted in ((400, 0), (4000, 2000), (40_000, 20_000)):
        nodes = (_node("a", 500), _node("b", rest))
        found = ops.rotated_bytes(nodes[0], nodes, CACHES)
        assert found == wanted
        assert found % 500 == 0


def test_weights_that_matter_little_are_reused() -> None:
    """An op that moves mostly activations runs on the same weights again and again."""
    nodes = (_node("a", 500, flowing=5000), _node("b", 4000))
    assert ops.rotated_bytes(nodes[0], nodes, CACHES) == 0


def test_caches_are_read_from_the_facts() -> None:
    """Sizes as Linux writes them; a machine that does not tell counts as a small one."""
    facts = {"caches": {"L1d": "48K", "L2": "2048K", "L3": "260M"}}
    assert ops.caches_of(facts, 1) == (2 << 20, 260 << 20)
    assert ops.caches_of(facts, 2) == (4 << 20, 260 << 20)
    assert ops.caches_of({}, 1) == (1 << 20, 8 << 20)


def test_state_is_recorded_and_shared_by_it() -> None:
    """Each isolated op tells its state; what is known is taken over, with no run of its own."""
    model = export(parse_network("1x28x28 conv4k5 pool2 fc64 fc10"))
    session = BACKEND.open(Workload(model=model, batch=1), Target())
    plan, small = Plan(op_s=0.01), Caches(core=80_000, last=1 << 20)
    first = ops._isolated(session, plan, {}, 0.0, small)
    rotated = {op.op: op.rotated_bytes for op in first.ops}
    assert rotated["MaxPool"] == 0
    assert (rotated["FusedGemm"] or 0) >= 2 * small.core
    assert "Reshape" not in rotated
    known = {ops.share_key(op): 1.5 for op in first.ops if op.op == "FusedGemm"}
    second = ops._isolated(session, plan, known, 0.0, small)
    assert [(op.runs, op.seconds == 1.5) for op in second.ops] == [
        (0, True) if op.op == "FusedGemm" else (1, False) for op in first.ops
    ]
    # Where the network fits into the cache the same op is another measurement.
    assert all(op.runs for op in ops._isolated(session, plan, known, 0.0, CACHES_LARGE).ops)
