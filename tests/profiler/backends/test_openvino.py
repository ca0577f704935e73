"""OpenVINO: what its runtime model and counters become. The contract has the rest."""

from __future__ import annotations

import pytest

pytest.importorskip("openvino")

from nnprof.errors import Unavailable, UsageError
from nnprof.exporters.models import load_model
from nnprof.networks import bundled
from nnprof.profiler.backends.openvino import BACKEND
from nnprof.types import Target, Workload


def _work(batch: int) -> Workload:
    return Workload(model=load_model(bundled.model_path()), batch=batch)


def test_fused_nodes_name_what_they_were_made_from() -> None:
    """A convolution takes its ReLU in; FLOPs are those of the ONNX nodes inside."""
    nodes = BACKEND.open(_work(16), Target()).graph()
    (first, second) = (node for node in nodes if node.kind == "conv")
    assert first.origin == ("conv1", "conv1_relu")
    assert second.origin == ("conv2", "conv2_relu")
    macs = 16 * 8 * 24 * 24 * 25
    assert first.flops == 2 * macs + 16 * 8 * 24 * 24
    assert first.bytes_weights == 4 * (8 * 25 + 8)
    assert first.outputs == ((16, 8, 24, 24),)


def test_nodes_on_constants_alone_are_no_ops() -> None:
    """What was computed when the model was compiled, and in- and outputs, are left out."""
    nodes = BACKEND.open(_work(16), Target()).graph()
    assert all(node.origin or node.op == "Reorder" for node in nodes)
    assert {"Input", "Output", "Const"}.isdisjoint(node.op for node in nodes)


def test_threads_streams_and_precision_are_told() -> None:
    """The facts say with what it was compiled, and what the kernels really compute with."""
    facts = BACKEND.open(_work(1), Target(threads=2)).facts
    assert (facts["threads"], facts["streams"]) == (2, 1)
    assert set(facts["kernels"]) == {"f32"}


def test_counters_exclude_the_first_run() -> None:
    """Times of ops are means of the later runs, none negative, each with its kernel."""
    session = BACKEND.open(_work(64), Target())
    ops = session.op_times(0.05)
    assert all(op.seconds >= 0 and op.method == "runtime" and op.kernel for op in ops.ops)
    assert sum(op.seconds for op in ops.ops) > 0


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        (Target(device="cuda"), Unavailable, "computes on cpu, not on 'gpu' of device 'cuda'"),
        (Target(options={"streams": "2"}), UsageError, "no option 'streams'"),
    ],
)
def test_refuses_what_it_does_not_do(target: Target, error: type[Exception], says: str) -> None:
    """Another device or an option is refused with a sentence."""
    with pytest.raises(error, match=says):
        BACKEND.open(_work(1), target)
