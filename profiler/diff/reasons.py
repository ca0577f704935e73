"""What differs between the ops of a row, by the op tables alone; a reason is a few words. Pure.

A reason is what the tables show, not a guess at a cause. Whether an op computes in whole numbers is
told by its kernel's name, else by its type (ONNX Runtime's QLinearConv), else by the bytes of its
weights; where none of them tells, nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

from nnprof.profiler.diff.values import DiffNode, DiffRow, DiffSide, RowKind
from nnprof.profiler.graph import opgraph
from nnprof.types import OpTime, Precision

# In names of kernels: OpenVINO's brgconv_avx512_I8, TensorRT's …_i8i8_i8i32_f32_…, imma.
_WHOLE_KERNEL = re.compile(r"(?<![a-z])(?:[iu]8|s8|int8)(?!\d)|imma", re.IGNORECASE)
_HALF_KERNEL = re.compile(r"(?<![a-z])(?:b?f16|fp16|half|h\d{3,4}|hmma)", re.IGNORECASE)
_FLOAT_KERNEL = re.compile(r"(?<![a-z])(?:t?f32|fp32|sgemm|s884|s1688)", re.IGNORECASE)
_WHOLE_TYPE = re.compile(r"^(QLinear|QGemm|QAttention)|Integer|^MatMulNBits$")
# Types that ONNX and ONNX Runtime define on floating point alone.
_FLOAT_TYPES = frozenset(
    (
        *("Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul"),
        *("FusedMatMul", "LSTM", "GRU", "RNN", "Softmax"),
    )
)
_HEAVY = ("conv", "gemm", "recurrent")
_BYTES_APART = 1.2
_LONG = 40  # letters of a kernel's name that are shown


class Beside(NamedTuple):
    """What runs right before and after a row on side b, and not on side a: words for it."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Seen(NamedTuple):
    """A row with what is around it.

    Attributes:
        kind: of the row.
        a, b: its ops.
        nodes: its ONNX nodes.
        precisions: of the sides.
        whole: whether an op of b computes in whole numbers by its type, so that types tell.
        beside: of side b.
    """

    kind: RowKind
    a: Sequence[OpTime]
    b: Sequence[OpTime]
    nodes: Sequence[DiffNode]
    precisions: tuple[Precision, Precision]
    whole: bool
    beside: Beside


def of_row(seen: Seen) -> tuple[str, ...]:
    """The reasons of a row whose nodes ran on both sides."""
    return tuple(text for reason in _REASONS if (text := reason(seen)))


def one_sided(kind: str, op: str, *, added: bool) -> str:
    """Of a row that one side has alone."""
    what = {"DequantizeLinear": "dequantise", "QuantizeLinear": "quantise", "Cast": "cast"}.get(op)
    if what is None:
        what = "conversion" if kind == "conversion" else "reorder" if kind == "moved" else ""
    if what:
        return f"{what} {'added' if added else 'gone'}"
    return "only b runs it" if added else "only a runs it"


def in_whole_numbers(op: OpTime) -> bool | None:
    """Whether an op computes on 8-bit integers; None where neither kernel nor type tells."""
    if _WHOLE_KERNEL.search(op.kernel) or _WHOLE_TYPE.search(op.op):
        return True
    if _FLOAT_KERNEL.search(op.kernel) or _HALF_KERNEL.search(op.kernel):
        return False
    return None


def _fell_back(seen: Seen) -> str:
    """An op of the int8 side that still computes in floating point."""
    if seen.kind != "nodes" or seen.precisions[1] != "int8":
        return ""
    asked = any(node.converts and node.b != "absent" for node in seen.nodes)
    for op in seen.b:
        if (op.kind in _HEAVY or asked) and _is_float(op, seen):
            told = f" ({_short(op.kernel)})" if _FLOAT_KERNEL.search(op.kernel) else ""
            return f"fell back: {op.op} computes in floating point{told}"
    return ""


