"""An optimised ONNX graph, cut: each op as a model of its own, and the graph up to each op.

Pure: ONNX in, ONNX out; backends run the parts. The graph is cut after fusion and layout changes,
so an op runs alone with the same code, weights and input values as inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Arrays = Mapping[str, NDArray[Any]]


def with_all_tensors(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every tensor between its nodes as an output, to see shapes and values."""
    seen = {value.name for value in model.graph.output}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for node in model.graph.node:
        for name in node.output:
            if name and name not in seen:
                result.graph.output.append(onnx.ValueInfoProto(name=name))
    return result


def weights_of(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """The constants of a model by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values."""
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def key_of(node: onnx.NodeProto, tensors: Arrays, weights: Arrays) -> str:
    """A digest of type, attributes, shapes and types: equal for two ops that do the same work.

    Values count only for integer weights, which say what is to be done (a shape, an axis).
    """
    attributes = sorted(node.attribute, key=lambda one: one.name)
    parts: list[str] = [node.domain, node.op_type]
    parts += [one.SerializeToString(deterministic=True).hex() for one in attributes]
    for name in (*node.input, *node.output):
        array = weights[name] if name in weights else tensors[name] if name else None
        if array is None:
            parts.append("-")
            continue
        parts.append(f"{'w' if name in weights else 't'}{array.dtype}{array.shape}")
        if name in weights and array.dtype.kind in "iu":
            parts.append(str(array.tolist()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def carve(model: onnx.ModelProto, index: int, tensors: Arrays, copies: int = 1) -> onnx.ModelProto:
    """Node `index` as a model of its own; the tensors that flowed into it become inputs.

    Several copies read the same inputs, but each has weights and outputs of its own. The weights of
    a copy are the same values in another order: ONNX Runtime would pack equal weights only once.
    """
    node = model.graph.node[index]
    alone = _cut(model, [node], [name for name in node.output if name], tensors)
    only, weights, outputs = (
        list(part) for part in (alone.graph.node, alone.graph.initializer, alone.graph.output)
    )
    own = {one.name for one in (*weights, *outputs)}
    for number in range(1, copies):
        for source, target in (
            (only, alone.graph.node),
            (weights, alone.graph.initializer),
            (outputs, alone.graph.output),
        ):
            for one in source:
                copy = target.add()
                copy.CopyFrom(_rolled(one, number) if source is weights else one)
                copy.name = f"{one.name}#{number}"
        latest = alone.graph.node[-1]
        for names in (latest.input, latest.output):
            names[:] = [f"{name}#{number}" if name in own else name for name in names]
    return alone


def _rolled(weights: onnx.TensorProto, places: int) -> onnx.TensorProto:
    """The values shifted by so many places; tensors of one side (a shape, a bias) stay."""
    if len(weights.dims) < 2:
        return weights
    values = numpy_helper.to_array(weights)
    return numpy_helper.from_array(np.roll(values, places), weights.name)


def beginning(model: onnx.ModelProto, last: int, tensors: Arrays) -> onnx.ModelProto:
    """The model up to and with node `last`; its outputs are the tensors that later nodes read."""
    nodes = list(model.graph.node[: last + 1])
    made = [name for node in nodes for name in node.output if name]
    later = {name for node in model.graph.node[last + 1 :] for name in reads(node)}
    later |= {value.name for value in model.graph.output}
    return _cut(model, nodes, [name for name in made if name in later], tensors)


def _cut(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[str],
    tensors: Arrays,
) -> onnx.ModelProto:
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {name for node in nodes for name in node.output}
    # In the order of first use, each once.
    used = [
        name
        for name in dict.fromkeys(name for node in nodes for name in reads(node))
        if name in weights or name in tensors
    ]
    graph = helper.make_graph(
        nodes,
        "part",
        [_declared(name, tensors) for name in used if name not in weights and name not in made],
        [_declared(name, tensors) for name in outputs],
        [weights[name] for name in used if name in weights],
    )
    return helper.make_model(
        graph, opset_imports=list(model.opset_import), ir_version=model.ir_version
    )


def reads(node: onnx.NodeProto) -> list[str]:
    """Every tensor that a node may read, those of graphs inside it included."""
    inner = [
        name
        for attribute in node.attribute
        for child in (attribute.g.node if attribute.HasField("g") else ())
        for name in reads(child)
    ]
    return [name for name in (*node.input, *inner) if name]


def _declared(name: str, tensors: Arrays) -> onnx.ValueInfoProto:
    array = tensors[name]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(array.dtype))
    return helper.make_tensor_value_info(name, kind, array.shape)
