"""The layers that ncnn ran, and the ONNX nodes that each came from.

pnnx names everything anew: layers `conv_0`, blobs `1`. So both graphs are walked together, from the
inputs on: a blob holds a tensor, and a layer that reads the blob is the nearest node behind that
tensor that does such work and makes as many values. Nodes passed on the way ran in no layer of
their own: those that compute were taken into the layer before (a ReLU into its convolution), those
that move values were taken out. A layer without such a node was put in (a `Split` where a blob has
two readers, a `Reshape`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nnprof.profiler.graph import fused
from nnprof.profiler.ports import OpNode
from nnprof.types import Kind

Shape = tuple[int, ...]

# Layer (docs/developer-guide/operators.md of ncnn) → the ONNX ops that it may be; of others the
# names are the same but for capitals.
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean")
_SUMS = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Sum")
_SAME: dict[str, tuple[str, ...]] = {
    "Convolution": ("Conv",),
    "ConvolutionDepthWise": ("Conv",),
    "Deconvolution": ("ConvTranspose",),
    "DeconvolutionDepthWise": ("ConvTranspose",),
    "InnerProduct": ("Gemm", "MatMul"),
    "Gemm": ("Gemm", "MatMul"),
    "Pooling": _POOLS,
    "Reduction": ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2"),
    "BinaryOp": _SUMS,
    "Eltwise": _SUMS,
    "UnaryOp": ("Abs", "Neg", "Floor", "Ceil", "Sqrt", "Exp", "Log", "Sin", "Cos", "Tanh", "Round",
                "Reciprocal", "Trunc", "Sign"),
    "ReLU": ("Relu", "LeakyRelu"),
    "Clip": ("Clip", "Relu6"),
    "BatchNorm": ("BatchNormalization",),
    "LayerNorm": ("LayerNormalization",),
    "LRN": ("LRN",),
    "Interp": ("Resize", "Upsample"),
    "Embed": ("Gather",),
}  # fmt: skip
_MOVES = (
    *("Split", "Reshape", "Flatten", "Permute", "Squeeze", "ExpandDims", "Concat", "Slice", "Crop"),
    *("Padding", "Noop", "Cast", "Packing", "Tile", "CopyTo", "MemoryData"),
)
_INSIDE: tuple[Kind, ...] = ("elementwise", "memory")


class Blob(NamedTuple):
    """What flows between layers.

    Attributes:
        shape: with the batch before it.
        pack: values of so many channels lie side by side.
        bits: of a value.
    """

    shape: Shape
    pack: int = 1
    bits: int = 32

    @property
    def bytes(self) -> int:
        """Without padding."""
        return math.prod(self.shape) * self.bits // 8


class Ran(NamedTuple):
    """A layer of ncnn.

    Attributes:
        name, op: ncnn's name and type of it.
        reads, makes: its blobs, by number.
        inputs, outputs: what those are.
    """

    name: str
    op: str
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    inputs: tuple[Blob, ...] = ()
    outputs: tuple[Blob, ...] = ()


# The ONNX tensors of the blobs that a network begins and ends with, by the number of the blob.
Ends = tuple[Mapping[int, str], Mapping[int, str]]


def nodes(
    ran: Sequence[Ran],
    ends: Ends,
    asked: Sequence[OpNode],
    path: Path,
) -> tuple[OpNode, ...]:
    """Each layer that ran, with its ONNX nodes.

    Args:
        ran: in order of execution.
        ends: the ONNX tensors of the blobs that the network begins and ends with.
        asked: the nodes of the ONNX file, in its order.
        path: of that file.
    """
    import onnx

    walk = _Walk(onnx.load(path, load_external_data=False).graph.node, asked, ends[0])
    for index, one in enumerate(ran):
        walk.layer(index, one)
    for blob, tensor in ends[1].items():
        walk.end(blob, tensor)
    walk.rest([one.op not in _MOVES for one in ran])
    found: dict[int, list[OpNode]] = defaultdict(list)
    for at, owner in sorted(walk.owners.items()):
        found[owner].append(asked[at])
    return tuple(_describe(one, found[index]) for index, one in enumerate(ran))


class _Walk:
    """Both graphs at once. `owners`: position of an ONNX node → that of its layer."""

    def __init__(
        self, protos: Sequence[Any], asked: Sequence[OpNode], begins: Mapping[int, str]
    ) -> None:
        self.owners: dict[int, int] = {}
        self._protos, self._asked = protos, asked
        self._readers: dict[str, list[int]] = defaultdict(list)
        for at, proto in enumerate(protos):
            for tensor in dict.fromkeys(proto.input):
                self._readers[tensor].append(at)
        self._holds = dict(begins)  # blob → ONNX tensor
        self._maker: dict[int, int | None] = {}  # blob → the layer that computed what it holds

    def layer(self, index: int, one: Ran) -> None:
        """Find the node of a layer whose blobs before it are known."""
        begun = [blob for blob in one.reads if blob in self._holds]
        looked = begun if one.op != "Split" else []
        nearest = (self._search(blob, lambda at: self._suits(at, one)) for blob in looked)
        found = next((at for at in nearest if at is not None), None)
        for blob in looked if found is not None else ():
            self._search(blob, lambda at: at == found)  # what is passed on the way from each
        if found is not None:
            self.owners[found] = index
            self._holds.update(zip(one.makes, self._protos[found].output, strict=False))
        elif begun:
            self._holds.update(dict.fromkeys(one.makes, self._holds[begun[0]]))
        before = self._maker.get(begun[0]) if begun else None
        maker = index if one.op not in _MOVES else before
        self._maker.update(dict.fromkeys(one.makes, maker))

    def rest(self, computes: Sequence[bool]) -> None:
        """What is left and only read by one layer that computes was taken into that layer."""
        for at in reversed(range(len(self._protos))):
            if at not in self.owners and self._asked[at].kind != "memory":
                readers = {self.owners.get(reader) for tensor in self._protos[at].output
                           for reader in self._readers[tensor]}  # fmt: skip
                owner = readers.pop() if len(readers) == 1 else None
                if owner is not None and computes[owner]:
                    self.owners[at] = owner

    def end(self, blob: int, tensor: str) -> None:
        """What lies between the last layer and an output of the network."""
        if blob in self._holds:
            self._search(blob, lambda _: False, tensor)

    def _search(self, blob: int, suits: Callable[[int], bool], end: str = "") -> int | None:
        """The nearest node behind a blob that suits; what is passed on the way is its maker's.

        None where there is none before work that is another layer's. With `end` what makes that
        tensor is the last to be passed.
        """
        begin, maker = self._holds[blob], self._maker.get(blob)
        front: list[tuple[str, tuple[int, ...]]] = [(begin, ())]
        seen = {begin}
        while front:
            tensor, passed = front.pop(0)
            if tensor == end:
                self._take(passed, maker)
                return None
            for at in self._readers[tensor]:
                if self.owners.get(at, maker) != maker:
                    continue
                if at not in self.owners and suits(at):
                    self._take(passed, maker)
                    return at
                made = self._protos[at].output[0]
                if self._asked[at].kind in _INSIDE and made not in seen:
                    seen.add(made)
                    front.append((made, (*passed, at)))
        return None

    def _take(self, passed: Iterable[int], maker: int | None) -> None:
        for at in passed:
            if maker is not None and self._asked[at].kind == "elementwise":
                self.owners.setdefault(at, maker)

    def _suits(self, at: int, one: Ran) -> bool:
        """Whether a node does a layer's work; layers that move values go by the number of them."""
        node, wanted = self._asked[at], one.op.removesuffix("1D").removesuffix("3D")
        alike = node.op in _SAME.get(wanted, ()) or node.op.lower() == wanted.lower()
        if one.op in _MOVES and node.kind == "memory":
            alike = True
        counts = [math.prod(shape) for shape in node.outputs]
        return alike and (
            not counts or not one.outputs or counts[0] == math.prod(one.outputs[0].shape)
        )


def _describe(one: Ran, origins: Sequence[OpNode]) -> OpNode:
    return OpNode(
        node=one.name,
        op=one.op,
        kind=fused.kind(one.op, origins, _MOVES),
        origin=tuple(node.node for node in origins),
        key=fused.key_of(one.op, (one.inputs, one.outputs), origins),
        inputs=tuple(blob.shape for blob in one.inputs),
        outputs=tuple(blob.shape for blob in one.outputs),
        flops=fused.total(node.flops for node in origins),
        bytes_in=sum(blob.bytes for blob in one.inputs),
        bytes_out=sum(blob.bytes for blob in one.outputs),
        bytes_weights=fused.total(node.bytes_weights for node in origins),
    )


def kernel(one: Ran) -> str:
    """How the values that a layer makes are kept, such as "pack 16, 32 bits"."""
    return f"pack {one.outputs[0].pack}, {one.outputs[0].bits} bits" if one.outputs else ""
