"""A file of LiteRT: its ops with the ONNX nodes behind each, and the network up to each op.

The file is a flatbuffer, read and written by the classes that come with LiteRT
(`ai_edge_litert.schema_py_generated`, made from `schema.fbs`). What is cut is the converted file:
its ops are fused already, so the beginning of a network has the ops that the network has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnprof.exporters.litert import places_of
from nnprof.profiler.graph import counts, fused
from nnprof.profiler.ports import OpNode
from nnprof.types import Kind

_MEMORY = (
    *("Reshape", "Transpose", "Concatenation", "Slice", "StridedSlice", "Split", "Pad", "Padv2"),
    *("Squeeze", "ExpandDims", "BroadcastTo", "Tile", "Gather", "GatherNd", "Cast", "Pack"),
)
_INSIDE: tuple[Kind, ...] = ("elementwise", "memory")
_IDENTIFIER = b"TFL3"


def read(data: bytes) -> Any:
    """The file as objects that can be changed (`ModelT`)."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(data, 0)


def written(model: Any) -> bytes:
    """The file of such objects."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def beginning(data: bytes, count: int) -> bytes:
    """The network up to and with its op number `count` - 1; its outputs are what later ops read.

    With 0 ops it hands its inputs on: what a call costs.
    """
    model = read(data)
    graph = model.subgraphs[0]
    ops, later = graph.operators[:count], graph.operators[count:]
    read_later = {int(at) for op in later for at in op.inputs} | {int(at) for at in graph.outputs}
    made = [int(at) for op in ops for at in op.outputs]
    graph.operators = ops
    graph.outputs = [at for at in made if at in read_later] or [int(at) for at in graph.inputs]
    model.signatureDefs = None
    used = {int(at) for op in ops for at in (*op.inputs, *op.outputs)}
    for index, tensor in enumerate(graph.tensors):
        if index not in used:  # its weights would be copied for nothing
            model.buffers[tensor.buffer].data = None
    return written(model)


def nodes(data: bytes, asked: Sequence[OpNode], path: Path) -> dict[int, OpNode]:
    """Place in the file → op that runs there, in order, with its ONNX nodes.

    An op that only gives a tensor another shape is no op of its own: alone, or at the end of a
    network, it would have to copy. Its ONNX nodes are with those of the op after it.

    Args:
        data: the file.
        asked: the nodes of the ONNX file, in its order.
        path: of the ONNX file.
    """
    import onnx

    model = read(data)
    protos = onnx.load(path, load_external_data=False).graph.node
    steps = [at for at, proto in enumerate(protos) if proto.op_type != "Constant"]
    names = _op_names(model)
    owners = _owners(model.subgraphs[0], names, steps, protos, asked)
    found: dict[int, list[OpNode]] = {index: [] for index in range(len(names))}
    for at, owner in sorted(owners.items()):
        found[_real(names, owner)].append(asked[at])
    return {
        index: _describe(model, index, names[index], origins)
        for index, origins in found.items()
        if _real(names, index) == index
    }


def _real(names: Sequence[str], index: int) -> int:
    """The first op from there on that does more than give another shape, or the last one."""
    later = range(index, len(names))
    return next((at for at in later if names[at] not in counts.VIEWS), len(names) - 1)


def _op_names(model: Any) -> list[str]:
    """`DEPTHWISE_CONV_2D` → `DepthwiseConv2d`, for each op."""
    from ai_edge_litert import schema_py_generated as schema

    words = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    codes = [model.operatorCodes[op.opcodeIndex] for op in model.subgraphs[0].operators]
    return ["".join(word.capitalize() for word in words[_code(one)].split("_")) for one in codes]


def _code(one: Any) -> int:
    """Ops of number 127 and above are told in the newer field."""
    return max(int(one.builtinCode), int(one.deprecatedBuiltinCode))


def _owners(
    graph: Any,
    names: Sequence[str],
    steps: Sequence[int],
    protos: Sequence[Any],
    asked: Sequence[OpNode],
) -> dict[int, int]:
    """Position of an ONNX node → that of the op it ran in; nodes of no op are left out."""
    makers = {name: at for at, proto in enumerate(protos) for name in proto.output if name}
    told = [
        [steps[place] for at in op.outputs for place in places_of(_name(graph, at))]
        for op in graph.operators
    ]
    owners: dict[int, int] = {}
    # The op that computes owns the node: one that only moves values does so if no other is named.
    for index in sorted(range(len(names)), key=lambda at: names[at] in _MEMORY):
        for at in told[index]:
            owners.setdefault(at, index)
    # The op that makes an output is named by the output alone.
    last = [at for at in steps if any(name in _read_by_none(protos) for name in protos[at].output)]
    ends = [index for index, op in enumerate(graph.operators) if not told[index]]
    if len(last) == 1 and last[0] not in owners and ends:
        owners[last[0]] = ends[-1]
    for at in steps:
        source = next((makers[name] for name in protos[at].input if name in makers), None)
        if at not in owners and source in owners and asked[at].kind in _INSIDE:
            owners[at] = owners[source]
    return owners


def _read_by_none(protos: Sequence[Any]) -> set[str]:
    made = {name for proto in protos for name in proto.output}
    return made - {name for proto in protos for name in proto.input}


def _name(graph: Any, at: Any) -> str:
    name: bytes = graph.tensors[int(at)].name or b""
    return name.decode(errors="replace")


def _describe(model: Any, index: int, name: str, origins: Sequence[OpNode]) -> OpNode:
    graph = model.subgraphs[0]
    op = graph.operators[index]
    ins = [int(at) for at in op.inputs if at >= 0]
    constant = {at: _bytes(model, at) for at in ins if _is_constant(model, at)}
    return OpNode(
        node=f"{name}_{index}",
        op=name,
        kind=fused.kind(name, origins, _MEMORY),
        origin=tuple(node.node for node in origins),
        key=_key(model, index, name),
        inputs=tuple(_shape(graph, at) for at in ins),
        outputs=tuple(_shape(graph, int(at)) for at in op.outputs),
        flops=fused.total(node.flops for node in origins),
        bytes_in=sum(_bytes(model, at) for at in ins if at not in constant),
        bytes_out=sum(_bytes(model, int(at)) for at in op.outputs),
        bytes_weights=sum(constant.values()),
    )


def _shape(graph: Any, at: int) -> tuple[int, ...]:
    shape = graph.tensors[at].shape
    return () if shape is None else tuple(int(side) for side in shape)


def _is_constant(model: Any, at: int) -> bool:
    data = model.buffers[model.subgraphs[0].tensors[at].buffer].data
    return data is not None and len(data) > 0


def _bytes(model: Any, at: int) -> int:
    """Of a tensor; 0 for a type without a size, such as text."""
    from ai_edge_litert import schema_py_generated as schema

    kinds: Mapping[str, int] = vars(schema.TensorType)
    kind = model.subgraphs[0].tensors[at].type
    name = next(name for name, code in kinds.items() if code == kind and name.isupper())
    try:
        size = np.dtype(name.lower()).itemsize
    except TypeError:
        size = 0
    return size * math.prod(_shape(model.subgraphs[0], at))


def _key(model: Any, index: int, name: str) -> str:
    """The same for two ops of one type, options and shapes."""
    graph = model.subgraphs[0]
    op = graph.operators[index]
    options = vars(op.builtinOptions) if op.builtinOptions else {}
    parts = [name, *(f"{key}={value}" for key, value in sorted(options.items()))]
    sides = (*op.inputs, *op.outputs)
    parts += [str(_shape(graph, int(at))) if at >= 0 else "-" for at in sides]
    return fused.key(parts)
