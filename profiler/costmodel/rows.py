"""Measured ops as the rows of a fit: their numbers, seconds, networks and weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.costmodel import work
from nnprof.profiler.costmodel.processor import UNKNOWN, Processor
from nnprof.profiler.costmodel.sets import MOVING, kind_of
from nnprof.profiler.costmodel.work import Work

Array = NDArray[np.float64]

HUBER = 0.10  # relative residual beyond which a row counts less (reference: 0.10-0.15)
UNSURE = 0.5  # relative standard error from which a time cannot be told from 0
HALF_SHARE = 0.02  # of its network's time, at which an op counts half


class Rows(NamedTuple):
    """Measured ops.

    Attributes:
        works: what they had to do.
        seconds: how long they took.
        shapes: the same for ops that differ in the batch only; what folds and resamples keep whole.
        networks: what they were measured in.
        weights: by which each counts.
        spreads: relative spread of each one's repeats; empty where nobody asks for it.
        processor: what they ran on.
    """

    works: tuple[Work, ...]
    seconds: Array
    shapes: NDArray[np.str_]
    networks: NDArray[np.str_]
    weights: Array
    spreads: Array = np.zeros(0)
    processor: Processor = UNKNOWN

    def only(self, chosen: NDArray[np.bool_]) -> Rows:
        """Those rows."""
        works = tuple(one for one, keep in zip(self.works, chosen, strict=True) if keep)
        return self._replace(
            works=works,
            seconds=self.seconds[chosen],
            shapes=self.shapes[chosen],
            networks=self.networks[chosen],
            weights=self.weights[chosen],
            spreads=self.spreads[chosen] if len(self.spreads) else self.spreads,
        )

    @property
    def groups(self) -> NDArray[np.str_]:
        """Group of each row."""
        return np.array([one.group for one in self.works])

    @property
    def columns(self) -> dict[str, Array]:
        """What features read."""
        return work.columns_of(self.works)


def rows_of(
    works: Iterable[Work],
    seconds: Iterable[float],
    networks: Iterable[str] = (),
    spreads: Iterable[float] = (),
    shares: Iterable[float] = (),
    processor: Processor = UNKNOWN,
) -> Rows:
    """Measured ops; those of no time at all, or of none that can be told from 0, are left out.

    A row counts 1 / (1 + spread²/HUBER²) with the relative spread of its repeats, and, of an op
    with a share of its network's time, share / (share + HALF_SHARE): to be wrong by a tenth on what
    takes a hundredth of a network is no loss.
    """
    every, times = tuple(works), np.array(list(seconds), dtype=float)
    names = np.array(list(networks) or [""] * len(every), dtype=str)
    spread = np.array(list(spreads) or [0.0] * len(every), dtype=float)
    shapes = np.array([shape_of(one) for one in every], dtype=str)
    share = np.array(list(shares) or [np.inf] * len(every), dtype=float)
    counts_ = 1 / (1 + (spread / HUBER) ** 2) / (1 + HALF_SHARE / np.maximum(share, 1e-12))
    made = Rows(every, times, shapes, names, counts_, spread, processor)
    return _sure(made.only(times > 0))


def _sure(made: Rows) -> Rows:
    """Those whose time can be told from 0, all of groups in which none can, and views.

    A relative error means nothing where the time itself may be any fraction of what was measured:
    such a row would be missed by thousands of percent, or claim a speed that no device has. What
    is measured of a view is not fitted.
    """
    sure, groups = made.spreads <= UNSURE, made.groups
    sure |= np.array([kind_of(group) == "view" for group in groups], dtype=bool)
    return made.only(sure | ~np.isin(groups, groups[sure]))


def shape_of(one: Work) -> str:
    """The op's shape with the batch left out.

    Of an op that computes next to nothing the batch is kept: it is all that such ops differ in.
    """
    if kind_of(one.group) in MOVING:
        return f"{one.group} {one.bytes_in:.6g} {one.bytes_out:.6g}"
    batch = max(one.batch, 1.0)
    sizes = (one.m / batch, one.n, one.k, one.products, one.h_in, one.window, one.stride,
             one.bytes_in / batch, one.bytes_out / batch)  # fmt: skip
    return f"{one.group} " + " ".join(f"{size:.6g}" for size in sizes)
