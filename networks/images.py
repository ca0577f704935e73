"""Images that are larger than a network's tile: how tiles lie in them, and how they are cut out.

Mattsson 2016, Figure 9: an image of 784×784 pixels is analysed as 28 · 28 = 784 tiles of 28×28. Its
text is `784x784`, height × width, for tiles side by side, or `784x784/14` for tiles that begin 14
pixels apart and overlap. Pure: arrays in, arrays out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nnprof.errors import UsageError
from nnprof.networks.shapes import Shape, by
from nnprof.types import MOST_SIDE, Image

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_IMAGE = re.compile(r"([0-9]{1,9})x([0-9]{1,9})(?:/([0-9]{1,9}))?")
_EXAMPLE = "Write height × width, and the stride where tiles overlap: 784x784, or 784x784/14."
MOST_AT_ONCE = 4096  # tiles of a batch that nobody asked for
_BATCHES = 4  # that are shown where nobody asks for some
_LAST_CHANNELS = 4  # a last side up to this, after larger ones, is colours and no width


class Grid(NamedTuple):
    """How tiles lie in an image: so many rows and columns of them, so many pixels apart."""

    rows: int
    columns: int
    stride: tuple[int, int]

    @property
    def tiles(self) -> int:
        """Tiles of one image."""
        return self.rows * self.columns


def parse(text: str) -> Image:
    """The image that `784x784` or `784x784/14` stands for.

    Raises:
        UsageError: it is written otherwise, or has a side that no image has.
    """
    match = _IMAGE.fullmatch(text.strip().replace("×", "x"))
    if not match:
        raise UsageError(f"'{text}' is no image.", _EXAMPLE)
    sides = [int(word) for word in match.groups() if word]
    if not all(1 <= side <= MOST_SIDE for side in sides):
        raise UsageError(
            f"'{text}' is no image: a side or stride is not from 1 to {MOST_SIDE}.", _EXAMPLE
        )
    return Image(height=sides[0], width=sides[1], stride=sides[2] if sides[2:] else None)


def require_picture(shape: Sequence[int], network: str) -> Shape:
    """The shape of a network's input, where that is a picture: channels × height × width.

    Raises:
        UsageError: it is not.
    """
    if len(shape) == 1:
        side = math.isqrt(shape[0])
        known = f"1x{side}x{side}" if side * side == shape[0] else "CHANNELSxHEIGHTxWIDTH"
        raise UsageError(
            f"{network} takes {shape[0]} numbers in a row, which tell no height and width.",
            f"Begin its notation with the picture that they are, such as {known}.",
        )
    if len(shape) != 3:
        raise UsageError(
            f"{network} takes {by(tuple(shape)) or 'a single value'}, which is no picture.",
            "An image is cut for networks whose tiles are channels × height × width.",
        )
    if shape[2] <= _LAST_CHANNELS < min(shape[:2]):
        raise UsageError(
            f"{network} takes {by(tuple(shape))}: its channels seem to come last.",
            "An image is cut for networks whose tiles are channels × height × width.",
        )
    return tuple(shape)


def grid(image: Image, tile: Shape) -> Grid:
    """How tiles of that shape (channels, height, width) lie in an image.

    Raises:
        UsageError: the image is smaller than a tile, or the tiles do not cover it wholly.
    """
    sides, named = tile[1:], by(tile[1:])
    stride = (image.stride or sides[0], image.stride or sides[1])
    whole = (image.height, image.width)
    if any(own < side for own, side in zip(whole, sides, strict=True)):
        raise UsageError(
            f"An image of {by(whole)} is smaller than a tile of {named}.",
            f"Give at least {named}.",
        )
    if any(step > side for step, side in zip(stride, sides, strict=True)):
        raise UsageError(
            f"A stride of {image.stride} leaves gaps between tiles of {named}.",
            f"Give a stride of at most {min(sides)}.",
        )
    places = zip(whole, sides, stride, strict=True)
    if any((own - side) % step for own, side, step in places):
        raise UsageError(
            f"Tiles of {named}, {by(tuple(dict.fromkeys(stride)))} apart, do not cover an image of "
            f"{by(whole)} wholly.",
            _fitting(image, sides, stride),
        )
    rows, columns = (
        (own - side) // step + 1 for own, side, step in zip(whole, sides, stride, strict=True)
    )
    return Grid(rows, columns, stride)


def _fitting(image: Image, sides: Shape, stride: tuple[int, int]) -> str:
    """The next sizes that are covered: the one below in both directions, and the one above."""
    places = list(zip((image.height, image.width), sides, stride, strict=True))
    apart = "" if image.stride is None else f"/{image.stride}"
    below, above = (
        "x".join(str(side + away(own - side, step) * step) for own, side, step in places) + apart
        for away in (int.__floordiv__, lambda length, step: -(-length // step))
    )
    return f"The next sizes that fit are {below} and {above}."


def cut(
    pixels: NDArray[Any], tile: Shape, stride: tuple[int, int], dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """All tiles of an image, row by row: a copy of its own, N × C × H × W.

    Args:
        pixels: channels × height × width.
        tile: the same of a tile, with as many channels.
        stride: pixels from one tile to the next, down and across.
        dtype: of the tiles; that of the pixels where it is not given.
    """
    import numpy as np

    windows = np.lib.stride_tricks.sliding_window_view(pixels, tile[1:], axis=(1, 2))
    chosen = windows[:, :: stride[0], :: stride[1]]  # C × rows × columns × H × W
    tiles = np.array(np.moveaxis(chosen, 0, 2), dtype=dtype, order="C")
    return tiles.reshape(-1, *tile)


def divisors(count: int) -> tuple[int, ...]:
    """All numbers that divide a number of tiles, in ascending order."""
    small = [one for one in range(1, math.isqrt(count) + 1) if count % one == 0]
    return tuple(sorted({*small, *(count // one for one in small)}))


def batches(count: int) -> tuple[int, ...]:
    """Batches at which an image of so many tiles is looked at where nobody says.

    One tile at a time; all at once, or as many as `MOST_AT_ONCE` allows; two between them.
    """
    known = [one for one in divisors(count) if one <= MOST_AT_ONCE]
    steps = (math.log(known[-1]) * part / (_BATCHES - 1) for part in range(_BATCHES))
    return tuple(
        dict.fromkeys(min(known, key=lambda one: abs(math.log(one) - step)) for step in steps)
    )


def require_dividing(count: int, batch: int) -> None:
    """Refuse a batch that would leave tiles of an image over.

    Raises:
        UsageError: it does not divide their number; the remedy names batches near it that do.
    """
    if count % batch == 0:
        return
    known = divisors(count)
    near = sorted(sorted(known, key=lambda one: abs(math.log(one / batch)))[:4])
    raise UsageError(
        f"Batch {batch} does not divide the {count} tiles of an image.",
        f"Batches near it that do: {', '.join(map(str, near))}.",
    )
