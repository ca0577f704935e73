"""Physical amounts of work, one function each: an op's numbers → FLOPs, bytes, tiles, launches.

A feature takes the columns of `work.COLUMNS` as arrays, one entry per op, and gives one array. It
is total over the inference (the batch is inside). What a coefficient of a feature means is its
unit: the reciprocal of seconds per FLOP is FLOP/s.

Sources: the features of `mattsson2016_…` are equations 14-18 of Mattsson 2016. Ceil-tile work:
"tile quantization" in NVIDIA's Matrix Multiplication Background guide, and Jia et al., CoDL,
MobiSys 2022. Winograd tiles: Lavin & Gray 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Columns = Mapping[str, Array]


class Feature(NamedTuple):
    """A function of the columns, the unit that it counts, and what it is in words."""

    unit: str
    words: str
    of: Callable[[Columns], Array]


def _where(condition: NDArray[np.bool_], value: Array) -> Array:
    return np.where(condition, value, 0.0)


def _ceil(value: Array, tile: int) -> Array:
    return np.ceil(value / tile) * tile


def _tiles(rows: int, columns: int) -> Callable[[Columns], Array]:
    """FLOPs of a matrix product that is cut into whole tiles of rows × columns."""
    return lambda c: 2 * c["products"] * _ceil(c["m"], rows) * _ceil(c["n"], columns) * c["k"]


def _winograd(side: int) -> Callable[[Columns], Array]:
    """Multiply-adds ×2 of Winograd's F(side×side, 3×3): (side + 2)² per tile of the output."""

    def count(c: Columns) -> Array:
        tiles = c["batch"] * np.ceil(c["h_out"] / side) * np.ceil(c["w_out"] / side)
        work = 2 * tiles * (side + 2) ** 2 * c["c_in"] * c["c_out"] / c["groups"]
        return _where((c["window"] == 9) & (c["stride"] == 1), work)

    return count


FEATURES: dict[str, Feature] = {
    "launch": Feature("launch", "one per op", lambda c: np.ones_like(c["batch"])),
    "tiles": Feature("tile", "image tiles", lambda c: c["batch"]),
    "flops": Feature("flop", "FLOPs", lambda c: c["flops"]),
    "bytes_in": Feature("byte", "bytes read", lambda c: c["bytes_in"]),
    "bytes_out": Feature("byte", "bytes written", lambda c: c["bytes_out"]),
    "bytes_weights": Feature("byte", "bytes of weights", lambda c: c["bytes_weights"]),
    "bytes_moved": Feature(
        "byte", "bytes read and written", lambda c: c["bytes_in"] + c["bytes_out"]
    ),
    # Of the published model: per tile; the first ConvLayer and the output layer are left out.
    "mattsson2016_hidden": Feature(
        "tile",
        "tiles × hidden FC layers (eq. 14, 15)",
        lambda c: _where(c["after"] > 0, c["batch"]),
    ),
    "mattsson2016_neurons": Feature(
        "element",
        "tiles × neurons of hidden FC layers (eq. 15)",
        lambda c: _where(c["after"] > 0, c["batch"] * c["n"]),
    ),
    "mattsson2016_neurons2": Feature(
        "multiply-add",
        "tiles × neurons² of hidden FC layers (eq. 14)",
        lambda c: _where(c["after"] > 0, c["batch"] * c["n"] ** 2),
    ),
    "mattsson2016_out": Feature(
        "element",
        "tiles × depth × output size² from the second ConvLayer (eq. 15)",
        lambda c: _where(c["nth"] > 1, c["batch"] * c["c_out"] * c["h_out"] * c["w_out"]),
    ),
    "mattsson2016_in": Feature(
        "element",
        "tiles × depth × input size² from the second ConvLayer (eq. 16, 17)",
        lambda c: _where(c["nth"] > 1, c["batch"] * c["c_out"] * c["h_in"] * c["w_in"]),
    ),
    "mattsson2016_depth2": Feature(
        "depth² × pixel",
        "tiles × depth² × output size² from the second ConvLayer (eq. 18)",
        lambda c: _where(c["nth"] > 1, c["batch"] * c["c_out"] ** 2 * c["h_out"] * c["w_out"]),
    ),
}


def matrix(names: tuple[str, ...], columns: Columns) -> Array:
    """Ops × features."""
    count = len(next(iter(columns.values())))
    result = np.empty((count, len(names)))
    for index, name in enumerate(names):
        result[:, index] = FEATURES[name].of(columns)
    return result
