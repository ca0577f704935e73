"""Cutting graphs, checked by running the pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from nnprof.exporters.export import export
from nnprof.networks.families import parse_network
from nnprof.profiler import inputs
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.backends.ort_session import OrtSession
from nnprof.profiler.graph import cut
from nnprof.types import Target, Workload


@pytest.fixture(scope="module")
def session() -> OrtSession:
    """A conv network, opened."""
    model = export(parse_network("1x28x28 conv6k5 conv6k5 pool2 fc20 fc10"))
    return BACKEND.open(Workload(model=model, batch=3), Target())


def _run(model: onnx.ModelProto, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    runner = onnxruntime.InferenceSession(model.SerializeToString(), options)
    feeds = {tensor.name: arrays[tensor.name] for tensor in runner.get_inputs()}
    names = [tensor.name for tensor in runner.get_outputs()]
    return dict(zip(names, runner.run(names, feeds), strict=True))


def test_each_op_alone_computes_what_it_computed_inside(session: OrtSession) -> None:
    """Fed with what flowed in, every carved op gives what flowed out of it in the network."""
    part = session._anatomy()
    for index, node in enumerate(part.model.graph.node):
        made = _run(cut.carve(part.model, index, part.tensors), part.tensors)
        assert set(made) == set(node.output)
        for name, array in made.items():
            assert array == pytest.approx(part.tensors[name], abs=1e-5)


def test_copies_have_weights_of_their_own(session: OrtSession) -> None:
    """Copies read one input; each reads the same weights in an order of its own.

    Equal ones a runtime would pack once, and they would be warm for all copies but the first.
    """
    part = session._anatomy()
    (index,) = (i for i, node in enumerate(part.model.graph.node) if node.op_type == "FusedGemm")
    (name,) = part.model.graph.node[index].output
    model = cut.carve(part.model, index, part.tensors, 3)
    assert len(model.graph.input) == 1
    reads = [weight for node in model.graph.node for weight in node.input[1:]]
    assert len(set(reads)) == len(reads) == len(model.graph.initializer)
    matrices = [one for one in model.graph.initializer if len(one.dims) == 2]
    values = [numpy_helper.to_array(one) for one in matrices]
    assert len({array.tobytes() for array in values}) == len(values) == 3
    assert all((np.sort(array, None) == np.sort(values[0], None)).all() for array in values)
    made = _run(model, part.tensors)
    assert set(made) == {name, f"{name}#1", f"{name}#2"}
    assert made[name] == pytest.approx(part.tensors[name], abs=1e-5)


def test_each_beginning_ends_in_its_op(session: OrtSession) -> None:
    """The network up to each node gives that node's output; the last gives the network's."""
    part = session._anatomy()
    for index, node in enumerate(part.model.graph.node):
        made = _run(cut.beginning(part.model, index, part.tensors), part.tensors)
        assert made[node.output[0]] == pytest.approx(part.tensors[node.output[0]], abs=1e-5)
    whole = session.infer(inputs.make(session._workload))
    assert made["probabilities"] == pytest.approx(whole["probabilities"], abs=1e-5)


def test_same_work_has_the_same_key() -> None:
    """An op that two networks share has one key; at another batch or shape it has another."""
    keys = {}
    for name, text, batch in (
        ("a", "1x28x28 conv6k5 pool2 fc20 fc10", 3),
        ("b", "1x28x28 conv6k5 pool2 fc20 fc20 fc10", 3),
        ("c", "1x28x28 conv6k5 pool2 fc20 fc10", 4),
    ):
        work = Workload(model=export(parse_network(text)), batch=batch)
        keys[name] = [node.key for node in BACKEND.open(work, Target()).graph()]
    shared = set(keys["a"]) & set(keys["b"])
    assert keys["a"][0] == keys["b"][0]
    assert len(shared) == len(set(keys["a"]))
    assert not set(keys["a"]) & set(keys["c"])


def test_alone_builds_what_is_asked(session: OrtSession) -> None:
    """Only the ops asked for are built; one of several copies runs, too, and gives them back."""
    keys = [node.key for node in session.graph()]
    ((key, part),) = session.alone({keys[-1]: 3})
    assert key == keys[-1]
    assert part.sample(7) > 0
    part.close()


def test_the_file_is_left_alone(session: OrtSession, tmp_path: Path) -> None:
    """Cutting changes neither the optimised model nor the file that it came from."""
    part = session._anatomy()
    before = part.model.SerializeToString()
    cut.with_all_tensors(part.model)
    cut.beginning(part.model, 1, part.tensors)
    assert part.model.SerializeToString() == before
