"""The graph that really runs: kinds of ops, and the ONNX nodes that a fused node came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.exporters import identity, plain
from nnprof.profiler.graph import counts, cut, lifetimes, origins
from nnprof.profiler.ports import OpNode
from nnprof.types import Kind

_KINDS: dict[Kind, str] = {
    "conv": "Conv FusedConv ConvTranspose ConvInteger QLinearConv NhwcConv NhwcFusedConv",
    "gemm": (
        "Gemm FusedGemm MatMul FusedMatMul MatMulInteger QLinearMatMul QGemm MatMulNBits "
        "MatMulIntegerToFloat DynamicQuantizeMatMul"
    ),
    "pool": (
        "MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool NhwcMaxPool "
        "QLinearAveragePool QLinearGlobalAveragePool"
    ),
    "softmax": "Softmax LogSoftmax QLinearSoftmax",
    "recurrent": "LSTM GRU RNN",
    "memory": (
        "ReorderInput ReorderOutput Reshape Flatten Transpose Concat Split Slice Squeeze "
        "Unsqueeze Identity Cast Expand Gather Pad Tile Shape Memcpy MemcpyFromHost "
        "MemcpyToHost QLinearConcat"
    ),
    "elementwise": (
        "Relu LeakyRelu PRelu Elu Selu Tanh Sigmoid HardSigmoid Softsign Softplus Gelu QuickGelu "
        "Add Sub Mul Div Sum Max Min Pow Sqrt Abs Exp Log Neg Clip Erf Where BatchNormalization "
        "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearAdd QLinearMul "
        "QLinearLeakyRelu QLinearSigmoid BiasGelu FastGelu"
    ),
}
_KIND_OF = {op: kind for kind, ops in _KINDS.items() for op in ops.split()}


def kind_of(op: str) -> Kind:
    """conv, gemm, pool, elementwise, softmax, recurrent, memory or other."""
    return _KIND_OF.get(op, "other")


def ops_of(kind: str) -> tuple[str, ...]:
    """The types of op of a kind."""
    return tuple(op for op, one in _KIND_OF.items() if one == kind)


def op_types(model: Any) -> dict[str, str]:
    """Name of each node of an ONNX model → its op type."""
    return {node.name: node.op_type for node in model.graph.node if node.name}


def in_blocks(node: str) -> bool:
    """Whether a node's name says that it computes on blocks of channels (ONNX Runtime's do)."""
    return node.endswith(origins.BLOCKED)


def read(optimised: Any, original: Path, tensors: Mapping[str, NDArray[Any]]) -> tuple[OpNode, ...]:
    """The nodes of an optimised model, with the work of each and the original nodes in it.

    Args:
        optimised: the ONNX model as the runtime left it.
        original: the file that the runtime optimised.
        tensors: the tensors between the nodes, by name, without weights.
    """
    import onnx

    asked = onnx.load(original, load_external_data=False).graph.node
    weights = cut.weights_of(optimised)
    ran = optimised.graph.node
    lives = live_bytes(optimised.graph, {name: one.nbytes for name, one in tensors.items()})
    return tuple(
        replace(_describe(node, origin, tensors, weights), live_bytes=live)
        for node, origin, live in zip(ran, _origins(ran, asked), lives, strict=True)
    )


def asked(path: Path, tiles: Mapping[str, NDArray[Any]]) -> tuple[OpNode, ...]:
    """The nodes of an ONNX file as they stand, for inputs of the shapes of `tiles`.

    ONNX infers the shapes. A node with a tensor of unknown shape has name, type and kind only.
    """
    model = identity.whole(path)
    plain.make_dense(model)
    tensors = {**inferred(model, {name: one.shape for name, one in tiles.items()}), **tiles}
    weights = cut.weights_of(model)
    lives = live_bytes(model.graph, {name: one.nbytes for name, one in tensors.items()})
    return tuple(
        replace(_as_asked(node, tensors, weights), live_bytes=live)
        for node, live in zip(model.graph.node, lives, strict=True)
    )


def inferred(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """Hollow arrays for the tensors of a model, for inputs of these shapes, as ONNX infers them.

    What it cannot tell is left out. The shapes of the inputs are written into the model.
    """
    import onnx

    for value in model.graph.input:
        if value.name in shapes:
            sides = value.type.tensor_type.shape.dim
            for dimension, side in zip(sides, shapes[value.name], strict=True):
                dimension.dim_value = side
    # Shapes at other batches may be written in the file.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {**_hollow(graph.input), **_hollow(graph.value_info), **_hollow(graph.output)}


def live_bytes(graph: Any, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """For each node of an ONNX graph what is needed while it runs: `lifetimes.live_bytes`."""
    weights = {one.name for one in graph.initializer}
    steps = [
        lifetimes.Step(
            op=node.op_type,
            kind=kind_of(node.op_type),
            reads=tuple(dict.fromkeys(one for one in cut.reads(node) if one not in weights)),
            makes=tuple(one for one in node.output if one),
        )
        for node in graph.node
    ]
    inputs = [one.name for one in graph.input if one.name not in weights]
    return lifetimes.live_bytes(steps, sizes, inputs, [one.name for one in graph.output])


def _hollow(values: Iterable[Any]) -> dict[str, NDArray[Any]]:
    """Arrays of the declared types and shapes that take no memory; unknown shapes left out."""
    import onnx

    found = {}
    for value in values:
        kind = value.type.tensor_type
        sides = kind.shape.dim
        if kind.HasField("shape") and all(side.HasField("dim_value") for side in sides):
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            shape = tuple(side.dim_value for side in sides)
            found[value.name] = np.broadcast_to(np.zeros((), dtype), shape)
    return found


def _as_asked(
    node: Any, tensors: Mapping[str, NDArray[Any]], weights: Mapping[str, NDArray[Any]]
) -> OpNode:
    name = node.name or node.output[0]
    if any(tensor and tensor not in tensors and tensor not in weights
           for tensor in (*node.input, *node.output)):  # fmt: skip
        return OpNode(node=name, op=node.op_type, kind=kind_of(node.op_type), origin=(name,))
    return replace(_describe(node, (name,), tensors, weights), node=name)


def _describe(
    node: Any,
    origin: tuple[str, ...],
    tensors: Mapping[str, NDArray[Any]],
    weights: Mapping[str, NDArray[Any]],
) -> OpNode:
    every = [weights[name] if name in weights else tensors[name] for name in node.input if name]
    flowing = [tensors[name] for name in node.input if name and name not in weights]
    constant = [weights[name] for name in node.input if name in weights]
    made = [tensors[name] for name in node.output if name]
    inputs, outputs = (tuple(array.shape for array in arrays) for arrays in (every, made))
    return OpNode(
        node=node.name,
        op=node.op_type,
        kind=kind_of(node.op_type),
        origin=origin,
        key=cut.key_of(node, tensors, weights),
        inputs=inputs,
        outputs=outputs,
        flops=counts.flops(node.op_type, inputs, outputs, cut.attributes_of(node)),
        bytes_in=sum(array.nbytes for array in flowing),
        bytes_out=sum(array.nbytes for array in made),
        bytes_weights=sum(array.nbytes for array in constant),
    )


def _origins(ran: Sequence[Any], asked: Sequence[Any]) -> list[tuple[str, ...]]:
    made = [
        origins.Ran(node.name, tuple(node.output), kind_of(node.op_type) == "memory")
        for node in ran
    ]
    return origins.find(made, asked)
