"""Inferences of ONNX Runtime's profile (`ort_profile`) → time of each op, and the batch. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec

from nnprof.profiler import ports
from nnprof.profiler.graph import counts, opgraph
from nnprof.profiler.importers.ort_profile import Inference, Ran, Shape, shapes_of
from nnprof.profiler.ports import OpNode
from nnprof.types import OpTime

# Their FLOPs need attributes that a profile does not have.
_WINDOWED = {"MaxPool", "AveragePool", "LpPool", "NhwcMaxPool", "QLinearAveragePool"}
# The first axis of their first input is the batch, because ONNX says so, not because it is usual.
_BATCHED = frozenset(
    (
        *("Conv", "FusedConv", "NhwcConv", "NhwcFusedConv", "QLinearConv", "ConvInteger"),
        *("ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
    )
)


def alike(found: Sequence[Inference]) -> tuple[Inference, ...]:
    """The inferences that ran the nodes that most inferences ran, in the usual order.

    Parallel threads change the order. Then nodes are matched by name, if all names differ.
    """
    usual, _ = Counter(one.order for one in found).most_common(1)[0]
    ranks = {pair: at for at, pair in enumerate(usual)}
    if len(ranks) < len(usual):
        return tuple(one for one in found if one.order == usual)
    same = [one for one in found if len(one.order) == len(usual) and set(one.order) == set(ranks)]
    return tuple(
        msgspec.structs.replace(
            one, nodes=tuple(sorted(one.nodes, key=lambda node: ranks[node.name, node.op]))
        )
        for one in same
    )


def op_times(found: Sequence[Inference], nodes: Sequence[OpNode]) -> tuple[OpTime, ...]:
    """Ops in order of execution; medians over inferences that are alike (`alike`).

    Args:
        found: at least one.
        nodes: of the graph, in order; a node that is not among them is described by its event. They
            are matched by place, because each session names the reorders that it inserts anew; by
            name only where the runtime took another order.
    """
    first = found[0].nodes
    in_order = [node.op for node in first] == [node.op for node in nodes]
    place = {node.node: index for index, node in enumerate(nodes)}
    ops = []
    for at, node in enumerate(first):
        # Behind the graph and its call, where the graph does not know it.
        index = at if in_order or not nodes else place.get(node.name, len(nodes) + 1 + at)
        ops.append(
            ports.timed(
                nodes[index] if index < len(nodes) else described(node),
                index,
                median(one.nodes[at].seconds for one in found),
                "runtime",
                runs=len(found),
                kernel=node.provider,
            )
        )
    return tuple(ops)


def batch_of(found: Inference) -> int | None:
    """The batch, where ops whose first axis it is by definition agree, and the first input has it.

    Other shapes that begin with the same number may be a weight, a sequence or an image.
    """
    batches = {
        node.inputs[0][0]
        for node in found.nodes
        if node.op in _BATCHED and node.inputs and len(node.inputs[0]) > 2
    }
    first = next((shapes for shapes in found.shapes if shapes), ())
    begins = {shape[0] for shape in first if len(shape) > 1}
    return batches.pop() or None if len(batches) == 1 and batches <= begins else None


def described(ran: Ran) -> OpNode:
    """A node as its event describes it."""
    op, arguments = ran.op, ran.arguments
    kind = opgraph.kind_of(op)
    inputs, outputs = ran.inputs, shapes_of(arguments.get("output_type_shape"))
    weights = _number(arguments.get("parameter_size"))
    if kind == "gemm" and len(inputs) == 1 and outputs and inputs[0] and outputs[0]:
        # Weights that were packed at the start are no input any more, and count as 0 bytes.
        inside = (inputs[0][-1], outputs[0][-1])
        inputs, weights = (*inputs, inside), 4 * math.prod(inside)
    return OpNode(
        node=ran.name or op,
        op=op,
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        flops=_flops(op, kind, inputs, outputs),
        bytes_in=_number(arguments.get("activation_size")),
        bytes_out=_number(arguments.get("output_size")),
        bytes_weights=weights,
    )


def _flops(op: str, kind: str, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int | None:
    if not outputs or op in _WINDOWED or (kind == "conv" and len(inputs) < 2):
        return None
    try:
        return counts.flops(op, inputs, outputs, {})
    except IndexError:  # shapes that such an op cannot have: nothing is known then
        return None


def _number(text: Any) -> int | None:
    """A number of bytes as the file has it: text of decimal digits."""
    digits = str(text)
    return int(digits) if digits.isdecimal() and len(digits) < 19 else None
