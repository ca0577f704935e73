"""Which ONNX nodes an op was made from: graphs as ONNX Runtime leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnprof.exporters import precision
from nnprof.exporters.models import load_model
from nnprof.profiler.graph import opgraph, origins
from nnprof.profiler.graph.origins import Ran

# Published networks that onnx carries for its own tests.
_PUBLISHED = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def _ran(path: Path, folder: Path) -> list[Any]:
    """The nodes that ONNX Runtime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return list(onnx.load(folder / "optimised.onnx").graph.node)


def _residual(path: Path) -> Path:
    """Two residual blocks, a gate, branches, an Identity and a node without a name."""
    random, weights, nodes = np.random.default_rng(0), {}, []

    def weight(name: str, *shape: int) -> str:
        values = random.normal(0, 0.1, shape).astype(np.float32)
        weights[name] = numpy_helper.from_array(values, name)
        return name

    def node(op: str, name: str, *inputs: str, **how: Any) -> str:
        made = f"{op}_{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [made], name=name, **how))
        return made

    def conv(name: str, tensor: str, channels: int = 16) -> str:
        side = weight(f"{name}.w", 16, channels, 3, 3)
        return node("Conv", name, tensor, side, weight(f"{name}.b", 16), pads=[1, 1, 1, 1])

    tensor = node("Relu", "relu", conv("conv", "x", 3))
    for block in ("one", "two"):
        inner = node("Relu", "" if block == "two" else "one.relu", conv(f"{block}.a", tensor))
        total = node("Add", f"{block}.add", conv(f"{block}.b", inner), tensor)
        tensor = node("Relu", f"{block}.out", total)
    tensor = node("Mul", "gate", tensor, node("Sigmoid", "sigmoid", tensor))
    sides = {"kernel_shape": [2, 2], "strides": [2, 2]}
    both = node("MaxPool", "max", tensor, **sides), node("AveragePool", "mean", tensor, **sides)
    tensor = node("Identity", "same", node("Concat", "concat", *both, axis=1))
    flat = node("Flatten", "flat", node("GlobalAveragePool", "global", tensor))
    product = node("MatMul", "product", flat, weight("product.w", 32, 10))
    node("Softmax", "softmax", node("Add", "bias", product, weight("bias.w", 10)))
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
        for name, shape in (("x", (3, 32, 32)), (nodes[-1].output[0], (10,)))
    ]
    graph = helper.make_graph(nodes, "residual", ports[:1], ports[1:], list(weights.values()))
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )
    return path


def _found(path: Path, ran: list[Any], *, outputs: bool) -> list[tuple[str, ...]]:
    ops = [
        Ran(
            node.name,
            tuple(node.output) if outputs else (),
            opgraph.kind_of(node.op_type) == "memory",
        )
        for node in ran
    ]
    return origins.find(ops, onnx.load(path).graph.node)


@pytest.mark.parametrize("name", ["resnet50", "shufflenet", "densenet121", "inception_v2"])
def test_published_networks(name: str, tmp_path: Path) -> None:
    """Every node of a published network is in one op, with the tensors known or names alone."""
    path = _PUBLISHED / f"light_{name}.onnx"
    if not path.is_file():
        pytest.skip("this onnx carries no networks")
    ran = _ran(path, tmp_path)
    asked = sorted(origins.called(node) for node in onnx.load(path).graph.node)
    for outputs in (True, False):
        found = _found(path, ran, outputs=outputs)
        assert sorted(one for each in found for one in each) == asked


def test_fused_in_blocks(tmp_path: Path) -> None:
    """A sum and an activation behind a convolution are the convolution's, not the next op's."""
    path = _residual(tmp_path / "residual.onnx")
    ran = _ran(path, tmp_path)
    for outputs in (True, False):
        found = _found(path, ran, outputs=outputs)
        named = [one for each in found for one in each]
        assert sorted(named) == sorted(origins.called(n) for n in onnx.load(path).graph.node)
        assert any({"sigmoid", "gate"} == set(each) for each in found)
        if any(opgraph.in_blocks(node.name) for node in ran):
            assert ("one.b", "one.add", "one.out") in found


def test_int8_in_channels_last(tmp_path: Path) -> None:
    """In whole numbers nodes change their tensors' names: each op still has its own node."""
    path = _residual(tmp_path / "residual.onnx")
    tiles = np.random.default_rng(1).normal(size=(8, 3, 32, 32)).astype(np.float32)
    form = precision.Form(unsigned=True, reduced=True, why="a test")
    calibration = precision.Calibration(tiles=tiles, source="generated tiles", at_once=8)
    model = load_model(precision.convert(load_model(path), "int8", calibration, form).path)
    ran = _ran(Path(model.path), tmp_path)
    each = _found(Path(model.path), ran, outputs=True)
    found = {node.name: own for node, own in zip(ran, each, strict=True)}
    types = opgraph.op_types(onnx.load(model.path))
    quiet = {"QuantizeLinear", "DequantizeLinear"}
    computing = [one for each in found.values() for one in each if types[one] not in quiet]
    assert sorted(computing) == sorted(name for name, op in types.items() if op not in quiet)
    for node in ran:
        if node.op_type == "QLinearConv":
            (own,) = (one for one in found[node.name] if types[one] == "Conv")
            assert node.name.startswith(own)
        if node.op_type == "Transpose":
            assert found[node.name] == ()


def test_layers_that_name_their_nodes_together() -> None:
    """`conv1 + relu1` is both, as TensorRT calls a layer; a copy for it is neither."""
    asked = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv1"),
        helper.make_node("Relu", ["c"], ["r"], name="relu1"),
    ]
    ran = [Ran("Reformatting CopyNode for Input Tensor 0 to conv1 + relu1"), Ran("conv1 + relu1")]
    assert origins.find(ran, asked) == [(), ("conv1", "relu1")]
