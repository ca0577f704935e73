"""The contract of the Backend port, held by every registered backend."""

from __future__ import annotations

import os
import re
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time

import msgspec
import numpy as np
import onnx
import onnx.reference
import pytest

from nnprof import registry
from nnprof.errors import BadFile, Unavailable
from nnprof.exporters.models import load_model
from nnprof.exporters.probes import identity_model
from nnprof.networks import bundled
from nnprof.profiler import inputs
from nnprof.profiler.ports import Backend
from nnprof.types import Model, Target, Workload

# `make gpu-evidence` runs the contract on another device; the backends that lack it are skipped.
TARGET = Target(device=os.environ.get("NNPROF_TEST_DEVICE", Target().device))


@pytest.fixture(params=registry.names("backend"))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend; skipped with its own sentence where it cannot run."""
    found: Backend = registry.find("backend", request.param)
    try:
        found.probe()
        found.open(Workload(model=identity_model(), batch=1), TARGET).close()
    except Unavailable as reason:
        pytest.skip(str(reason))
    return found


def test_probe_tells_the_version(backend: Backend) -> None:
    """A probe tells at least the version."""
    assert backend.probe()["version"]


def test_what_it_tells_can_be_written_down(backend: Backend, model: Model) -> None:
    """Facts of the runtime and of a session are plain values, as a Run's file needs them."""
    told = {**backend.probe(), **backend.open(Workload(model=model, batch=3), TARGET).facts}
    assert msgspec.json.decode(msgspec.json.encode(told)).keys() == told.keys()


def test_outputs_have_their_names_and_shapes(backend: Backend, model: Model) -> None:
    """An inference gives every output by its name, at the batch that went in."""
    work = Workload(model=model, batch=3)
    session = backend.open(work, TARGET)
    results = session.infer(inputs.make(work))
    assert {name: array.shape for name, array in results.items()} == {"y": (3, 4)}
    assert all(np.isfinite(array).all() for array in results.values())


def test_outputs_are_right_on_real_tiles(backend: Backend) -> None:
    """The bundled network gives what ONNX's own reference gives, and reads most digits right.

    A backend with a clock of its own making computes nothing.
    """
    model = load_model(bundled.model_path())
    work = Workload(model=model, batch=16, data=str(bundled.tiles_path()))
    tiles = inputs.make(work)
    session = backend.open(work, TARGET)
    if session.clock == "fake":
        pytest.skip("it computes nothing")
    (expected,) = onnx.reference.ReferenceEvaluator(model.path).run(None, tiles)
    result = session.infer(tiles)["probabilities"]
    # TF32, the default of GPUs, keeps ten bits.
    near = 1e-4 if TARGET.device == "cpu" else 5e-3
    np.testing.assert_allclose(result, expected, atol=near)
    labels = inputs.read_data(bundled.tiles_path())["labels"][:16]
    assert (result.argmax(axis=1) == labels).mean() > 0.7


def test_inferring_leaves_what_is_timed_alone(backend: Backend, model: Model) -> None:
    """An inference on other tiles changes neither the bound tiles nor the outputs of the next."""
    work = Workload(model=model, batch=3)
    session = backend.open(work, TARGET)
    tiles = inputs.make(work)
    first = {name: array.copy() for name, array in session.infer(tiles).items()}
    kept = session.infer({name: array[::-1].copy() for name, array in tiles.items()})
    session.sample(2)
    again = session.infer(tiles)
    np.testing.assert_array_equal(first["y"], again["y"])
    np.testing.assert_array_equal(kept["y"], first["y"][::-1])


