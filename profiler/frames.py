"""From tiles to frames: how many tiles an image has for a network, and what they take together.

A frame is one image whose tiles are all classified: so many inferences at a batch that divides the
number of its tiles. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nnprof.errors import UsageError
from nnprof.networks import images
from nnprof.networks.shapes import Shape
from nnprof.profiler import inputs
from nnprof.types import Image, Model, Workload


class FrameTime(NamedTuple):
    """Seconds of one frame, with an interval where there is one."""

    seconds: float
    low_s: float | None
    high_s: float | None

    def times(self, count: float) -> FrameTime:
        """So many of them."""
        low, high = (None if end is None else end * count for end in (self.low_s, self.high_s))
        return FrameTime(self.seconds * count, low, high)

    @property
    def per_s(self) -> float | None:
        """Frames per second."""
        return 1 / self.seconds if self.seconds else None

    @property
    def rates(self) -> tuple[float | None, float | None]:
        """Ends of the interval of `per_s`, the slower first."""
        low, high = (1 / end if end else None for end in (self.high_s, self.low_s))
        return low, high


def tiles(shape: Sequence[int], network: str, image: Image) -> int:
    """How many tiles of that shape an image has.

    Raises:
        UsageError: the shape is no picture, or such tiles do not fit into the image.
    """
    return images.grid(image, images.require_picture(shape, network)).tiles


def tiles_of(model: Model, image: Image, dims: Mapping[str, int]) -> int:
    """How many tiles an image has for a model; `dims` are its free sides.

    Raises:
        UsageError: its input is no picture, or such tiles do not fit into the image.
    """
    return tiles(tile_of(model, dims), model.name, image)


def tile_of(model: Model, dims: Mapping[str, int]) -> Shape:
    """The shape of a model's input without its batch.

    Raises:
        UsageError: it has several inputs, or a free side that is not given.
    """
    if len(model.inputs) != 1:
        raise UsageError(
            f"{model.name} has {len(model.inputs)} inputs; an image is cut for one.",
            "Leave out --image, or export the part that takes the tiles.",
        )
    (tensor,) = model.inputs
    work = Workload(model=model, batch=model.fixed_batch or 1, dims=inputs.check_dims(model, dims))
    shape, axis = inputs.shape_at(tensor, work), model.axes.get(tensor.name)
    return tuple(side for at, side in enumerate(shape) if at != axis)


def batches(count: int, asked: Sequence[int]) -> tuple[int, ...]:
    """The batches that were asked for, or some that divide the number of tiles.

    Raises:
        UsageError: one that was asked for does not divide it.
    """
    for batch in asked:
        images.require_dividing(count, batch)
    return tuple(asked) or images.batches(count)