def _is_float(op: OpTime, seen: Seen) -> bool:
    told = in_whole_numbers(op)
    if told is not None:
        return not told
    if op.op not in _FLOAT_TYPES:
        return False
    weights = [sum(one.bytes_weights or 0 for one in ops) for ops in (seen.a, seen.b)]
    return seen.whole or (seen.precisions[0] == "fp32" and 0 < weights[0] <= weights[1])


def _in_blocks(seen: Seen) -> str:
    was, now = (any(opgraph.in_blocks(op.node) for op in ops) for ops in (seen.a, seen.b))
    if was == now:
        return ""
    return "no longer on blocks of channels" if was else "now on blocks of channels"


def _another_op(seen: Seen) -> str:
    was, now = _types(seen.a), _types(seen.b)
    return f"{was} → {now}" if was != now else ""


def _types(ops: Sequence[OpTime]) -> str:
    return " + ".join(op.op if op.op != "unknown" else op.node for op in ops)


def _another_kernel(seen: Seen) -> str:
    was, now = ({op.kernel for op in ops if op.kernel} for ops in (seen.a, seen.b))
    places = [any(_is_place(name) for name in names) for names in (was, now)]
    if not was or not now or was == now or places[0] != places[1]:
        return ""
    return f"{'ran on' if places[0] else 'kernel'} {_kernels(was)} → {_kernels(now)}"


def _is_place(kernel: str) -> bool:
    """Whether it is what ran the kernel (ONNX Runtime tells its provider), not the kernel."""
    return kernel.endswith("ExecutionProvider")


def _kernels(names: set[str]) -> str:
    return " + ".join(_short(name) for name in sorted(names))


def _short(name: str) -> str:
    return name if len(name) <= _LONG else f"{name[: _LONG - 1]}…"


def _another_fusion(seen: Seen) -> str:
    was, now = len(seen.a), len(seen.b)
    if was == now:
        return ""
    return f"{was} op{'s' if was > 1 else ''} in a, {now} in b"


def _gone(seen: Seen) -> str:
    """Nodes that no op of one side names, conversions left out: inside an op there, or gone."""
    texts = []
    for side, other in (("b", "a"), ("a", "b")):
        for fate, words in (("folded", "named by no op of"), ("absent", "not in the model of")):
            names = [
                node.name
                for node in seen.nodes
                if not node.converts
                and getattr(node, side) == fate
                and getattr(node, other) == "ran"
            ]
            texts += [f"{' '.join(names)} {words} {side}"] if names else []
    return ", ".join(texts)


def _beside(seen: Seen) -> str:
    both = ((seen.beside.before, "before"), (seen.beside.after, "behind"))
    return ", ".join(f"{' and '.join(types)} {where} it" for types, where in both if types)


def _bytes_apart(seen: Seen) -> str:
    sums = [_bytes(ops) for ops in (seen.a, seen.b)]
    if not sums[0] or not sums[1]:
        return ""
    ratio = sums[1] / sums[0]
    return "" if 1 / _BYTES_APART <= ratio <= _BYTES_APART else f"bytes ×{ratio:.2g}"


def _bytes(ops: Sequence[OpTime]) -> int:
    each = [(op.bytes_in, op.bytes_out, op.bytes_weights) for op in ops]
    return 0 if any(None in one for one in each) else sum(x or 0 for x in chain.from_iterable(each))


_REASONS: tuple[Callable[[Seen], str], ...] = (
    _fell_back,
    _in_blocks,
    _another_op,
    _another_fusion,
    _gone,
    _beside,
    _another_kernel,
    _bytes_apart,
)


def of_left_over(sides: Sequence[DiffSide], rows: Sequence[DiffRow]) -> tuple[str, ...]:
    """What the rows do not hold of a difference: of each side, then of a call."""
    found = [
        f"the ops of {name} add up to {'less' if side.residual_s >= 0 else 'more'} than an "
        f"inference takes (method {side.method})"
        for name, side in zip("ab", sides, strict=True)
    ]
    calls = [row for row in rows if row.kind == "call" and row.delta_s is None]
    found += [f"what a call costs is known of {'a' if row.a else 'b'} alone" for row in calls]
    return tuple(found)
