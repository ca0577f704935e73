"""What a runtime says that it ran → ops as numbers.

A runtime that keeps images in blocks of channels is known by its copies into and out of blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from nnprof.errors import UsageError
from nnprof.profiler.costmodel import kernels
from nnprof.profiler.costmodel.kernels import BLOCKS, padded, plainly
from nnprof.profiler.costmodel.work import Shape, Work, group_of, placed
from nnprof.profiler.graph import counts, opgraph
from nnprof.profiler.ports import OpNode
from nnprof.types import OpTime

# What a runtime says of an op, timed or not.
Ran: TypeAlias = OpNode | OpTime


_COPIES = ("ReorderInput", "ReorderOutput")  # into blocks, and out of them


_MOST_STRIDE = 1024  # a shape from a file may have any side


def of_nodes(nodes: Sequence[Ran], lowering: str = "") -> tuple[Work, ...]:
    """The ops of a graph that a runtime described, in order, without calls that are no ops.

    `lowering` where the runtime's kernels have rules (`kernels`).
    """
    nodes = [node for node in nodes if node.outputs]
    works = [
        of_node(node, inside=inside) for node, inside in zip(nodes, _insides(nodes), strict=True)
    ]
    return tuple(placed([kernels.picked(one, lowering) for one in works]))


def widths(nodes: Sequence[Ran]) -> frozenset[int] | None:
    """Channels of a block that these ops of one graph can have run with; None: in no blocks.

    Read from what is certainly in blocks: one side of each copy, and what comes out of the
    convolutions. A graph of which all channels are multiples of 16 says nothing of 8 or 16, and is
    the same ops with both. None of both where the copies are neither's.
    """
    copies = [node for node in nodes if node.op in _COPIES and node.inputs and node.outputs]
    if not copies:
        return None
    return frozenset(
        block
        for block in BLOCKS.values()
        if all(_copies_to(node, block) for node in copies)
        and not any(_too_narrow(node, block) for node in nodes)
    )


def _copies_to(node: Ran, block: int) -> bool:
    """Whether the copy is one between an image and its blocks of that width."""
    sides = node.inputs[0], node.outputs[0]
    plain, blocks = sides if node.op == "ReorderInput" else sides[::-1]
    return len(blocks) != 4 or plain[1:2] == () or blocks[1] == padded(plain[1], block)


def _too_narrow(node: Ran, block: int) -> bool:
    """Whether a convolution is in blocks, and what it makes is in none of that width."""
    if group_of(node.op) != "conv" or not opgraph.in_blocks(node.node):
        return False
    return len(node.outputs[0]) == 4 and node.outputs[0][1] % block > 0


def _insides(nodes: Sequence[Ran]) -> list[bool | None]:
    """Of each op whether it ran in blocks, None in a graph that knows none.

    By its name where the runtime's names tell, else by its shapes.
    """
    found = widths(nodes)
    if found is None:
        return [None] * len(nodes)
    if any(opgraph.in_blocks(node.node) for node in nodes):
        return [opgraph.in_blocks(node.node) for node in nodes]
    block = max(found or BLOCKS.values())
    return [_fits(node, block) for node in nodes]


def _fits(node: Ran, block: int) -> bool:
    """Whether the op's channels can be in blocks of that width."""
    taken, made = (node.inputs or ((),))[0][1:2], node.outputs[0][1:2]
    whole = made != () and made[0] % block == 0
    if group_of(node.op) != "conv" or not taken:
        return whole
    return whole and (taken[0] % block == 0 or taken[0] < block)


def of_node(node: Ran, *, inside: bool | None = None) -> Work:
    """One op from its shapes; 4 bytes a value where the node does not count its bytes.

    `inside`: whether it ran in blocks of channels; None in a graph that knows none.
    """
    first = node.inputs[0] if node.inputs else ()
    out, made = node.outputs[0], sum(math.prod(shape) for shape in node.outputs)
    size = node.bytes_out / made if node.bytes_out and made else 4.0
    work = Work(
        group=group_of(node.op), op=node.op, label=node.node, batch=float(out[0] if out else 1),
        bytes_in=float(_bytes_read(node, size)), bytes_out=made * size, elements_out=float(made),
    )  # fmt: skip
    factor = counts.factor(node.inputs)
    if factor and work.group in ("conv", "gemm"):
        weights = size * math.prod(factor)
        # What a convolution adds to its sums comes after the weights, as an image like its output.
        added = sum(math.prod(shape) for shape in node.inputs[2:] if shape == out and len(out) == 4)
        work = work._replace(bytes_in=size * (math.prod(first) + added), bytes_weights=weights)
    if opgraph.kind_of(node.op) == "recurrent":
        return _recurrent_node(work, node, size)
    image = len(out) == 4 and len(first) == 4
    if image and _channels_last(node, factor):
        first, out = ((shape[0], shape[3], *shape[1:3]) for shape in (first, out))
    if work.group == "conv" and image and factor:
        return _conv_node(work, first, factor, out, inside=inside)
    if work.group == "gemm":
        rows, n = math.prod(out[:-1]), out[-1]
        k = math.prod(first) / max(1, rows)
        return work._replace(
            batch=float(rows), m=float(rows), n=float(n), k=k, flops=2 * rows * n * k
        )
    if image and node.op.startswith("Reorder"):
        return work._replace(c_out=float(out[1]), h_out=float(out[2]), w_out=float(out[3]))
    if image and "pool" in work.group:
        return _pool_node(plainly(work) if inside is False else work, node, first, out)
    return work


