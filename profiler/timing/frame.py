"""A large image in one process: how long it takes to cut, and one of them from pixels to outputs.

A frame's time is counted from parts: so many inferences, each as the clean pass has it, and the
cut. One whole frame is the check on that sum; it holds the copies into and out of the runtime, too.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnprof.exporters.axes import back
from nnprof.profiler import inputs, waits
from nnprof.profiler.arrays import require_memory
from nnprof.profiler.ports import Part, Session
from nnprof.types import FramePass, Workload

_CUT_S = 0.1  # for cutting again and again
_SAMPLE_S = 0.003  # a sample cuts until it lasts this long
_FEWEST = 3  # samples of cutting


def measure(workload: Workload, session: Session | None) -> FramePass:
    """Cut the workload's image, and send all of it once through the session; None: it has none.

    Raises:
        OutOfMemory: the tiles of the image do not fit.
        NnprofError: what the runtime has against an inference.
    """
    (tensor,), one = workload.model.inputs, inputs.picture(workload)
    require_memory(tensor.name, (one.grid.tiles, *one.tile), np.dtype(tensor.dtype).itemsize)
    cutting = waits.Undisturbed(_Cutting(one, tensor.dtype), "perf_counter")
    cutting.sample(1)  # the first one finds pixels that were never read, and new memory
    once_s = max(cutting.sample(1), 1e-9)
    loops = math.ceil(_SAMPLE_S / once_s)
    count = max(_FEWEST, int(_CUT_S / (loops * once_s)))
    cuts = [cutting.timed(loops) for _ in range(count)]
    cut = FramePass(
        cut_s=tuple(each.seconds / loops for each in cuts),
        cut_waited_s=tuple(each.waited_s / loops for each in cuts) if cutting.counted else (),
        unknown="this runtime computes nothing",
    )
    return cut if session is None else _with_whole(cut, _Whole(workload, one, session))


def in_parts(workload: Workload, session: Session) -> Part:
    """An image as it is counted: cut, and then as many inferences as its tiles take.

    Raises:
        OutOfMemory: the tiles of the image do not fit.
    """
    (tensor,), one = workload.model.inputs, inputs.picture(workload)
    require_memory(tensor.name, (one.grid.tiles, *one.tile), np.dtype(tensor.dtype).itemsize)
    cutting = _Cutting(one, tensor.dtype)
    return _Parts(cutting, session, one.grid.tiles // workload.batch)


class _Parts:
    """Cutting, and so many inferences on buffers that are bound."""

    def __init__(self, cutting: _Cutting, session: Session, inferences: int) -> None:
        self._cutting, self._session, self._inferences = cutting, session, inferences

    def sample(self, loops: int) -> float:
        """Seconds of so many images."""
        cut_s = self._cutting.sample(loops)
        return cut_s + sum(self._session.sample(self._inferences) for _ in range(loops))

    def close(self) -> None:
        """The session is not ours."""


class _Cutting:
    """An image that is cut into all its tiles."""

    def __init__(self, picture: inputs.Picture, dtype: str) -> None:
        self._picture, self._dtype = picture, dtype

    def sample(self, loops: int) -> float:
        """Seconds of so many times."""
        start = perf_counter()
        for _ in range(loops):
            self._picture.cut(self._dtype)
        return perf_counter() - start

    def close(self) -> None:
        """Nothing to give back."""


class _Whole:
    """An image from pixels to the outputs of all its tiles."""

    def __init__(self, workload: Workload, picture: inputs.Picture, session: Session) -> None:
        (self._tensor,), self._batch = workload.model.inputs, workload.batch
        self._axis = workload.model.axes.get(self._tensor.name)
        self._picture, self._session = picture, session

    def sample(self, loops: int) -> float:
        """Seconds of so many images."""
        start = perf_counter()
        for _ in range(loops):
            tiles = self._picture.cut(self._tensor.dtype)
            for first in range(0, len(tiles), self._batch):
                self._infer(tiles[first : first + self._batch])
        return perf_counter() - start

    def warm_up(self) -> None:
        """One inference."""
        self._infer(self._picture.cut(self._tensor.dtype)[: self._batch])

    def _infer(self, tiles: NDArray[Any]) -> None:
        self._session.infer({self._tensor.name: np.ascontiguousarray(back(tiles, self._axis))})

    def close(self) -> None:
        """The session is not ours."""


def _with_whole(cut: FramePass, whole: _Whole) -> FramePass:
    """With one whole frame; one inference before it, since the first one may take new memory."""
    whole.warm_up()
    timed = waits.Undisturbed(whole, "perf_counter")
    seconds, waited_s = timed.timed(1)
    return FramePass(
        cut_s=cut.cut_s,
        cut_waited_s=cut.cut_waited_s,
        whole_s=(seconds,),
        whole_waited_s=(waited_s,) if timed.counted else (),
    )
