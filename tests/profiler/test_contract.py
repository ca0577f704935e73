"""The contract of the Backend port, held by every registered backend."""

from __future__ import annotations

import numpy as np
import pytest

from nnprof import registry
from nnprof.errors import Unavailable
from nnprof.profiler import inputs
from nnprof.profiler.ports import Backend
from nnprof.types import Model, Target, Workload


@pytest.fixture(params=registry.names("backend"))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend; skipped with its own sentence where it cannot run."""
    found: Backend = registry.find("backend", request.param)
    try:
        found.probe()
    except Unavailable as reason:
        pytest.skip(str(reason))
    return found


def test_probe_tells_the_version(backend: Backend) -> None:
    """A probe tells at least the version."""
    assert backend.probe()["version"]


def test_outputs_have_their_names_and_shapes(backend: Backend, model: Model) -> None:
    """An inference gives every output by its name, at the batch that went in."""
    work = Workload(model=model, batch=3)
    session = backend.open(work, Target())
    results = session.infer(inputs.make(work))
    assert {name: array.shape for name, array in results.items()} == {"y": (3, 4)}
    assert all(np.isfinite(array).all() for array in results.values())


def test_clock_is_honest(backend: Backend, model: Model) -> None:
    """Sampling gives positive seconds that grow with the loops."""
    session = backend.open(Workload(model=model, batch=3), Target())
    session.sample(10)
    one, many = (min(session.sample(loops) for _ in range(5)) for loops in (10, 1000))
    assert session.clock in {"perf_counter", "cuda_event", "fake"}
    assert 0 < 10 * one < many


def test_ops_are_those_of_the_graph(backend: Backend, model: Model) -> None:
    """The op pass times the nodes of the graph, in order, and ends with the softmax."""
    session = backend.open(Workload(model=model, batch=3), Target())
    ops = session.op_times(0.01)
    assert [op.node for op in ops.ops] == [node.node for node in session.graph()]
    assert ops.ops[-1].kind == "softmax"
    assert ops.latency_s > 0


def test_parts_are_those_of_the_graph(backend: Backend, model: Model) -> None:
    """Each distinct op can be timed alone, and every beginning; more of it takes longer."""
    session = backend.open(Workload(model=model, batch=3), Target())
    keys = {node.key for node in session.graph()}
    parts = dict(session.alone(()))
    assert set(parts) == keys
    assert all(part.sample(10) > 0 for part in parts.values())
    beginnings = list(session.beginnings())
    assert len(beginnings) == len(session.graph())
    first, last = (min(part.sample(500) for _ in range(5)) for part in beginnings[:: len(keys) - 1])
    assert first < last


def test_closed_session_can_be_opened_again(backend: Backend, model: Model) -> None:
    """Closing gives everything back; the same workload opens again."""
    work = Workload(model=model, batch=3)
    backend.open(work, Target()).close()
    assert backend.open(work, Target()).sample(1) > 0
