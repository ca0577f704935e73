"""Which of many candidates to measure: the farthest from all others, or the D-optimal ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_SIZES = ("batch", "m", "n", "k", "window", "stride", "bytes_in", "elements_out")


def places(own: Mapping[str, Array], old: Mapping[str, Array]) -> Array:
    """Candidates, then measured ops, in the logarithms of their sizes; each axis is 1 long."""
    both = [np.concatenate((own[name], old[name])) for name in _SIZES]
    logs = np.log(np.maximum(np.stack(both, axis=1), 1.0))
    # Measured ops may lie far out; what is looked at sets the scale.
    inside = logs[: len(own["batch"])]
    low, high = inside.min(axis=0), inside.max(axis=0)
    return np.asarray((logs - low) / np.where(high > low, high - low, 1.0))


def distances(places: Array, others: Array) -> Array:
    """Of each place to the nearest other; infinite without others."""
    result = np.full(len(places), np.inf)
    for other in others:
        result = np.minimum(result, np.linalg.norm(places - other, axis=1))
    return result


def k_centre(
    places: Array, nearest: Array, pull: Array, free: NDArray[np.bool_], wanted: int
) -> list[int]:
    """Again and again the place that is farthest from all chosen ones, weighed by `pull`."""
    nearest, open_, result = nearest.copy(), free.copy(), list[int]()
    while len(result) < wanted and open_.any():
        if np.isinf(nearest).all():  # nothing yet: the middle
            middle = np.linalg.norm(places - places.mean(axis=0), axis=1)
            best = int(np.argmin(np.where(open_, middle, np.inf)))
        else:
            best = int(np.argmax(np.where(open_, nearest * pull, -1.0)))
        result.append(best)
        open_[best] = False
        nearest = np.minimum(nearest, np.linalg.norm(places - places[best], axis=1))
    return result


def errors_near(places: Array, count: int, errors: Array) -> Array:
    """How wrong the model was at the three measured ops that are nearest to each candidate."""
    old = places[count:]
    apart = np.linalg.norm(places[:count, None, :] - old[None, :, :], axis=2)
    near = np.argsort(apart, axis=1)[:, :3]
    return np.asarray(errors[near].mean(axis=1) + 1e-3)


def d_optimal(rows: Array, start: Array, free: NDArray[np.bool_], wanted: int) -> list[int]:
    """Again and again the row that adds most to det X'X (matrix determinant lemma)."""
    scale = np.sqrt((rows**2).mean(axis=0))
    scale[scale == 0] = 1.0
    scaled, known = rows / scale, start / scale
    inverse = np.linalg.inv(known.T @ known + 1e-6 * np.eye(rows.shape[1]))
    open_, result = free.copy(), list[int]()
    while len(result) < wanted and open_.any():
        gain = np.einsum("ij,jk,ik->i", scaled, inverse, scaled)
        best = int(np.argmax(np.where(open_, gain, -1.0)))
        reach = inverse @ scaled[best]
        inverse = inverse - np.outer(reach, reach) / (1 + gain[best])
        open_[best] = False
        result.append(best)
    return result
