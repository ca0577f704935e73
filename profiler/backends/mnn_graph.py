"""The ops that MNN ran, and the ONNX nodes that each came from.

MNN calls an op by the ONNX tensor that its first node makes, with words of its own behind:
`linear__matmul_converted`, `linear__matmul_converted_raster_0`. Nodes that are named by no op were
taken into the op before (a ReLU into its convolution), or moved values and became a Raster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nnprof.profiler.graph import fused
from nnprof.profiler.ports import OpNode
from nnprof.types import Kind

_MEMORY = ("Raster", "ConvertTensor", "Cast", "Reshape", "Concat", "Identity", "Permute", "Slice")
_INSIDE: tuple[Kind, ...] = ("elementwise", "memory")
_FLOAT = 4  # bytes of what flows, in fp32; MNN does not tell of other types in Python

Shape = tuple[int, ...]


class Ran(NamedTuple):
    """What a callback tells of an op. `work` is MNN's own count, which has no one unit."""

    name: str
    op: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    work: float


def nodes(ran: Sequence[Ran], asked: Sequence[OpNode], path: Path) -> tuple[OpNode, ...]:
    """Each op that ran, with its ONNX nodes.

    Args:
        ran: in order of execution.
        asked: the nodes of the ONNX file, in its order.
        path: of that file.
    """
    import onnx

    protos = onnx.load(path, load_external_data=False).graph.node
    owners = _owners(ran, protos, asked)
    found: dict[int, list[OpNode]] = {index: [] for index in range(len(ran))}
    for at, owner in sorted(owners.items()):
        found[owner].append(asked[at])
    return tuple(_describe(one, found[index]) for index, one in enumerate(ran))


def _owners(ran: Sequence[Ran], protos: Sequence[Any], asked: Sequence[OpNode]) -> dict[int, int]:
    """Position of an ONNX node → that of the op it ran in; nodes of no op are left out."""
    makers = {tensor: at for at, proto in enumerate(protos) for tensor in proto.output if tensor}
    named = [makers.get(_tensor(one.name, makers) or "") for one in ran]
    owners: dict[int, int] = {}
    # The op that computes owns the node: of several the one with most work, a Raster last.
    by_work = sorted(range(len(ran)), key=lambda at: (ran[at].op in _MEMORY, -ran[at].work))
    for index in by_work:
        at = named[index]
        if at is not None and ran[index].op not in _MEMORY:
            owners.setdefault(at, index)
    for index, at in enumerate(named):
        if at is not None and ran[index].op in _MEMORY:
            _own_moves(index, at, protos, asked, makers, owners)
    for at, (proto, node) in enumerate(zip(protos, asked, strict=True)):
        source = next((makers[name] for name in proto.input if name in makers), None)
        if at not in owners and source in owners and node.kind in _INSIDE:
            owners[at] = owners[source]
    return owners


def _own_moves(
    index: int,
    at: int,
    protos: Sequence[Any],
    asked: Sequence[OpNode],
    makers: Mapping[str, int],
    owners: dict[int, int],
) -> None:
    """A Raster owns the node it is named by if that moves values, else those that do before it."""
    front = (
        [at] if at not in owners else [makers[name] for name in protos[at].input if name in makers]
    )
    while front:
        one = front.pop()
        if one not in owners and asked[one].kind == "memory":
            owners[one] = index
            front += [makers[name] for name in protos[one].input if name in makers]


def _tensor(name: str, makers: Mapping[str, int]) -> str | None:
    """The longest ONNX tensor that an op's name begins with, at a border of words."""
    for end in range(len(name), 0, -1):
        if name[:end] in makers and (end == len(name) or name[end] in "_/:."):
            return name[:end]
    return None


def _describe(one: Ran, origins: Sequence[OpNode]) -> OpNode:
    return OpNode(
        node=one.name,
        op=one.op,
        kind=fused.kind(one.op, origins, _MEMORY),
        origin=tuple(node.node for node in origins),
        key=fused.key_of(one.op, (one.inputs, one.outputs), origins),
        inputs=one.inputs,
        outputs=one.outputs,
        flops=fused.total(node.flops for node in origins),
        bytes_in=_FLOAT * sum(map(math.prod, one.inputs)),
        bytes_out=_FLOAT * sum(map(math.prod, one.outputs)),
        bytes_weights=fused.total(node.bytes_weights for node in origins),
    )
