"""FLOPs of an op, from its type, its attributes and the shapes that it ran with.

One multiply-add counts as two FLOPs, of whole numbers, too. The shapes are those after layout
changes: a convolution of 20 channels that the runtime pads to 32 is counted with 32.

An op that `COUNTERS` lacks may be counted by another package: a line `OpType = module:function` in
its entry-point group `nnprof.counters` names a `Counter`. An op of `COUNTERS` keeps its formula, so
that the FLOPs of different Runs mean the same.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nnprof import registry

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]
# inputs (activations and weights in the node's order), outputs, attributes → FLOPs
Counter = Callable[[Sequence[Shape], Sequence[Shape], Attributes], int | None]

# Ops that give a tensor another shape, and move nothing.
VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})


def factor(inputs: Sequence[Shape]) -> Shape | None:
    """Shape of the weights, or of the second factor, of a convolution or product; None without.

    Quantised ops have scales and zero points before it, which have at most one side.
    """
    return next((shape for shape in inputs[1:] if len(shape) > 1), None)


def _conv(inputs: Sequence[Shape], outputs: Sequence[Shape], _: Attributes) -> int | None:
    # weights: depth × (channels / groups) × kernel…, wherever the image has its channels
    weights = factor(inputs)
    return None if weights is None else 2 * math.prod(outputs[0]) * math.prod(weights[1:])


def _conv_transpose(inputs: Sequence[Shape], _: Sequence[Shape], __: Attributes) -> int | None:
    # weights: channels × (depth / groups) × kernel…; each input value is spread over the last two
    weights = factor(inputs)
    return None if weights is None else 2 * math.prod(inputs[0]) * math.prod(weights[1:])


def _gemm(inputs: Sequence[Shape], outputs: Sequence[Shape], attributes: Attributes) -> int:
    inner = inputs[0][0] if attributes.get("transA") else inputs[0][-1]
    return 2 * math.prod(outputs[0]) * inner


def _pool(inputs: Sequence[Shape], outputs: Sequence[Shape], attributes: Attributes) -> int:
    if "kernel_shape" not in attributes:  # a global one looks at all that goes in
        return math.prod(inputs[0])
    return math.prod(outputs[0]) * math.prod(attributes["kernel_shape"])


# FLOPs of each unit and step beside the products: what joins the gates to the state (the equations
# of the operators in onnx/docs/Operators.md), and which of the activations it has how often.
_JOINED = {"LSTM": (4, (3, 1, 1)), "GRU": (5, (2, 1)), "RNN": (0, (1,))}
_DEFAULTS = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}


def _recurrent(op: str) -> Counter:
    """A recurrent op: its input steps × tiles × features, or tiles first, as `layout` says.

    Weights: directions × gates·units × features. A gate multiplies the features and the state; each
    activation counts as it does where it is an op of its own.
    """
    joined, uses = _JOINED[op]

    def count(inputs: Sequence[Shape], _: Sequence[Shape], attributes: Attributes) -> int | None:
        if len(inputs) < 3 or any(len(shape) != 3 for shape in inputs[:3]):
            return None  # as a profile may tell it
        (directions, rows, features), units = inputs[1], inputs[2][2]
        names = [
            name.decode() if isinstance(name, bytes) else str(name)
            for name in attributes.get("activations") or _DEFAULTS[op]
        ]
        each = sum(
            times * (1 if name.lower() in _CHEAP else 4)
            for times, name in zip(uses, names, strict=False)
        )
        step = 2 * rows * (features + units) + (joined + each) * units
        return math.prod(inputs[0][:2]) * directions * step

    return count


def _per_output(flops: int) -> Counter:
    """So many FLOPs for each value that comes out."""

    def count(_: Sequence[Shape], outputs: Sequence[Shape], __: Attributes) -> int:
        return flops * math.prod(outputs[0])

    return count


_ONE = "Relu LeakyRelu PRelu Abs Neg Add Sub Mul Div Max Min Clip Where Sqrt Sum"
_SEVERAL = "Tanh Sigmoid Exp Log Erf Softplus Elu Selu Gelu Softsign"
_CHEAP = frozenset(name.lower() for name in f"{_ONE} Affine ThresholdedRelu".split())
_CONVS = "Conv FusedConv NhwcConv NhwcFusedConv"
_GEMMS = "Gemm FusedGemm MatMul FusedMatMul MatMulNBits"
_POOLS = "MaxPool AveragePool GlobalAveragePool GlobalMaxPool NhwcMaxPool"
# Products of whole numbers, and others that work on 8 bits.
_WHOLE_CONVS = "QLinearConv ConvInteger"
_WHOLE_GEMMS = "QLinearMatMul QGemm MatMulInteger MatMulIntegerToFloat DynamicQuantizeMatMul"
WHOLE = frozenset(f"{_WHOLE_CONVS} {_WHOLE_GEMMS}".split())
_CONVERTING = "QuantizeLinear DequantizeLinear DynamicQuantizeLinear"  # scaled, and shifted
# Both inputs are scaled, the op is done, and its output is scaled back.
_WHOLE_SEVERAL = "QLinearAdd QLinearMul QLinearLeakyRelu"
_NONE = (
    "ReorderInput ReorderOutput Reshape Flatten Transpose Concat Split Slice Squeeze Unsqueeze "
    "Identity Cast Expand Gather Pad Tile Shape QLinearConcat"
)

COUNTERS: dict[str, Counter] = {
    **dict.fromkeys(f"{_CONVS} {_WHOLE_CONVS}".split(), _conv),
    "ConvTranspose": _conv_transpose,
    **dict.fromkeys(f"{_GEMMS} {_WHOLE_GEMMS}".split(), _gemm),
    **dict.fromkeys(f"{_POOLS} QLinearAveragePool QLinearGlobalAveragePool".split(), _pool),
    **{op: _recurrent(op) for op in _JOINED},
    "QLinearSoftmax": _per_output(5),
    "QLinearSigmoid": _per_output(6),
    "Softmax": _per_output(5),  # largest, difference, exponential, sum, quotient
    "LogSoftmax": _per_output(5),
    "BatchNormalization": _per_output(2),
    **dict.fromkeys(_CONVERTING.split(), _per_output(2)),
    **dict.fromkeys(_ONE.split(), _per_output(1)),
    **dict.fromkeys(f"{_SEVERAL} {_WHOLE_SEVERAL}".split(), _per_output(4)),
    **dict.fromkeys(_NONE.split(), _per_output(0)),
}


def flops(
    op: str, inputs: Sequence[Shape], outputs: Sequence[Shape], attributes: Attributes
) -> int | None:
    """FLOPs of one run of an op; None, never 0, for an op that nobody counts.

    Args:
        op: ONNX's type, or the runtime's own for a fused op.
        inputs: shapes of activations and weights, in the node's order.
        outputs: shapes, in the node's order.
        attributes: of the node, by name.
    """
    counter = COUNTERS.get(op) or _registered(op)
    return counter(inputs, outputs, attributes) if counter else None


@functools.cache
def _registered(op: str) -> Counter | None:
    """The counter that another package has for an op."""
    return registry.find("counter", op) if op in _registered_ops() else None


@functools.cache
def _registered_ops() -> frozenset[str]:
    return frozenset(registry.names("counter"))
