"""Networks with recurrent layers on the runtimes that time ops alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnprof.exporters.models import load_model
from nnprof.profiler.backends import onnxruntime, torch
from nnprof.profiler.ports import Backend
from nnprof.types import Model, Target, Workload

STEPS, UNITS, BATCH = 6, 4, 3
_GATES = {"LSTM": 4, "GRU": 3}


def two_layers(path: Path, op: str) -> Model:
    """Windows → all steps of one layer → the last step of a second one → 2 scores."""
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}
    for layer, features in (("1", 1), ("2", UNITS)):
        rows = _GATES[op] * UNITS
        for name, shape in (
            ("w", (1, rows, features)),
            ("r", (1, rows, UNITS)),
            ("b", (1, 2 * rows)),
        ):
            weights[name + layer] = rng.standard_normal(shape).astype(np.float32)
    weights |= {"k": rng.standard_normal((2, UNITS)).astype(np.float32)}
    weights |= {"one": np.array([1]), "zero": np.array([0])}
    more = {"hidden_size": UNITS, **({"linear_before_reset": 1} if op == "GRU" else {})}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2], name="turn"),
        helper.make_node(op, ["t", "w1", "r1", "b1"], ["all"], name="first", **more),
        helper.make_node("Squeeze", ["all", "one"], ["steps"], name="flat"),
        helper.make_node(op, ["steps", "w2", "r2", "b2"], ["", "end"], name="second", **more),
        helper.make_node("Squeeze", ["end", "zero"], ["state"], name="last"),
        helper.make_node("Gemm", ["state", "k"], ["scores"], transB=1, name="out"),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", STEPS, 1])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return load_model(path)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("backend", [onnxruntime.BACKEND, torch.BACKEND])
def test_each_layer_is_an_op_that_every_pass_times(
    tmp_path: Path, op: str, backend: Backend
) -> None:
    """A recurrent layer is one op of its own kind, with its FLOPs, alone and in the beginnings."""
    model = two_layers(tmp_path / "two.onnx", op)
    session = backend.open(Workload(model=model, batch=BATCH), Target())
    found = [node for node in session.graph() if node.op == op]
    assert [node.kind for node in found] == ["recurrent", "recurrent"]
    gates, beside = _GATES[op], {"LSTM": 24, "GRU": 17}[op]
    for node, features in zip(found, (1, UNITS), strict=True):
        step = 2 * gates * UNITS * (features + UNITS) + beside * UNITS
        assert node.flops == STEPS * BATCH * step
    parts = dict(session.alone({node.key: 2 for node in found}))
    assert set(parts) == {node.key for node in found}
    beginnings = list(session.beginnings())
    assert len(beginnings) == len(session.graph())
    for part in (*parts.values(), *beginnings):
        assert part.sample(1) > 0
    timed = {one.op for one in session.op_times(0.01).ops if one.seconds > 0}
    assert op in timed
    session.close()
