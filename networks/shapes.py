"""Shapes of values, the batch left out, and what becomes of them.

(channels, height, width) of an image, (steps, features) of a sequence, or (features,).
"""

from __future__ import annotations

from typing import TypeAlias

from nnprof.errors import BadShape

Shape: TypeAlias = tuple[int, ...]


def need(condition: bool, place: str, sentence: str, joint: str = "") -> None:
    """Refuse a shape.

    Raises:
        BadShape: `condition` is false; says what is wrong with the layer at `place`.
    """
    if not condition:
        raise BadShape(f"{place}{joint} {sentence}.")


def by(shape: Shape) -> str:
    """A shape as text: 1×28×28."""
    return "×".join(map(str, shape))


def channel_axis(shape: Shape) -> int:
    """Which side of a shape counts its channels, or its features."""
    return 1 if len(shape) == 2 else 0


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a side of length `size`, an odd zero after (ONNX SAME_UPPER)."""
    total = max((_ceil_div(size, stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def described(shape: Shape) -> str:
    """A shape in words: "784 flat features", "a sequence of 60×1 (steps × features)", "1×28×28"."""
    match len(shape):
        case 1:
            return f"{shape[0]} flat features"
        case 2:
            return f"a sequence of {by(shape)} (steps × features)"
        case _:
            return by(shape)


def slid(size: int, stride: int, padding: str, shape: Shape, place: str) -> Shape:
    """Height and width after a size×size window has moved over an input of `shape`."""
    need(len(shape) == 3, place, f"needs C×H×W, but gets {described(shape)}")
    if padding == "same":
        return tuple(_ceil_div(side, stride) for side in shape[1:])
    need(min(shape[1:]) >= size, place, f"{size}×{size} does not fit {by(shape[1:])}", ":")
    return tuple((side - size) // stride + 1 for side in shape[1:])


def _ceil_div(whole: int, part: int) -> int:
    return -(-whole // part)
