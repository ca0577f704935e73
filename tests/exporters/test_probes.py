"""Graphs made only to be timed."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from nnprof.exporters.int8 import ANYWHERE, Form, on_processor
from nnprof.exporters.probes import identity_model, product_model
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.graph import counts
from nnprof.types import Target, Tensor, Workload


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("form", [ANYWHERE, on_processor({"extensions": ["avx2"]})])
def test_each_precision_computes_the_same_products(precision: str, form: Form) -> None:
    """Five products by one matrix, within what the precision can tell."""
    tiles = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
    found = {}
    for kind in ("fp32", precision):
        model = product_model(64, 5, kind, form)
        assert model.precision == kind
        session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
        (found[kind],) = session.run(None, {"x": tiles})
    near = {"fp32": 1e-6, "fp16": 0.02, "int8": 0.3}[precision]
    assert np.abs(found[precision] - found["fp32"]).max() < near
    assert 0.5 < found["fp32"].std() < 2


def test_int8_products_are_whole_where_they_run() -> None:
    """What the int8 peak is measured with is products of whole numbers, not of float32."""
    model = product_model(64, 5, "int8", on_processor({"extensions": ["avx2"]}))
    session = BACKEND.open(Workload(model=model, batch=64, precision="int8"), Target())
    products = [node for node in session.graph() if node.kind == "gemm"]
    session.close()
    assert len(products) == 5
    assert all(node.op in counts.WHOLE for node in products)
    assert all(node.flops == 2 * 64**3 for node in products)


def test_the_identity_is_one_node() -> None:
    """The graph that measures the floor is one Identity that runs, the same file every time."""
    model = identity_model()
    assert [node.op_type for node in onnx.load(model.path).graph.node] == ["Identity"]
    assert model.inputs == (Tensor(name="x", dtype="float32", shape=(1,)),)
    out = onnxruntime.InferenceSession(model.path).run(None, {"x": np.ones(1, np.float32)})
    assert out[0].tolist() == [1.0]
    assert identity_model() == model
