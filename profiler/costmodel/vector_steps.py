"""Work in whole steps of a processor's vector unit: a function for each kind of loop.

Two products start each cycle, but a register is ready for the next only after so many, so that a
small step takes as long as a larger one. `processor.STEPS` has the numbers of each instruction set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.costmodel.processor import Steps

Array = NDArray[np.float64]
Columns = Mapping[str, Array]


def _step(how: Steps, rows: Array | float, vectors: Array | float) -> Array:
    """Cycles of a step for each value summed; none where it is empty."""
    products = np.multiply(rows, vectors)
    return np.where(products > 0, np.maximum(how.latency, products / how.per_cycle), 0.0)


def _ladder(total: Array, sizes: tuple[int, ...]) -> Iterator[tuple[Array | float, Array]]:
    """(rows of a step, how many such steps): as many of the largest as fit, and so on; the rest."""
    rest = total
    for index, size in enumerate(sizes):
        # Of the smaller steps there is one at most: two of them would be one of the larger.
        count = rest // size if index == 0 else np.where(rest >= size, 1.0, 0.0)
        yield float(size), count
        rest = rest - size * count
    yield rest, np.where(rest > 0, 1.0, 0.0)


def _cycles(
    how: Steps, steps: Iterable[tuple[Array | float, Array]], columns: Array, most: int
) -> Array:
    """Cycles of all steps for each value summed; `most` vectors of columns in a step."""
    vectors = np.ceil(columns / how.vector)
    whole, left = vectors // most, vectors % most
    cycles = np.zeros(len(columns))
    for rows, count in steps:
        cycles += count * (whole * _step(how, rows, most) + _step(how, rows, left))
    return cycles


def _full(how: Steps) -> float:
    """FLOPs of a cycle in which the unit is full."""
    return 2 * how.vector * how.per_cycle


def few(c: Columns, how: Steps) -> NDArray[np.bool_]:
    """Images of fewer channels than a block are read as they are, channel by channel."""
    return np.logical_and(c["c_in"] > 0, c["c_in"] < how.block)


def _edges(c: Columns, into: str, out: str) -> tuple[Array, Array]:
    """Of one side: pixels whose window reaches over the image's edge, and the taps beyond it.

    Windows are square; what is added to an image is as much before as behind it, or one more.
    """
    side, stride = np.sqrt(c["window"]), np.maximum(c["stride"], 1)
    inside = np.floor((c[into] - side) / stride) + 1
    edges = np.clip(c[out] - np.maximum(inside, 0), 0, c[out])
    added = np.maximum((c[out] - 1) * stride + side - c[into], 0)
    before, behind = np.floor(added / 2), np.ceil(added / 2)
    return edges, (before * (before + 1) + behind * (behind + 1)) / 2 / stride


def conv_flops(c: Columns, how: Steps) -> Array:
    """FLOPs that a convolution in blocks would do in the cycles that its steps take.

    Pixels at the edges of a line are steps of one; taps beyond an edge are passed over.
    """
    side = np.sqrt(c["window"])
    edges, beyond = _edges(c, "w_in", "w_out")
    _, above = _edges(c, "h_in", "h_out")
    at_edge = edges - np.minimum(beyond / side, edges)  # of whole windows
    steps = [(1.0, at_edge), *_ladder(c["w_out"] - edges, how.pixels)]
    cycles = _cycles(how, steps, c["n"], how.conv_vectors)
    lines = np.maximum(c["h_out"] - above / side, 1.0)
    return _full(how) * c["products"] * c["batch"] * lines * c["k"] * cycles


def vectors(c: Columns, how: Steps) -> Array:
    """FLOPs with columns filled up to whole vectors."""
    columns = np.ceil(c["n"] / how.vector) * how.vector
    return np.asarray(2 * c["products"] * c["m"] * columns * c["k"])


def passes_few(c: Columns, how: Steps) -> Array:
    """Values read and written again: a convolution goes over its output once a channel in."""
    return np.where(few(c, how), c["elements_out"] * c["c_in"], 0.0)


def gemm_flops(c: Columns, how: Steps) -> Array:
    """The same of a matrix product."""
    cycles = _cycles(how, _ladder(c["m"], how.rows), c["n"], how.gemm_vectors)
    return _full(how) * c["products"] * c["k"] * cycles


def image_flops(c: Columns, how: Steps) -> Array:
    """Of a convolution as a product: channels out as rows, an image's pixels as columns."""
    cycles = _cycles(how, _ladder(c["n"], how.rows), c["m"] / c["batch"], how.gemm_vectors)
    work = _full(how) * c["products"] * c["batch"] * c["k"] * cycles
    return np.where(c["c_in"] > 0, work, 0.0)
