"""From tiles to frames: how many tiles an image has for a network, and what they take together.

A frame is one image whose tiles are all classified: so many inferences at a batch that divides the
number of its tiles. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from nnprof.networks import images
from nnprof.profiler import stats
from nnprof.types import Image, Measurement, Model, Workload


class FrameTime(NamedTuple):
    """Seconds of one frame, with an interval where there is one."""

    seconds: float
    low_s: float | None
    high_s: float | None

    def times(self, count: float) -> FrameTime:
        """So many of them."""
        low, high = (None if end is None else end * count for end in (self.low_s, self.high_s))
        return FrameTime(self.seconds * count, low, high)

    def then(self, other: FrameTime) -> FrameTime:
        """One after the other: half-widths of independent intervals add as squares."""
        seconds = self.seconds + other.seconds
        below = _together(self.seconds, self.low_s, other.seconds, other.low_s)
        above = _together(self.seconds, self.high_s, other.seconds, other.high_s)
        return FrameTime(
            seconds,
            None if below is None else seconds - below,
            None if above is None else seconds + above,
        )

    @property
    def per_s(self) -> float | None:
        """Frames per second."""
        return 1 / self.seconds if self.seconds else None

    @property
    def rates(self) -> tuple[float | None, float | None]:
        """Ends of the interval of `per_s`, the slower first."""
        low, high = (1 / end if end else None for end in (self.high_s, self.low_s))
        return low, high


def _together(
    one_s: float, end_s: float | None, other_s: float, other_end_s: float | None
) -> float | None:
    """How far the end of a sum lies from it."""
    if end_s is None or other_end_s is None:
        return None
    return math.hypot(end_s - one_s, other_end_s - other_s)


class Frame(NamedTuple):
    """What was measured of an image.

    Attributes:
        tiles: of the image; `batch` of them go in at once.
        inference: all its inferences, one after the other: tiles / batch times the clean time.
        cutting: of the image into tiles; None where that was not measured.
        both: one after the other.
        whole_s: one image from pixels to outputs, with all copies; None where not measured.
        unknown: why one of these is not known, empty where all are.
        streams: that worked at once, 0 where none did: `inference` is then how far apart the images
            are that all of them together are done with, and not how long one takes.
    """

    tiles: int
    batch: int
    inference: FrameTime
    cutting: FrameTime | None
    both: FrameTime | None
    whole_s: float | None
    unknown: str
    streams: int = 0


def measured(measurement: Measurement) -> Frame | None:
    """The frame of a cell, from its raw samples; None where its tiles are of no image."""
    work = measurement.workload
    if work.image is None:
        return None
    from nnprof.profiler import inputs  # has numpy, which a Run without images does not need

    count = inputs.grid(work)[1].tiles
    ends = stats.interval_s(measurement) or (None, None)
    inference = FrameTime(stats.latency_s(measurement), *ends).times(count / work.batch)
    passes = [(one.frame, len(one.processors)) for one in measurement.processes if one.frame]
    cuts_s = [
        median(stats.own_s(one.cut_s, one.cut_waited_s, processors))
        for one, processors in passes
        if one.cut_s
    ]
    wholes_s = [
        median(stats.own_s(one.whole_s, one.whole_waited_s, processors))
        for one, processors in passes
        if one.whole_s
    ]
    cut_ends = stats.interval(cuts_s) or (None, None)
    cutting = FrameTime(median(cuts_s), *cut_ends) if cuts_s else None
    return Frame(
        tiles=count,
        batch=work.batch,
        inference=inference,
        cutting=cutting,
        both=inference.then(cutting) if cutting else None,
        whole_s=median(wholes_s) if wholes_s else None,
        unknown=_why(measurement) if not (cuts_s and wholes_s) else "",
        streams=measurement.target.streams if measurement.plan.streams_s else 0,
    )


def _why(measurement: Measurement) -> str:
    """Why something of a frame was not measured."""
    told = [one.frame.unknown for one in measurement.processes if one.frame and one.frame.unknown]
    lost = [
        one.reason
        for process in measurement.processes
        for one in process.lost
        if one.what == "frame"
    ]
    if measurement.plan.streams_s:
        return "streams are timed by their inferences alone"
    protocol = f"the protocol {measurement.plan.protocol} times inferences alone"
    return next(iter((*told, *lost)), protocol).rstrip(".")


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
    from nnprof.profiler import inputs

    batch, own = model.fixed_batch or 1, inputs.check_dims(model, dims)
    return inputs.grid(Workload(model=model, batch=batch, dims=own, image=image))[1].tiles


def batches(count: int, asked: Sequence[int]) -> tuple[int, ...]:
    """The batches that were asked for, or some that divide the number of tiles.

    Raises:
        UsageError: one that was asked for does not divide it.
    """
    for batch in asked:
        images.require_dividing(count, batch)
    return tuple(asked) or images.batches(count)
