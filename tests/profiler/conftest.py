"""Fixtures of the profiler's tests: a tiny real ONNX model, cells on the fake backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnprof.exporters.models import load_model
from nnprof.types import Cell, Model, Plan, Target, Workload

SHORT = Plan(
    processes=3,
    max_processes=3,
    interval=0.5,
    warmup_s=0.0,
    warmup_limit_s=0.01,
    sample_s=0.02,
    sample_min_s=0.001,
    min_samples=3,
    op_s=0.01,
)


def _tiny_onnx(path: Path, batch: str | int = "batch", neurons: int = 4) -> Path:
    """A 6 → `neurons` → softmax network as an ONNX file."""
    weights = np.linspace(-1, 1, 6 * neurons, dtype=np.float32).reshape(6, neurons)
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w"], ["h"], name="gemm"),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("Softmax", ["r"], ["y"], name="softmax"),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, neurons])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def tiny_onnx() -> Callable[..., Path]:
    """The maker of such files: path, batch (a number or a name) and neurons."""
    return _tiny_onnx


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """The tiny network with a free batch."""
    return load_model(_tiny_onnx(tmp_path / "tiny.onnx"))


@pytest.fixture
def cells(model: Model) -> tuple[Cell, ...]:
    """The tiny network at four batches on the fake backend."""
    target = Target(backend="fake", options={"noise": "0.01"})
    return tuple(
        Cell(workload=Workload(model=model, batch=batch), target=target) for batch in (1, 2, 4, 8)
    )


@pytest.fixture(scope="session")
def short() -> Plan:
    """A plan that ends quickly."""
    return SHORT
