"""ONNX Runtime: providers that are asked for, and whether they took the nodes."""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime
import pytest

from nnprof.errors import Unavailable, UsageError
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.backends.ort_bound import synchronised
from nnprof.profiler.backends.ort_session import check_placement
from nnprof.types import Model, Target, Workload

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"


def _events(*nodes: tuple[str, str]) -> list[dict[str, Any]]:
    """A profile's events of nodes given as (op, provider), each run twice."""
    return [
        {
            "cat": "Node",
            "name": f"node{at}_kernel_time",
            "dur": 5,
            "args": {"op_name": op, "provider": provider},
        }
        for _ in range(2)
        for at, (op, provider) in enumerate(nodes)
    ]


def test_each_node_is_counted_where_it_ran() -> None:
    """Copies between the devices may run on the CPU; what computes ran where it was asked to."""
    events = _events(("Conv", CUDA), ("Gemm", CUDA), ("MemcpyToHost", CUDA), ("Shape", CPU))
    assert check_placement(events, "net", CUDA) == {CUDA: 3, CPU: 1}
    both = _events(("TRTKernel_graph_0", TENSORRT), ("Softmax", CUDA))
    assert check_placement(both, "net", TENSORRT) == {TENSORRT: 1, CUDA: 1}


@pytest.mark.parametrize(
    ("nodes", "first", "says"),
    [
        ([("Conv", CUDA), ("LRN", CPU), ("Softmax", CPU)], CUDA, "LRN, Softmax ran on the CPU"),
        ([("Conv", CUDA)], TENSORRT, "it took no node"),
        ([("Conv", CPU)], CUDA, "Conv ran on the CPU"),
    ],
)
def test_falling_back_is_refused(nodes: list[tuple[str, str]], first: str, says: str) -> None:
    """A number of another provider's kernels never stands under the one that was asked for."""
    with pytest.raises(Unavailable, match=f"{first} does not run net: {says}"):
        check_placement(_events(*nodes), "net", first)


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="built for GPUs")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_built_in_is_refused(model: Model, provider: str) -> None:
    """The sentence names the provider, lists those that are there, and says what to install."""
    target = Target(device="cuda", options={"provider": provider})
    with pytest.raises(Unavailable, match=r"has no (CUDA|Tensorrt)Exec.*CPUExec.*onnxruntime-gpu"):
        BACKEND.open(Workload(model=model, batch=1), target)


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        (Target(device="tpu"), Unavailable, "computes on cpu and gpu, not on device 'tpu'"),
        (Target(device="jetson", on="dla"), Unavailable, "not on 'dla' of device 'jetson'"),
        (Target(options={"provider": "cuda"}), UsageError, "no option 'provider=cuda' on 'cpu'"),
        (Target(options={"fast": "1"}), UsageError, "no option 'fast'"),
        (Target(options={"optimise": "no"}), UsageError, "optimise=no is not known. Known: opt"),
    ],
)
def test_refuses_what_it_does_not_do(
    model: Model, target: Target, error: type[Exception], says: str
) -> None:
    """Other devices, options and providers are refused with a sentence."""
    with pytest.raises(error, match=says):
        BACKEND.open(Workload(model=model, batch=1), target)


def test_unoptimised_each_node_of_the_file_runs(model: Model) -> None:
    """`optimise=0` runs the nodes of the file, in order; otherwise some of them are fused."""
    asked = [(node.name, node.op_type) for node in onnx.load(model.path).graph.node]
    ran = {}
    for value in ("0", "1"):
        target = Target(options={"optimise": value})
        session = BACKEND.open(Workload(model=model, batch=2), target)
        ran[value] = [(node.node, node.op) for node in session.graph()]
        assert ("optimised" in session.facts) == (value == "0")
        session.close()
    assert ran["0"] == asked
    assert len(ran["1"]) < len(asked)


def test_the_profile_tells_the_placement(model: Model) -> None:
    """A real profile of this runtime has what the placement is read from."""
    session = BACKEND.open(Workload(model=model, batch=2), Target())
    events, _ = session._profile(0.0)
    assert check_placement(events, "tiny", CPU) == {CPU: len(session.graph())}


def test_outputs_on_a_device_are_waited_for() -> None:
    """An inference whose outputs lie on a device ends when the device is done, not when asked."""
    calls: list[str] = []

    class Value:
        def __init__(self, place: str) -> None:
            self.place = place

        def device_name(self) -> str:
            return self.place

    class Both:
        def __init__(self, place: str) -> None:
            self.place = place

        def run_with_iobinding(self, binding: Any) -> None:
            calls.append(f"run {binding.place}")

        def get_outputs(self) -> list[Value]:
            return [Value(self.place)]

        def synchronize_outputs(self) -> None:
            calls.append("wait")

    for place in ("cpu", "cuda"):
        synchronised(Both(place), Both(place))(Both(place))
    assert calls == ["run cpu", "run cuda", "wait"]
