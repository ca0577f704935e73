"""The ops of an ONNX graph in blocks of channels, with the copies between the layouts.

What ONNX Runtime does to images on processors (`onnxruntime/core/optimizer/nchwc_transformer.cc`),
as the tests see it run. Rules, for an op whose inputs are all in blocks or not:

* convolutions are in blocks, except those whose channels in are a block or more and no multiple of
  4; of a convolution in groups each group has whole blocks, or one channel and all are a multiple
  of 4;
* pools are where their channels are whole blocks; global ones, only what comes in blocks;
* batch normalisation of blocks is a convolution of each channel by itself;
* sums and products of equal images, relu, tanh, sigmoid and hard sigmoid stay in blocks, and images
  of whole blocks are put together there;
* a sum is part of a convolution before it that nothing else reads and that has no activation, and
  so is the activation after it;
* everything else is outside. A tensor is copied out, or in, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nnprof.profiler.costmodel import kernels, lowering, ran, work
from nnprof.profiler.costmodel.work import Work
from nnprof.profiler.ports import OpNode

_UNARY = frozenset({"Relu", "Tanh", "Sigmoid", "HardSigmoid"})
_ALIKE = frozenset({"Add", "Sum", "Mul"})
_ALIGNED = 4  # channels of a multiple of this can be copied into blocks


class Flow(NamedTuple):
    """An op of the graph, the tensors that flow into it (no constants), and the one that it makes.

    `active`: whether it has an activation in it.
    """

    node: OpNode
    inputs: tuple[str, ...]
    output: str
    active: bool


class _Made(NamedTuple):
    """A tensor: in blocks or not, and the place of the convolution that still takes something."""

    blocked: bool = False
    open: int | None = None
    added: bool = False


class _Walk:
    """The ops so far, and how each tensor lies in memory."""

    def __init__(self, block: int, readers: Mapping[str, int]) -> None:
        self.block = block
        self.readers = readers
        self.works: list[Work] = []
        self.made: dict[str, _Made] = {}
        self.copied: set[tuple[str, bool]] = set()

    def step(self, flow: Flow) -> None:
        """One op: into the convolution before it, or as its own."""
        node = flow.node
        came = [self.made.get(name, _Made()) for name in flow.inputs]
        if node.op in ("Add", "Sum") and len(came) == 2 and self._adds(flow, came):
            return
        if node.op in _UNARY and came and self._takes(flow.inputs[0], came[0]):
            self.made[flow.output] = came[0]._replace(open=None)
            return
        one = ran.of_node(node)
        inside, wanted = self._layout(node, one, [each.blocked for each in came])
        one = self._placed(node, one, inside=inside)
        for name, each, shape in zip(flow.inputs, came, node.inputs, strict=False):
            if each.blocked != wanted and len(shape) == 4 and (name, wanted) not in self.copied:
                self.copied.add((name, wanted))
                self.works.append(_copy(shape, self.block, out=not wanted))
        open_ = len(self.works) if node.kind == "conv" or one.group == "conv" else None
        self.works.append(one)
        self.made[flow.output] = _Made(inside, None if flow.active else open_)

    def _takes(self, name: str, made: _Made) -> bool:
        """Whether the convolution that made the tensor can take in what alone reads it."""
        return made.open is not None and self.readers.get(name, 0) == 1

    def _adds(self, flow: Flow, came: Sequence[_Made]) -> bool:
        """Put a sum of two into the convolution that made one of them, where it can be."""
        shapes = flow.node.inputs
        if came[0].blocked != came[1].blocked or shapes[0] != shapes[1]:
            return False
        for name, made in zip(flow.inputs, came, strict=True):
            if not self._takes(name, made) or made.added or made.open is None:
                continue
            one = self.works[made.open]
            self.works[made.open] = one._replace(bytes_in=one.bytes_in + one.bytes_out)
            self.made[flow.output] = made._replace(added=True)
            return True
        return False

    def _layout(self, node: OpNode, one: Work, came: Sequence[bool]) -> tuple[bool, bool]:
        """Whether the op's output is in blocks, and whether its inputs have to be."""
        all_in = bool(came) and all(came)
        if one.group == "conv" and one.c_in:
            return self._conv_layout(one)
        if "pool" in one.group and one.c_in:
            inside = one.c_in % self.block == 0 and (all_in or not node.op.startswith("Global"))
            return inside, inside
        alike = len(came) == len(node.inputs) and len(set(node.inputs)) == 1
        whole = all(shape[1:2] and shape[1] % self.block == 0 for shape in node.inputs)
        keeps = (
            node.op in _UNARY
            or (node.op in _ALIKE and alike)
            or (node.op == "Concat" and whole)
            or node.op == "BatchNormalization"
        )
        return all_in and keeps, all_in and keeps

    def _conv_layout(self, one: Work) -> tuple[bool, bool]:
        channels, groups = int(one.c_in), int(one.groups)
        if groups == 1:
            inside = not kernels.stays_plain(channels, self.block)
            return inside, inside and channels >= self.block
        each = channels // groups
        if each == 1:
            inside = one.c_out == groups and channels % _ALIGNED == 0
        else:
            inside = each % self.block == 0 and one.n % self.block == 0
        return inside, inside

    def _placed(self, node: OpNode, one: Work, *, inside: bool) -> Work:
        """The op in the layout that it runs in."""
        if one.group == "conv" and one.groups > 1:
            return self._padded_alone(one) if inside and one.c_in == one.groups else one
        if one.group == "conv":
            return lowering.in_blocks(one, self.block) if inside else kernels.plainly(one)
        if "pool" in one.group:
            return one if inside else kernels.plainly(one)
        if not inside:
            return one
        shape = lowering.blocks_of(node.outputs[0][1:], self.block)
        if node.op == "BatchNormalization":
            return work.at_batch(lowering.normalised(shape), node.outputs[0][0])
        more = shape[0] / node.outputs[0][1]
        return one._replace(
            bytes_in=one.bytes_in * more,
            bytes_out=one.bytes_out * more,
            elements_out=one.elements_out * more,
        )

    def _padded_alone(self, one: Work) -> Work:
        """A convolution of each channel by itself, with whole blocks of channels."""
        full = kernels.padded(int(one.c_in), self.block)
        more = full / one.c_in
        return one._replace(
            c_in=full, c_out=full, products=full, groups=full, flops=one.flops * more,
            bytes_in=one.bytes_in * more, bytes_out=one.bytes_out * more,
            bytes_weights=one.bytes_weights * more, elements_out=one.elements_out * more,
        )  # fmt: skip


def of_flows(flows: Sequence[Flow], readers: Mapping[str, int], block: int) -> list[Work]:
    """The ops in blocks of so many channels; `readers`: how many ops read a tensor."""
    walk = _Walk(block, readers)
    for flow in flows:
        walk.step(flow)
    if flows and walk.made[flows[-1].output].blocked:
        walk.works.append(_copy(flows[-1].node.outputs[0], block, out=True))
    return walk.works


def _copy(shape: Sequence[int], block: int, *, out: bool) -> Work:
    """A copy of an image into blocks, or out of them."""
    tile = tuple(shape[1:])
    blocks = lowering.blocks_of(tile, block)
    op, before, after = ("ReorderOutput", blocks, tile) if out else ("ReorderInput", tile, blocks)
    return work.at_batch(work.reorder(op, before, after), shape[0])
