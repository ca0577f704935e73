"""Layers of an engine, and their times, as ops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from nnprof.profiler import ports
from nnprof.profiler.graph import counts, opgraph
from nnprof.profiler.importers.trtexec_json import Profile
from nnprof.profiler.importers.trtexec_layers import RANK, Engine, EngineLayer, Shape
from nnprof.profiler.ports import OpNode
from nnprof.types import OpTime


def named(layer: EngineLayer, types: Mapping[str, str]) -> OpNode:
    """The layer's node with the op type of its weightiest ONNX node.

    Args:
        layer: of an engine.
        types: name of each ONNX node → its type; {} where the ONNX file is not at hand.
    """
    found = [types[name] for name in layer.node.origin if name in types]
    if not found or layer.moves:
        return layer.node
    op = min(found, key=lambda one: RANK.index(opgraph.kind_of(one)))
    node = msgspec.structs.replace(layer.node, op=op, kind=opgraph.kind_of(op))
    if node.kind == "gemm":
        return _flat(node)
    if node.flops is None and node.outputs and node.kind in {"softmax", "elementwise"}:
        flops = counts.flops(op, node.inputs, node.outputs, {})
        return msgspec.structs.replace(node, flops=flops)
    return node


def _flat(node: OpNode) -> OpNode:
    """A product that ran as a 1×1 convolution, with the shapes of a product."""

    def flat(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        # A convolution's weights come last, as N × K.
        ones = all(len(shape) == 4 and shape[2:] == (1, 1) for shape in shapes)
        return tuple(shape[:2] for shape in shapes) if ones else shapes

    return msgspec.structs.replace(node, inputs=flat(node.inputs), outputs=flat(node.outputs))


def op_times(
    profile: Profile, engine: Engine | None = None, types: Mapping[str, str] | None = None
) -> tuple[OpTime, ...]:
    """The layers of a profile as ops, with what the engine and the ONNX file say of them.

    Layers are matched by name, equal names in order. A layer that the engine does not list keeps
    its name and is of kind "other". Seconds are the median, or the mean where the profile has no
    median. A layer that took no time by TensorRT's clock keeps its measured 0.
    """
    known: dict[tuple[str, int], EngineLayer] = {}
    seen: Counter[str] = Counter()
    for layer in engine.layers if engine else ():
        known[layer.node.node, seen[layer.node.node]] = layer
        seen[layer.node.node] += 1
    seen.clear()
    result = []
    for index, timed in enumerate(profile.layers):
        found = known.get((timed.name, seen[timed.name]))
        seen[timed.name] += 1
        node = (
            named(found, types or {})
            if found
            else OpNode(node=timed.name, op="unknown", kind="other")
        )
        seconds = timed.mean_s if timed.median_s is None else timed.median_s
        kernel = found.kernel if found else ""
        result.append(
            ports.timed(node, index, seconds, "runtime", runs=profile.count, kernel=kernel)
        )
    return tuple(result)


def batch_of(engine: Engine) -> int | None:
    """The batch that an engine ran, where convolutions and pools, whose first axis it is, agree.

    An input of the engine has to begin with it, too: a layer inside may have joined two axes.
    """
    batches = {
        layer.node.inputs[0][0]
        for layer in engine.layers
        if layer.node.kind in {"conv", "pool"} and layer.node.inputs and layer.node.inputs[0]
    }
    first = {port.shape[0] for port in engine.inputs if port.shape}
    return batches.pop() or None if len(batches) == 1 and batches <= first else None
