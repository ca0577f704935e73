"""Layers of a TensorRT engine, of versions 8 to 11, and the ops that a profile of them is. Pure.

The file is of `trtexec --exportLayerInfo`, or the answer of TensorRT's engine inspector. It has
names alone, unless the engine was built with `--profilingVerbosity=detailed`. Since 8.6 `Metadata`
names the ONNX nodes that a layer was made of, each as `[ONNX Layer: NAME | LOCAL FUNCTION …]`.
Version 11 has `I/O Tensors` instead of `Bindings`, `Format` and `DataType` instead of
`Format/Datatype`, and lists `Constants`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from nnprof.profiler.graph import opgraph
from nnprof.profiler.importers.trtexec_json import json_of, no_file_of
from nnprof.profiler.ports import OpNode
from nnprof.types import Kind

Shape = tuple[int, ...]


class EngineLayer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of an engine.

    `op` of its node is what the layer's own type says; `named` puts the ONNX type in its place.
    `moves` is true for layers that only copy or reformat. `kernel` is the tactic's name.
    """

    node: OpNode
    kernel: str = ""
    moves: bool = False


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of an engine; `shape` is () where the file does not tell."""

    name: str
    shape: Shape
    dtype: str


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine consists of. `detailed` is false where the file holds names alone."""

    layers: tuple[EngineLayer, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    detailed: bool


class _Tensor(msgspec.Struct, rename="pascal"):
    name: str = ""
    dimensions: list[int] = []
    both: str = msgspec.field(name="Format/Datatype", default="")
    data_type: str = ""
    datatype: str = ""
    format: str = ""
    i_o_mode: str = msgspec.field(name="IOMode", default="")

    @property
    def dtype(self) -> str:
        """Numpy's word for the type, "" where the file has none that we know."""
        text = self.data_type or self.datatype or self.both or self.format
        return next((word for pattern, word in _DTYPES if re.search(pattern, text)), "")

    @property
    def shape(self) -> Shape:
        """() where a dimension is free (-1): the engine was asked without a batch."""
        return tuple(self.dimensions) if min(self.dimensions, default=-1) >= 0 else ()

    @property
    def bytes(self) -> int | None:
        """Size without what a vectorised format pads; None where shape or type are unknown."""
        if not self.shape or not self.dtype:
            return None
        return math.ceil(math.prod(self.shape) * _BITS[self.dtype] / 8)


class _Weights(msgspec.Struct, rename="pascal", frozen=True):
    type: str = ""
    count: int = 0


class _EngineLayer(msgspec.Struct, rename="pascal"):
    name: str
    layer_type: str = ""
    parameter_type: str = ""
    inputs: list[_Tensor] = []
    constants: list[_Tensor] | None = None
    outputs: list[_Tensor] = []
    kernel: list[int] = []
    conv_kernel: list[int] = []
    groups: int = 1
    conv_groups: int = 1
    weights: _Weights = _Weights()
    conv_weights: _Weights = _Weights()
    window_size: list[int] = []
    pooling_type: str = ""
    tactic_name: str = ""
    metadata: str = ""


class _Engine(msgspec.Struct):
    layers: list[Any] = msgspec.field(name="Layers")
    bindings: list[str] = msgspec.field(name="Bindings", default=[])
    tensors: list[_Tensor] = msgspec.field(name="I/O Tensors", default=[])


_DTYPES = (
    (r"(?i)fp8|e4m3|e8m0", "float8"),
    (r"(?i)bf16|bfloat16", "bfloat16"),
    (r"(?i)fp16|half", "float16"),
    (r"(?i)fp4|e2m1", "float4"),
    (r"(?i)int64", "int64"),
    (r"(?i)int32", "int32"),
    (r"(?i)uint8", "uint8"),
    (r"(?i)int8", "int8"),
    (r"(?i)int4", "int4"),
    (r"(?i)bool", "bool"),
    (r"(?i)fp32|float", "float32"),
)


_BITS = {
    **{"float32": 32, "int32": 32, "int64": 64, "float16": 16, "bfloat16": 16},
    **{"float8": 8, "int8": 8, "uint8": 8, "bool": 8, "float4": 4, "int4": 4},
}


# Type of the layer, as its parameters or its implementation name it → ONNX's word for such an op.
_OPS = (
    (r"(?i)noop|reformat|copynode|^copy", "Reformat"),
    (r"(?i)deconv", "ConvTranspose"),
    (r"(?i)conv", "Conv"),
    (r"(?i)fully ?connected|matrix ?multiply|^(dense_)?gemm|^fc$", "MatMul"),
    (r"(?i)pool", "Pool"),
    (r"(?i)soft ?max", "Softmax"),
    (r"(?i)shuffle|reshape", "Reshape"),
    (r"(?i)slice|padding", "Slice"),
    (r"(?i)concat", "Concat"),
    (r"(?i)gather", "Gather"),
    (r"(?i)^cast", "Cast"),
    (r"(?i)constant", "Constant"),
    (r"(?i)rnn|lstm|gru", "LSTM"),
    (r"(?i)quantize", "QuantizeLinear"),
    (r"(?i)point ?wise|element ?wise|activation|unary|scale", "Elementwise"),
)


_MOVES = {"Reformat", "Reshape", "Slice", "Concat", "Gather", "Cast", "Constant"}


_WEIGHTLESS = {"MaxPool", "AveragePool", "Pool", "Softmax", "Elementwise"}


_KINDS: dict[str, Kind] = {
    "Reformat": "memory",
    "Constant": "memory",
    "Elementwise": "elementwise",
    "Pool": "pool",
}


RANK = ("conv", "gemm", "recurrent", "pool", "softmax", "elementwise", "other", "memory")


_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]|]+?)\s*(?:\|[^\]]*)?\]")


