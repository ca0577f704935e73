"""Of which ops an ONNX file is predicted: those that ran, or those that the model's rules give."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from nnprof.errors import UsageError
from nnprof.profiler.costmodel import ask, graphs
from nnprof.profiler.costmodel.model import CostModel, Group, Term
from nnprof.profiler.ports import OpNode
from nnprof.types import Model, Target

CALL_S, FLOP_S, SOFTMAX_S = 1e-5, 1e-9, 1e-6
WHOLE = CostModel(  # fitted on whole networks: no group has rows of its own
    name="toy",
    target=Target(backend="torch", options={"mode": "compile"}),
    terms=(
        Term(group="network", feature="call", coefficient=CALL_S),
        Term(group="gemm", feature="flops", coefficient=FLOP_S),
        Term(group="softmax", feature="launch", coefficient=SOFTMAX_S),
    ),
    groups=(Group(name="gemm", ops=("Gemm",)), Group(name="softmax", ops=("Softmax",))),
)
OF_OPS = replace(WHOLE, groups=tuple(replace(one, rows=9, shapes=9) for one in WHOLE.groups))
BATCH = 4
FLOPS = 2 * BATCH * 6 * 4  # of the tiny model
PRODUCT = OpNode(
    node="gemm", op="Gemm", kind="gemm", inputs=((BATCH, 6), (6, 4)), outputs=((BATCH, 4),)
)
KERNEL = OpNode(node="fused.1", op="fused_softmax", kind="softmax")  # of which no shape is told


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that tells the shapes of the product, and none of the kernel behind it."""
    monkeypatch.setattr(graphs, "_ran", lambda *_: (PRODUCT, KERNEL))


@pytest.mark.usefixtures("ran")
def test_a_model_of_whole_networks_has_the_ops_of_its_rules(model: Model) -> None:
    """What the runtime calls its kernels, and leaves untold of them, takes nothing off the time."""
    (one,) = ask.predict(WHOLE, [model.path], batches=(BATCH,))
    assert one.ops_from == "rules"
    assert [layer.name for layer in one.layers] == ["gemm", "softmax"]
    assert one.seconds == pytest.approx(CALL_S + FLOPS * FLOP_S + SOFTMAX_S)


@pytest.mark.usefixtures("ran")
def test_an_op_of_unknown_shape_is_no_zero(model: Model) -> None:
    """By a model of ops it is refused by name; the known part, where asked for, has no interval."""
    with pytest.raises(UsageError, match=r"not seen fused_softmax \(shapes unknown\) of tiny"):
        ask.predict(OF_OPS, [model.path], batches=(BATCH,))
    (one,) = ask.predict(OF_OPS, [model.path], batches=(BATCH,), partial=True)
    assert one.unknown == ("fused_softmax (shapes unknown)",)
    assert one.seconds == pytest.approx(CALL_S + FLOPS * FLOP_S)
    assert (one.low_s, one.claim(1.0).word) == (None, "UNDECIDED")
