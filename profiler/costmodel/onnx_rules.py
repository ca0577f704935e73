"""An ONNX graph as ops, by rules, where the runtime that would fuse it is not at hand.

The rules, in the order in which they are tried on each node:

1. Identity, Dropout, Cast and Constant are nothing.
2. BatchNormalization after a convolution or product that nothing else reads goes into its weights.
3. An addition of a constant after a MatMul is its bias.
4. Relu, LeakyRelu, Clip, Tanh, Sigmoid and HardSigmoid after a convolution or product that nothing
   else reads, and that has no activation yet, are part of it.
5. Everything else is an op of its own, by its own name.

With the lowerings "blocked8" and "blocked16" images live in blocks of so many channels
(`onnx_blocks`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnprof.errors import UsageError
from nnprof.profiler import inputs
from nnprof.profiler.costmodel import kernels, onnx_blocks, ran, work
from nnprof.profiler.costmodel.kernels import BLOCKS
from nnprof.profiler.costmodel.onnx_blocks import Flow
from nnprof.profiler.costmodel.work import Work
from nnprof.profiler.graph import opgraph
from nnprof.profiler.ports import OpNode
from nnprof.types import Workload

_NOTHING = frozenset({"Identity", "Dropout", "Cast", "Constant"})
_ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "Clip", "Tanh", "Sigmoid", "HardSigmoid"})


class _Fused:
    """The graph so far: its ops, and which of them made each tensor."""

    def __init__(self) -> None:
        self.nodes: list[OpNode] = []
        self.inputs: list[list[str]] = []
        self.outputs: list[str] = []
        self.renamed: dict[str, str] = {}
        self.maker: dict[str, int] = {}
        self.active: set[int] = set()

    def name(self, tensor: str) -> str:
        """The tensor as the ops that stay know it."""
        while tensor in self.renamed:
            tensor = self.renamed[tensor]
        return tensor

    def add(self, node: OpNode, inputs_: list[str], output: str) -> None:
        """An op that stays."""
        self.maker[output] = len(self.nodes)
        self.nodes.append(node)
        self.inputs.append(inputs_)
        self.outputs.append(output)

    def flows(self, weights: set[str]) -> list[Flow]:
        """The ops with the tensors between them."""
        return [
            Flow(node, tuple(name for name in names if name and name not in weights), output,
                 at in self.active)
            for at, (node, names, output) in enumerate(
                zip(self.nodes, self.inputs, self.outputs, strict=True)
            )
        ]  # fmt: skip


def of_workload(
    workload: Workload, lowering: str, value_bytes: float = work.VALUE_BYTES
) -> tuple[Work, ...]:
    """The ops of the workload's file at its batch, in values of that size.

    Raises:
        UsageError: an op's shapes cannot be known without running it.
    """
    import onnx

    path = Path(workload.model.path)
    graph = onnx.load(path, load_external_data=False)
    described = opgraph.asked(path, inputs.make(workload))
    weights = {tensor.name for tensor in graph.graph.initializer}
    fused = _fuse(graph.graph.node, described, weights)
    if lowering in BLOCKS:
        flows = fused.flows(weights)
        readers = Counter(name for flow in flows for name in flow.inputs)
        readers.update(fused.name(output.name) for output in graph.graph.output)
        works = onnx_blocks.of_flows(flows, readers, BLOCKS[lowering])
    else:
        works = [kernels.picked(ran.of_node(node), lowering) for node in fused.nodes]
    return tuple(work.placed([work.in_values(one, value_bytes) for one in works]))


def _fuse(nodes: Sequence[Any], described: Sequence[OpNode], weights: set[str]) -> _Fused:
    readers = Counter(name for node in nodes for name in node.input)
    fused = _Fused()
    for node, about in zip(nodes, described, strict=True):
        if node.op_type in _NOTHING:
            if node.input:
                fused.renamed[node.output[0]] = node.input[0]
            continue
        first = fused.name(node.input[0]) if node.input else ""
        before = fused.maker.get(first)
        if before is not None and readers[node.input[0]] == 1:
            kind, free = fused.nodes[before].kind, before not in fused.active
            weighted = kind in ("conv", "gemm")
            bias = node.op_type == "Add" and fused.nodes[before].op == "MatMul"
            bias = bias and node.input[1] in weights
            batch_norm = node.op_type == "BatchNormalization"
            activation = node.op_type in _ACTIVATIONS
            if weighted and free and (bias or batch_norm or activation):
                fused.renamed[node.output[0]] = first
                if activation:
                    fused.active.add(before)
                continue
        if not about.outputs:
            raise UsageError(
                f"The shapes of {node.op_type} '{node.name}' are not in the file.",
                "Install the runtime that the model was measured with, and ask again.",
            )
        fused.add(about, [fused.name(name) for name in node.input], node.output[0])
    return fused
