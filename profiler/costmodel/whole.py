"""What whole networks add to the ops' terms, and how far off the model is for networks left out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.profiler.costmodel import (
    fit,
    intervals,
    predict,
    solve,
    work,
)
from nnprof.profiler.costmodel.fit import Fitted
from nnprof.profiler.costmodel.gather import FEW_NETWORKS, LEAST_ASKED, Cellular, Measured
from nnprof.profiler.costmodel.model import (
    CostModel,
    Whole,
)
from nnprof.profiler.costmodel.work import Work

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]


LEAST_NETWORKS = 5  # below this the floor is as measured, and launches are not touched


_MOST_FOLDS = 12
_ALONE = 4  # ops of a layer that was measured by itself, with the copies around it


class Overhead(NamedTuple):
    """What the refit on whole networks changes: the call, and a factor on every launch term."""

    call_s: float
    launches: float


def overhead(found: Mapping[str, Fitted], cells: Sequence[Cellular], call_s: float) -> Overhead:
    """The two numbers that whole networks may change; bias beyond them stays visible.

    Found by `solve.mapped` around the measured call and a factor of 1, on networks of known ops
    alone. Where no call was measured: start = median over the fastest 25 % of networks of
    (measured - sum of ops), at least one launch.
    """
    cells = [cell for cell in cells if not cell.doubt]
    parts = [_launch_and_rest(found, cell.works) for cell in cells]
    kept = [
        index for index, part in enumerate(parts) if cells[index].works and np.isfinite(part[1])
    ]
    if len(kept) < LEAST_NETWORKS:
        return Overhead(max(call_s, 0.0), 1.0)
    launches = np.array([parts[index][0] for index in kept])
    rest = np.array([parts[index][1] for index in kept])
    seconds = np.array([cells[index].seconds for index in kept])
    start_s = call_s
    if start_s <= 0:
        fastest = np.argsort(seconds)[: -(-len(kept) // 4)]
        more_s = float(np.median((seconds - launches - rest)[fastest]))
        start_s = max(more_s, median(fit.launches_s(found) or [0.0]))
    matrix = np.column_stack((np.ones(len(kept)), launches))
    call, scale = solve.mapped(matrix, seconds, np.array([start_s, 1.0]), None, rest)
    return Overhead(float(call), float(scale))


def _launch_and_rest(found: Mapping[str, Fitted], works: Sequence[Work]) -> tuple[float, float]:
    """Seconds of the launch terms, and of all others, in a network."""
    launch = {
        name: one.coefficients[one.names.index("launch")] if "launch" in one.names else 0.0
        for name, one in found.items()
    }
    launches = sum(float(launch.get(one.group, 0.0)) for one in works)
    return launches, float(fit.seconds_of(found, works).sum()) - launches


def held_out_networks(measured: Measured) -> Array:
    """Each network predicted by a model of the others' ops; NaN where it has an op of its own.

    NaN, too, for networks whose time cannot be held against their ops.
    """
    cells, rows = measured.networks, measured.rows
    names = sorted({cell.name for cell in measured.whole})
    folds = min(_MOST_FOLDS, len(names))
    predicted = np.full(len(cells), np.nan)
    if len(names) < FEW_NETWORKS:
        return predicted
    for fold in range(folds):
        _LOG.info("checking: networks left out, part %d of %d", fold + 1, folds)
        out = set(names[fold::folds])
        kept = rows.only(~np.isin(rows.networks, list(out)))
        if not len(kept.seconds):
            continue
        found = with_idle(fit.fit(kept), measured.idle)
        others = [cell for cell in cells if cell.name not in out]
        added = overhead(found, others, measured.call_s)
        for index, cell in enumerate(cells):
            if cell.name in out and not cell.doubt:
                predicted[index] = _seconds(found, added, cell.works)
    return predicted


def with_idle(found: Mapping[str, Fitted], idle: Mapping[str, set[str]]) -> dict[str, Fitted]:
    """With ops that take no time as groups without terms."""
    free = Fitted((), np.zeros(0), np.zeros(0), None)
    return {**found, **{name: free for name in idle if name not in found}}


def checked(
    measured: Measured, found: Mapping[str, Fitted], added: Overhead, made: CostModel
) -> Whole:
    """How far off the model is for whole networks, and the factor of their interval."""
    if measured.asked:
        cells: Sequence[Cellular] = measured.asked
        predicted = np.array([_seconds(found, added, cell.works) for cell in cells])
        wider, how = _wider(made, cells), "measured whole to see how far off predictions are"
    else:
        cells, predicted = measured.networks, held_out_networks(measured)
        wider, how = np.zeros(len(cells)), "networks left out in turn"
    seconds = np.array([cell.seconds for cell in cells])
    known = _like_asked(cells, np.isfinite(predicted))
    plain = np.array([
        sum(_launch_and_rest(found, cell.works)) / cell.seconds - 1 for cell in measured.whole
    ])  # fmt: skip
    plain = plain[np.isfinite(plain)]
    noise = noise_of(measured.whole)
    if not known.any():
        return Whole(rows=len(measured.whole), noise=noise, how="none")
    off = predicted[known] / seconds[known] - 1
    return Whole(
        rows=int(known.sum()),
        networks=len({cell.name for cell, keep in zip(cells, known, strict=True) if keep}),
        error=float(np.mean(np.abs(off))),
        median=float(np.median(np.abs(off))),
        bias=float(np.median(plain)) if len(plain) else None,
        noise=noise,
        factor=intervals.factor(np.maximum(np.abs(np.log1p(off)) - wider[known], 0.0)),
        how=how,
    )


def _like_asked(cells: Sequence[Cellular], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The networks that tell how far off others will be: those of several ops, where they are many.

    The errors of a network's ops cancel in part; those of an op alone do not.
    """
    several = known & np.array([len(cell.works) > _ALONE for cell in cells], dtype=bool)
    return several if several.sum() >= LEAST_ASKED else known


def _wider(made: CostModel, cells: Sequence[Cellular]) -> Array:
    """What the interval of each network gains for leaving the measurements, in the logarithm."""
    alone = replace(made, network=Whole(factor=1.0))
    return np.log(predict.network_factors(alone, work.table([cell.works for cell in cells])))


def _seconds(found: Mapping[str, Fitted], added: Overhead, works: Sequence[Work]) -> float:
    """A network's time; NaN where it has an op of a group that was not fitted."""
    launches, rest = _launch_and_rest(found, works)
    return added.call_s + added.launches * launches + rest


def noise_of(cells: Sequence[Cellular]) -> float | None:
    """Median spread of the repeats; None where nothing was repeated."""
    known = [cell.noise for cell in cells if cell.noise is not None]
    return median(known) if known else None