def test_clock_is_honest(backend: Backend, model: Model) -> None:
    """Twice the loops take about twice as long; no sample claims more than passed outside.

    Nor less than its own thread worked for it.
    """
    session = backend.open(Workload(model=model, batch=3), TARGET)
    assert session.clock in {"perf_counter", "cuda_event", "recorded", "fake"}
    session.sample(100)
    claims: dict[int, list[float]] = {50: [], 100: []}
    of_work: list[float] = []
    for loops in (50, 100) * 40:
        start, worked = perf_counter(), thread_time()
        claims[loops].append(session.sample(loops))
        worked_s, passed_s = thread_time() - worked, perf_counter() - start
        if session.clock not in ("fake", "recorded"):  # that run was over before
            assert claims[loops][-1] <= passed_s
            of_work.append(claims[loops][-1] / worked_s)
    # Not of each: after an interruption, what lies around the loop is as cold as what is in it.
    assert not of_work or median(of_work) >= 0.5
    # The least of many, of a length that other work on the machine leaves alone now and then.
    assert 1.3 < min(claims[100]) / min(claims[50]) < 3


def test_does_nothing_quickly(backend: Backend) -> None:
    """The graph of one identity runs: its time is the floor of a call."""
    session = backend.open(Workload(model=identity_model(), batch=1), TARGET)
    assert session.sample(10) > 0
    session.close()


def test_ops_are_those_of_the_graph(backend: Backend, model: Model) -> None:
    """The op pass times the nodes of the graph, in order, and ends with the softmax."""
    session = backend.open(Workload(model=model, batch=3), TARGET)
    ops = session.op_times(0.01)
    assert [op.node for op in ops.ops] == [node.node for node in session.graph()]
    assert ops.ops[-1].kind == "softmax"
    assert ops.latency_s > 0


def test_parts_are_those_of_the_graph(backend: Backend, model: Model) -> None:
    """Each distinct op can be timed alone, and every beginning; more of it takes longer.

    Or the session says why not, and says it before anything is timed.
    """
    session = backend.open(Workload(model=model, batch=3), TARGET)
    keys = {node.key for node in session.graph()}
    if "parts" in session.facts:
        for parts_of in (lambda: session.alone(dict.fromkeys(keys, 1)), session.beginnings):
            with pytest.raises(Unavailable, match=re.escape(session.facts["parts"])):
                parts_of()
        return
    parts = dict(session.alone(dict.fromkeys(keys, 2)))
    assert set(parts) == keys
    assert all(part.sample(10) > 0 for part in parts.values())
    beginnings = list(session.beginnings())
    assert len(beginnings) == len(session.graph())
    first, last = (min(part.sample(500) for _ in range(5)) for part in beginnings[:: len(keys) - 1])
    assert first < last


def test_every_onnx_node_is_accounted_for(backend: Backend) -> None:
    """The ops of the bundled network come from its ONNX nodes, none of them twice.

    What no op names was taken out when the network was compiled.
    """
    model = load_model(bundled.model_path())
    session = backend.open(Workload(model=model, batch=16), TARGET)
    names = [node.name for node in onnx.load(model.path).graph.node]
    origins = [name for node in session.graph() for name in node.origin]
    assert len(origins) == len(set(origins))
    assert set(origins) <= set(names)
    assert {"conv1", "conv2", "fc1", "fc2"} <= set(origins)


def test_refuses_what_is_no_model_of_its_own(backend: Backend, tmp_path: Path) -> None:
    """An op that no runtime has is refused by name, or the backend computes nothing anyway."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("NoSuchOp", ["x"], ["y"], domain="nowhere")],
        "strange",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("nowhere", 1)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "strange.onnx"
    )
    work = Workload(model=load_model(tmp_path / "strange.onnx"), batch=1)
    if backend.open(Workload(model=identity_model(), batch=1), TARGET).clock == "fake":
        backend.open(work, TARGET).close()
        return
    with pytest.raises(BadFile, match="NoSuchOp"):
        backend.open(work, TARGET)


def test_closed_session_can_be_opened_again(backend: Backend, model: Model) -> None:
    """Closing gives everything back; the same workload opens again."""
    work = Workload(model=model, batch=3)
    backend.open(work, TARGET).close()
    assert backend.open(work, TARGET).sample(1) > 0
