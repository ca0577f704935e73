"""What an op has to do: FLOPs, from its type, its attributes and the shapes it really ran with.

One fused multiply-add counts as two FLOPs. The shapes are those after layout changes, so a blocked
convolution of 20 channels that the runtime pads to 32 is counted with 32: that is what ran.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]
# inputs (activations and weights in the node's order), outputs, attributes → FLOPs
Counter = Callable[[Sequence[Shape], Sequence[Shape], Attributes], int]

# They give a tensor another shape, and move nothing.
VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})


def _conv(inputs: Sequence[Shape], outputs: Sequence[Shape], _: Attributes) -> int:
    # weights: depth × (channels / groups) × kernel…
    per_output = math.prod(inputs[1][1:])
    return 2 * math.prod(outputs[0]) * per_output


def _gemm(inputs: Sequence[Shape], outputs: Sequence[Shape], attributes: Attributes) -> int:
    inner = inputs[0][0] if attributes.get("transA") else inputs[0][-1]
    return 2 * math.prod(outputs[0]) * inner


def _pool(inputs: Sequence[Shape], outputs: Sequence[Shape], attributes: Attributes) -> int:
    window = math.prod(attributes.get("kernel_shape", inputs[0][2:]))
    return math.prod(outputs[0]) * window


def _per_output(flops: int) -> Counter:
    """So many FLOPs for each value that comes out."""

    def count(_: Sequence[Shape], outputs: Sequence[Shape], __: Attributes) -> int:
        return flops * math.prod(outputs[0])

    return count


_ONE = "Relu LeakyRelu PRelu Abs Neg Add Sub Mul Div Max Min Clip Where Sqrt Sum"
_SEVERAL = "Tanh Sigmoid Exp Log Erf Softplus Elu Selu Gelu Softsign"
_NONE = (
    "ReorderInput ReorderOutput Reshape Flatten Transpose Concat Split Slice Squeeze Unsqueeze "
    "Identity Cast Expand Gather Pad Tile Shape"
)

COUNTERS: dict[str, Counter] = {
    "Conv": _conv,
    "FusedConv": _conv,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "MatMul": _gemm,
    "FusedMatMul": _gemm,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _pool,
    "GlobalMaxPool": _pool,
    "Softmax": _per_output(5),  # largest, difference, exponential, sum, quotient
    "LogSoftmax": _per_output(5),
    "BatchNormalization": _per_output(2),
    **dict.fromkeys(_ONE.split(), _per_output(1)),
    **dict.fromkeys(_SEVERAL.split(), _per_output(4)),
    **dict.fromkeys(_NONE.split(), _per_output(0)),
}


def flops(
    op: str, inputs: Sequence[Shape], outputs: Sequence[Shape], attributes: Attributes
) -> int | None:
    """FLOPs of one run of an op; None where we have no count for it, never 0 instead."""
    counter = COUNTERS.get(op)
    return counter(inputs, outputs, attributes) if counter else None
