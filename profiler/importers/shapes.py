"""Sizes that a row of a table gives → shapes of inputs, weights and outputs. Pure."""

from __future__ import annotations

import msgspec

Shape = tuple[int, ...]


class Shapes(msgspec.Struct, frozen=True, kw_only=True):
    """What a row says of its tensors and its window; None for an empty cell.

    Attributes:
        cin, h, w: channels, height and width of the input.
        cout, hout, wout: of the output.
        k, stride, pad, groups: of the window, the same in both directions.
        input, weights, output: shapes outright; they go before the sizes.
    """

    cin: int | None = None
    h: int | None = None
    w: int | None = None
    cout: int | None = None
    hout: int | None = None
    wout: int | None = None
    k: int | None = None
    stride: int | None = None
    pad: int | None = None
    groups: int | None = None
    input: tuple[Shape, ...] | None = None
    weights: tuple[Shape, ...] | None = None
    output: tuple[Shape, ...] | None = None


Tensors = tuple[tuple[Shape, ...], tuple[Shape, ...], tuple[Shape, ...]]


def tensors(given: Shapes, batch: int, kind: str) -> Tensors:
    """Shapes of inputs, weights and outputs: as given, or from the sizes; () where unknown.

    Args:
        given: of the given.
        batch: tiles per inference.
        kind: of the op, such as "conv".
    """
    if given.output:
        return given.input or (), given.weights or (), given.output
    if given.cin is None:
        return (), (), ()
    if kind == "gemm":
        return _product(given, batch, given.cin)
    taken = _image(batch, given.cin, given.h, given.w)
    side = given.hout or _slid(given.h, given)
    made = _image(batch, given.cout or given.cin, side, given.wout or _slid(given.w, given))
    if kind == "conv":
        groups = given.groups or 1
        if given.k is None or given.cout is None or side is None:
            return (), (), ()
        return (taken,), ((given.cout, given.cin // groups, given.k, given.k),), (made,)
    if kind == "pool" and side is None:
        return (), (), ()
    if given.h is not None and side is None:  # ops that keep the size
        made = _image(batch, given.cout or given.cin, given.h, given.w)
    return (taken,), (), (made,)


def _product(given: Shapes, batch: int, cin: int) -> Tensors:
    if given.cout is None:
        return (), (), ()
    inner = cin * (given.h or 1) * (given.w or given.h or 1)
    return ((batch, inner),), ((given.cout, inner),), ((batch, given.cout),)


def _image(batch: int, channels: int, height: int | None, width: int | None) -> Shape:
    """The shape of maps: square without a width; of plain values without a height."""
    return (batch, channels) if height is None else (batch, channels, height, width or height)


def _slid(size: int | None, given: Shapes) -> int | None:
    """(size + 2·pad - k) // stride + 1; None where a term is missing or the window does not fit."""
    if size is None or given.k is None or given.stride is None or given.pad is None:
        return None
    if size + 2 * given.pad < given.k:
        return None
    return (size + 2 * given.pad - given.k) // given.stride + 1
