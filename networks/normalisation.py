"""Mean subtraction and normalisation: equations 1-3 of Mattsson 2016."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1000  # inputs at once
_LARGEST = 255  # of a tile


def statistics(
    inputs: NDArray[Any], kind: str, input_shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of the inputs (equations 1 and 2); a deviation of 0 becomes 1.

    For tiles of shape (C, 1, 1) per channel and (C, H, W) per pixel; for windows (1, features) and
    (steps, features); flat for a network with flat input. "unit" is a mean of 0 and a deviation of
    255, "none" of 0 and 1.
    """
    axes: tuple[int, ...] = (0,)
    if kind != "pixel":
        axes = {4: (0, 2, 3), 3: (0, 1)}.get(inputs.ndim, (0,))
    mean = inputs.mean(axis=axes, dtype=np.float64, keepdims=True)
    if kind in ("unit", "none"):
        mean = np.zeros_like(mean)
        std = np.full_like(mean, _LARGEST if kind == "unit" else 1)
    else:
        std = _deviation(inputs, mean, axes)
    if len(input_shape) == 1:
        mean, std = (
            np.broadcast_to(value, (1, *inputs.shape[1:])).reshape(1, -1) for value in (mean, std)
        )
    return mean[0].astype(np.float32), std[0].astype(np.float32)


def _deviation(
    inputs: NDArray[Any], mean: NDArray[np.float64], axes: tuple[int, ...]
) -> NDArray[np.float64]:
    # In chunks: all differences at once would take gigabytes.
    squares = np.zeros_like(mean)
    for start in range(0, len(inputs), _CHUNK):
        squares += ((inputs[start : start + _CHUNK] - mean) ** 2).sum(axis=axes, keepdims=True)
    std: NDArray[np.float64] = np.sqrt(squares / (inputs.size / mean.size))
    std[std == 0] = 1
    return std
