"""A lower bound of the memory that an ONNX file takes at a batch, from its shapes alone.

Nothing is run, and no weight's value is read. `lifetimes` says what the bound takes for granted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nnprof.profiler.graph import cut, opgraph


class Least(NamedTuple):
    """What a network needs at least.

    Attributes:
        weights_bytes: of all weights that a node reads, each once.
        live_bytes: the most bytes of other tensors that are needed at one moment.
        node: the node at which that is; empty in a network without nodes.
        unsized: tensors whose size ONNX does not infer; they count as nothing.
    """

    weights_bytes: int
    live_bytes: int
    node: str
    unsized: int

    @property
    def bytes(self) -> int:
        """Of both."""
        return self.weights_bytes + self.live_bytes


def of_file(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Least:
    """Of an ONNX file for inputs of these shapes.

    Raises:
        onnx's and protobuf's own errors: it is no such file.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    tensors = opgraph.inferred(model, shapes)
    graph = model.graph
    lives = opgraph.live_bytes(graph, {name: one.nbytes for name, one in tensors.items()})
    read = {name for node in graph.node for name in cut.reads(node)}
    stored = {one.name: _stored_bytes(one) for one in graph.initializer}
    sparse = sum(_stored_bytes(one.values) for one in graph.sparse_initializer)
    made = {name for node in graph.node for name in node.output if name}
    most = max(lives, default=0)
    peak = graph.node[lives.index(most)] if lives else None
    return Least(
        weights_bytes=sparse + sum(size for name, size in stored.items() if name in read),
        live_bytes=most,
        node=peak.name or peak.output[0] if peak else "",
        unsized=len(made - set(tensors)),
    )


def _stored_bytes(tensor: Any) -> int:
    """Of a tensor of a file; 4-bit numbers lie two in a byte, text counts as nothing."""
    import onnx

    count = int(math.prod(tensor.dims))
    if tensor.data_type == onnx.TensorProto.STRING:
        return 0
    if onnx.TensorProto.DataType.Name(tensor.data_type) in ("INT4", "UINT4", "FLOAT4E2M1"):
        return math.ceil(count / 2)
    size: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return count * size
