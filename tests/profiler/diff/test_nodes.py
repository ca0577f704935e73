"""Names of ONNX nodes across two models."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper

from nnprof.exporters.models import load_model
from nnprof.profiler.diff import nodes


@pytest.mark.parametrize(
    ("name", "op", "others", "called"),
    [
        ("conv1_quant", "QLinearConv", {"conv1": "Conv"}, "conv1"),
        ("conv1_quant", "Conv", {"conv1": "Conv"}, "conv1_quant"),  # of that name by chance
        ("conv1_quant", "QLinearConv", {"conv1": "Conv", "conv1_quant": "Relu"}, "conv1_quant"),
        ("conv2_quant", "QLinearConv", {"conv1": "Conv"}, "conv2_quant"),
        ("conv1", "Conv", {"conv1": "Conv"}, "conv1"),
    ],
)
def test_quantised_nodes_keep_the_name_of_what_they_replace(
    name: str, op: str, others: dict[str, str], called: str
) -> None:
    """A node of the form QOperator is the one it replaced, where that is sure."""
    assert nodes.original(name, op, others) == called


@pytest.mark.parametrize(
    ("name", "types", "converts"),
    [
        ("a", {"a": "QuantizeLinear"}, True),
        ("a_QuantizeLinear", {"a_QuantizeLinear": "Conv"}, False),
        ("relu_DequantizeLinear", {}, True),
        ("graph_input_cast0", {}, True),
        ("conv1", {}, False),
    ],
)
def test_conversions_are_known(name: str, types: dict[str, str], converts: bool) -> None:
    """By its type where a file tells it, else by the names that quantisers give."""
    assert nodes.is_conversion(name, types) == converts


def test_a_node_without_a_name_is_called_by_its_output(tmp_path: Path) -> None:
    """And what a runtime calls such a node is known again."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")
    ]
    made = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Tanh", ["r"], ["y"])]
    graph = helper.make_graph(made, "unnamed", ports[:1], ports[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(proto, tmp_path / "unnamed.onnx")
    model = load_model(tmp_path / "unnamed.onnx")
    found = nodes.read(model)
    assert found.types == {"r": "Relu", "y": "Tanh"}
    assert nodes._known("node_of_r", found) == "r"
    assert nodes._known("elsewhere", found) == "elsewhere"
    assert "another file" in nodes.read(replace(model, sha256="0" * 64)).why