def _pool_node(work: Work, node: Ran, first: Shape, out: Shape) -> Work:
    stride = max(1, round(first[2] / out[2]))
    taps = node.flops / math.prod(out) if node.flops else float(stride**2)
    return _sized(work, first, out)._replace(
        window=taps, stride=float(stride), flops=taps * math.prod(out)
    )


def _recurrent_node(work: Work, node: Ran, size: float) -> Work:
    """Of steps × tiles × features: the steps run one after the other; as it is where FLOPs lack."""
    if node.flops is None or len(node.inputs) < 3:
        return work
    (steps, tiles, features), *weights = node.inputs[:3]
    return work._replace(
        batch=float(tiles), m=float(tiles), k=float(steps), flops=float(node.flops),
        bytes_in=size * steps * tiles * features,
        bytes_weights=size * sum(math.prod(shape) for shape in weights),
    )  # fmt: skip


def _channels_last(node: Ran, weights: Shape | None) -> bool:
    """Whether an op on images has their channels last, as quantised ones of ONNX Runtime do.

    A convolution makes as many channels as it has rows of weights.
    """
    if group_of(node.op) != "conv" or weights is None:
        return node.op.startswith("Nhwc")
    made = node.outputs[0]
    return made[3] == weights[0] != made[1]


def _bytes_read(node: Ran, size: float) -> float:
    """Of what flows in; constants are not counted where the node tells them apart."""
    if node.bytes_in is not None:
        return node.bytes_in
    sizes = [math.prod(shape) for shape in node.inputs] or [0]
    # Scalars, statistics and shapes are small beside what flows.
    return size * sum(one for one in sizes if one > max(sizes) / 16)


def _sized(work: Work, first: Shape, out: Shape) -> Work:
    return work._replace(
        c_in=float(first[1]), h_in=float(first[2]), w_in=float(first[3]),
        c_out=float(out[1]), h_out=float(out[2]), w_out=float(out[3]),
    )  # fmt: skip


def _conv_node(
    work: Work, first: Shape, weights: Shape, out: Shape, *, inside: bool | None
) -> Work:
    groups = max(1, first[1] // max(1, weights[1]))
    inner = math.prod(weights[1:])
    if inside is not None and groups == 1:
        work = work._replace(group="conv-blocked") if inside else plainly(work)
    return _sized(work, first, out)._replace(
        m=float(out[0] * out[2] * out[3]), n=out[1] / groups, k=float(inner),
        products=float(groups), groups=float(groups), window=float(math.prod(weights[2:])),
        stride=float(stride_of(first[2], weights[2], out[2])), flops=2.0 * math.prod(out) * inner,
    )  # fmt: skip


def stride_of(side: int, kernel: int, made: int) -> int:
    """The smallest stride that makes so many values of a side, unpadded or padded to ceil.

    A graph that ran has shapes only, so the rules count with this one, too.
    """
    steps = range(1, min(side, _MOST_STRIDE) + 1)
    unpadded = (step for step in steps if (side - kernel) // step + 1 == made)
    padded = (step for step in steps if -(-side // step) == made)
    return next(unpadded, None) or next(padded, None) or max(1, round(side / made))


def lowering_of(graphs: Sequence[Sequence[Ran]], device: Mapping[str, Any]) -> str:
    """The rules that the ops of these networks speak for; "" where none is in blocks of channels.

    Where all their channels are multiples of every width, the processor tells which it has.

    Raises:
        UsageError: the networks ran in blocks of different widths, or of one that is not known.
    """
    found = [one for ops in graphs if (one := widths(ops)) is not None]
    if not found:
        return ""
    common = frozenset.intersection(*found)
    if not common:
        known = " and ".join(map(str, kernels.BLOCKS.values()))
        raise UsageError(
            "The Runs have images in blocks of different widths, or of one that nnprof does not "
            f"know (it knows {known} channels): they are of different processors.",
            "A model is of one kind of processor: fit one for each.",
        )
    own = kernels.block_of(device.get("extensions") or ())
    width = own if own in common else max(common)
    return next(name for name, block in kernels.BLOCKS.items() if block == width)