_PROFILE_SUFFIX = re.compile(r"\[profile +\d+\]")


def read_engine(text: str | bytes, source: str) -> Engine:
    """A file of `--exportLayerInfo`, or what an engine inspector says; `source` is for errors.

    Of an engine with several optimisation profiles only the layers of the first are kept.

    Raises:
        BadFile: it is no such file.
    """
    try:
        raw = msgspec.convert(json_of(text, source), _Engine)
        detailed = bool(raw.layers) and all(isinstance(layer, dict) for layer in raw.layers)
        layers = [
            msgspec.convert(layer if detailed else {"Name": layer}, _EngineLayer)
            for layer in raw.layers
        ]
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise no_file_of("--exportLayerInfo", source, error) from error
    layers = [layer for layer in layers if not _PROFILE_SUFFIX.search(layer.name)]
    inputs, outputs = _ports(raw, layers)
    try:
        described = tuple(_describe(layer) for layer in layers)
    except (IndexError, ZeroDivisionError):
        reason = ValueError("a layer has sides that its type cannot have")
        raise no_file_of("--exportLayerInfo", source, reason) from None
    return Engine(layers=described, inputs=inputs, outputs=outputs, detailed=detailed)


def _ports(
    raw: _Engine, layers: Sequence[_EngineLayer]
) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs: as version 11 lists them, or the bindings that layers read and make."""
    read = {tensor.name: tensor for layer in layers for tensor in reversed(layer.inputs)}
    made = {tensor.name: tensor for layer in layers for tensor in layer.outputs}
    names = [name for name in raw.bindings if not _PROFILE_SUFFIX.search(name)]
    inputs = [read[name] for name in names if name in read and name not in made]
    outputs = [made[name] for name in names if name in made]
    for tensor in raw.tensors:
        is_input = tensor.i_o_mode.lower() == "input"
        # A layer was asked with the batch that ran; the list may have a free one.
        seen = (read if is_input else made).get(tensor.name)
        best = seen if seen is not None and seen.shape else tensor
        (inputs if is_input else outputs).append(best)
    both = [[_port(tensor) for tensor in tensors] for tensors in (inputs, outputs)]
    return tuple(both[0]), tuple(both[1])


def _port(tensor: _Tensor) -> Port:
    return Port(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype)


def _describe(layer: _EngineLayer) -> EngineLayer:
    op = _op(layer)
    kind = _KINDS.get(op) or opgraph.kind_of(op)
    inputs = [tensor.shape for tensor in layer.inputs]
    outputs = [tensor.shape for tensor in layer.outputs]
    known = bool(outputs) and all(inputs) and all(outputs)
    weights = _weights_shape(layer, op, inputs, outputs) if known else None
    shapes = [*inputs, *([weights] if weights else [])] if known else []
    node = OpNode(
        node=layer.name,
        op=op,
        kind=kind,
        origin=tuple(_ORIGIN.findall(layer.metadata)),
        key=_key(layer, op) if known else "",
        inputs=tuple(shapes),
        outputs=tuple(outputs) if known else (),
        flops=_flops(layer, op, weights, outputs) if known else None,
        bytes_in=_sum(tensor.bytes for tensor in layer.inputs) if known else None,
        bytes_out=_sum(tensor.bytes for tensor in layer.outputs) if known else None,
        bytes_weights=_weight_bytes(layer, op, weights) if known else None,
    )
    return EngineLayer(node=node, kernel=layer.tactic_name, moves=op in _MOVES)


def _op(layer: _EngineLayer) -> str:
    """ONNX's word for what the layer does, by its own account; its type where we have none."""
    for text in (layer.layer_type, layer.parameter_type):
        for pattern, op in _OPS:
            if text and re.search(pattern, text):
                return _pool(layer) if op == "Pool" else op
    return layer.layer_type or "unknown"


def _pool(layer: _EngineLayer) -> str:
    return {"MAX": "MaxPool", "AVERAGE": "AveragePool"}.get(layer.pooling_type, "Pool")


def _weights_shape(
    layer: _EngineLayer, op: str, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> Shape | None:
    """In ONNX's order: depth × channels/groups × kernel, or the two sides of a product."""
    kernel = layer.kernel or layer.conv_kernel
    if op in {"Conv", "ConvTranspose"} and kernel and inputs and len(inputs[0]) > 1:
        groups = max(layer.groups, layer.conv_groups)
        return (outputs[0][1], inputs[0][1] // groups, *kernel)
    rank = {"Conv": 4, "ConvTranspose": 4, "MatMul": 2}.get(op)
    for tensor in layer.constants or ():
        if len(tensor.shape) == rank:
            return tensor.shape
    # A product with one input has its other factor inside.
    if op == "MatMul" and len(inputs) == 1 and inputs[0] and outputs[0]:
        return inputs[0][-1], outputs[0][-1]
    return None


def _flops(
    layer: _EngineLayer, op: str, weights: Shape | None, outputs: Sequence[Shape]
) -> int | None:
    """Of one inference, a multiply-add as two; None where the layer does not say what it did."""
    made = math.prod(outputs[0])
    if op in _MOVES:
        return 0
    # A convolution fused with its pooling says nothing of the size in between.
    if op == "Conv" and weights and "pool" not in layer.layer_type.lower():
        return 2 * made * math.prod(weights[1:])
    if op == "MatMul" and layer.inputs:
        return 2 * made * layer.inputs[0].shape[-1]
    if op in {"MaxPool", "AveragePool"} and layer.window_size:
        return made * math.prod(layer.window_size)
    if op == "Softmax":
        return 5 * made
    return None


def _weight_bytes(layer: _EngineLayer, op: str, shape: Shape | None) -> int | None:
    """By the layer's own count; else by its constants; else by shape, at the type of its input."""
    stored = layer.weights if layer.weights.count else layer.conv_weights
    if stored.count:
        return _Tensor(dimensions=[stored.count], datatype=stored.type).bytes
    if layer.constants is not None:
        return _sum(tensor.bytes for tensor in layer.constants)
    if shape is not None:
        return _Tensor(dimensions=list(shape), datatype=layer.inputs[0].dtype).bytes
    return 0 if op in _MOVES | _WEIGHTLESS else None


def _sum(sizes: Any) -> int | None:
    """The sum; None if a size is None."""
    every = list(sizes)
    return None if None in every else sum(every)


def _key(layer: _EngineLayer, op: str) -> str:
    """The same for layers that do the same work: type, parameters, shapes and types of tensors."""
    tensors = [
        (tensor.shape, tensor.dtype)
        for tensor in (*layer.inputs, *(layer.constants or ()), *layer.outputs)
    ]
    own = (layer.layer_type, layer.kernel or layer.conv_kernel, layer.groups, layer.conv_groups)
    parts = (op, *own, layer.window_size, layer.pooling_type, tensors)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
