"""Physical amounts of work, one function each: an op's numbers → FLOPs, bytes, tiles, launches.

A feature takes the columns of `work.COLUMNS` as arrays, one entry per op, and gives one array. It
is total over the inference (the batch is inside). What a coefficient of a feature means is its
unit: the reciprocal of seconds per FLOP is FLOP/s.

Sources: the features of `mattsson2016_…` are equations 14-18 of Mattsson 2016. Ceil-tile work:
"tile quantization" in NVIDIA's Matrix Multiplication Background guide, and Jia et al., CoDL,
MobiSys 2022. Winograd tiles: Lavin & Gray 2016. Steps of vector units: `processor.STEPS`, one
feature for each instruction set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.costmodel import vector_steps
from nnprof.profiler.costmodel.processor import SIZES, STEPS, Steps, words

Array = NDArray[np.float64]
Columns = Mapping[str, Array]

# Rows × columns of the tiles that libraries cut products into.
TILES = ((128, 32), (128, 64), (128, 128), (32, 32))
# Rows alone: a product's time is flat until the batch fills a tile, and the weights are read again
# for the next ("tile quantization", as above).
BATCH_TILES = (32, 64, 128)
# What the rest of a network drives out of a cache, by feature: the column, and the cache's bytes.
MISSED = {f"weights_missed_{words(size)}": ("bytes_weights", size) for size in SIZES}
MISSED |= {f"bytes_out_missed_{words(size)}": ("bytes_out", size) for size in SIZES}


class Feature(NamedTuple):
    """A function of the columns, the unit that it counts, and what it is in words.

    `resource` is what the audit holds it against: "flop", "byte" or "" for neither; one unit is
    `amount` FLOPs or bytes.
    """

    unit: str
    words: str
    of: Callable[[Columns], Array]
    resource: str = ""
    amount: float = 1.0


def _flops(words: str, of: Callable[[Columns], Array]) -> Feature:
    return Feature("flop", words, of, "flop")


def _bytes(words: str, of: Callable[[Columns], Array]) -> Feature:
    return Feature("byte", words, of, "byte")


def _ceil(value: Array, tile: int) -> Array:
    return np.ceil(value / tile) * tile


def _tiles(rows: int, columns: int) -> Feature:
    """FLOPs of a matrix product that is cut into whole tiles."""
    return _flops(
        f"FLOPs in whole tiles of {rows}×{columns}",
        lambda c: 2 * c["products"] * _ceil(c["m"], rows) * _ceil(c["n"], columns) * c["k"],
    )


def _batch_tiles(rows: int) -> Feature:
    """The same with whole tiles of the rows alone."""
    return _flops(
        f"FLOPs in whole tiles of {rows} rows",
        lambda c: 2 * c["products"] * _ceil(c["m"], rows) * c["n"] * c["k"],
    )


def _image_tiles(rows: int, columns: int) -> Feature:
    """The same where each tile of the batch is cut by itself, as convolutions often are."""

    def count(c: Columns) -> Array:
        each = _ceil(c["m"] / c["batch"], rows)
        return 2 * c["products"] * c["batch"] * each * _ceil(c["n"], columns) * c["k"]

    return _flops(f"FLOPs in whole tiles of {rows}×{columns}, image by image", count)


def _past(size: int) -> dict[str, Feature]:
    """Bytes that do not fit into a cache of that size."""
    called = words(size)

    def moved(c: Columns) -> Array:
        return np.maximum(c["bytes_in"] + c["bytes_out"] - size, 0.0)

    return {
        f"bytes_out_past_{called}": _bytes(
            f"bytes written beyond {_size(size)}", lambda c: np.maximum(c["bytes_out"] - size, 0.0)
        ),
        f"bytes_moved_past_{called}": _bytes(f"bytes read and written beyond {_size(size)}", moved),
    }


def _size(size: int) -> str:
    """A size in words."""
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def missed(name: str, touched: Array, amount: Array) -> Array:
    """Bytes that are no longer in a cache when an inference comes to them again.

    All are there while one inference touches no more than the cache holds, and none when it touches
    twice as much; between, so much of them is missing as it touches more than the cache.
    """
    size = float(MISSED[name][1])
    return np.asarray(amount * np.clip((touched - size) / size, 0.0, 1.0))


def _missed(name: str) -> Feature:
    column, size = MISSED[name]
    what = "of weights" if column == "bytes_weights" else "written"
    return _bytes(
        f"bytes {what} that the network drives out of {_size(size)}",
        lambda c: missed(name, c["touched"], c[column]),
    )


def _image_lines(c: Columns) -> Array:
    """Lines of every channel of an image."""
    return _where(c["c_out"] > 0, c["batch"] * c["c_out"] * c["h_out"])


_LINE = 64  # bytes of a cache line


def _ragged(c: Columns) -> Array:
    """Bytes written where a channel's plane is no whole number of lines: its ends are shared."""
    plane = c["h_out"] * c["w_out"] * c["bytes_out"] / np.maximum(c["elements_out"], 1)
    return _where(plane % _LINE > 0, c["bytes_out"])


def _winograd(side: int) -> Feature:
    """FLOPs of the products of Winograd's F(side×side, 3×3): (side + 2)² per tile of the output."""

    def count(c: Columns) -> Array:
        tiles = c["batch"] * np.ceil(c["h_out"] / side) * np.ceil(c["w_out"] / side)
        work = 2 * tiles * (side + 2) ** 2 * c["c_in"] * c["c_out"] / c["groups"]
        return np.where(_three(c), work, 0.0)

    # Fewer than the FLOPs of the convolution, which the audit counts.
    return Feature("flop", f"FLOPs of Winograd's F({side}×{side}, 3×3)", count)


def _stepped(name: str, how: Steps) -> dict[str, Feature]:
    """The features of one instruction set's loops."""
    conv = f"{how.pixels[0]} pixels × {how.conv_vectors * how.vector} channels"
    gemm = f"{how.rows[0]}×{how.gemm_vectors * how.vector}"
    return {
        f"conv_steps_{name}": _flops(
            f"FLOPs in whole steps of {conv}, from {how.block} channels in",
            lambda c: _where(c["c_in"] >= how.block, vector_steps.conv_flops(c, how)),
        ),
        f"conv_steps_few_{name}": _flops(
            f"FLOPs in whole steps of {conv}, fewer channels in",
            lambda c: _where(vector_steps.few(c, how), vector_steps.conv_flops(c, how)),
        ),
        f"vectors_few_{name}": _flops(
            f"FLOPs in whole vectors of {how.vector} channels, fewer than {how.block} channels in",
            lambda c: _where(vector_steps.few(c, how), vector_steps.vectors(c, how)),
        ),
        f"passes_few_{name}": Feature(
            "value",
            "values summed up, channel in by channel in",
            lambda c: vector_steps.passes_few(c, how),
        ),
        f"gemm_steps_{name}": _flops(
            f"FLOPs in whole steps of {gemm}", lambda c: vector_steps.gemm_flops(c, how)
        ),
        f"image_steps_{name}": _flops(
            f"FLOPs in whole steps of {gemm}, image by image",
            lambda c: vector_steps.image_flops(c, how),
        ),
        f"vectors_{name}": _flops(
            f"FLOPs in whole vectors of {how.vector} columns",
            lambda c: vector_steps.vectors(c, how),
        ),
    }


# --- the rest -------------------------------------------------------------------------------------


def _one(c: Columns) -> NDArray[np.bool_]:
    return np.equal(c["window"], 1)


def _three(c: Columns) -> NDArray[np.bool_]:
    return np.equal(c["window"], 9) & np.equal(c["stride"], 1)


def _where(condition: NDArray[np.bool_], value: Array) -> Array:
    return np.where(condition, value, 0.0)


def _im2col(c: Columns) -> Array:
    size = c["bytes_out"] / np.maximum(c["elements_out"], 1)
    return _where(~_one(c), size * c["m"] * c["k"] * c["products"])


FEATURES: dict[str, Feature] = {
    "launch": Feature("launch", "one per op", lambda c: np.ones_like(c["batch"])),
    "tiles": Feature("tile", "image tiles", lambda c: c["batch"]),
    "serial": Feature("step", "values summed one after the other", lambda c: c["k"]),
    "steps": Feature("step", "steps of a sequence, one after the other", lambda c: c["k"]),
    "values": Feature("value", "values made", lambda c: c["elements_out"]),
    "taps": Feature("value", "values looked at", lambda c: c["flops"]),
    "flops": _flops("FLOPs", lambda c: c["flops"]),
    "flops_1x1": _flops("FLOPs, kernel 1×1", lambda c: _where(_one(c), c["flops"])),
    "flops_3x3": _flops("FLOPs, 3×3 of stride 1", lambda c: _where(_three(c), c["flops"])),
    "flops_wide": _flops("FLOPs, other", lambda c: _where(~_one(c) & ~_three(c), c["flops"])),
    "bytes_in": _bytes("bytes read", lambda c: c["bytes_in"]),
    "bytes_out": _bytes("bytes written", lambda c: c["bytes_out"]),
    "bytes_weights": _bytes("bytes of weights", lambda c: c["bytes_weights"]),
    "bytes_moved": _bytes("bytes read and written", lambda c: c["bytes_in"] + c["bytes_out"]),
    "im2col": _bytes("bytes of unfolded windows", _im2col),
    **{f"tiles_{m}x{n}": _tiles(m, n) for m, n in TILES},
    **{f"image_tiles_{m}x{n}": _image_tiles(m, n) for m, n in TILES},
    **{name: one for kind, how in STEPS.items() for name, one in _stepped(kind, how).items()},
    **{name: _missed(name) for name in MISSED},
    "bytes_out_ragged": _bytes("bytes written in planes of no whole cache lines", _ragged),
    "image_lines": Feature("line", "lines made, of every channel", _image_lines),
    **{name: one for size in SIZES for name, one in _past(size).items()},
    "winograd2": _winograd(2),
    "winograd4": _winograd(4),
    **{f"batch_tiles_{rows}": _batch_tiles(rows) for rows in BATCH_TILES},
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
        "flop",
        2.0,
    ),
    "mattsson2016_out": Feature(
        "element",
        "tiles × depth × output size² from the second ConvLayer (eq. 15)",
        lambda c: _where(c["nth"] > 1, c["batch"] * c["c_out"] * c["h_out"] * c["w_out"]),
        "byte",
        4.0,
    ),
    "mattsson2016_in": Feature(
        "element",
        "tiles × depth × input size² from the second ConvLayer (eq. 16)",
        lambda c: _where(c["nth"] > 1, c["batch"] * c["c_out"] * c["h_in"] * c["w_in"]),
        "byte",
        4.0,
    ),
    "mattsson2016_pool": Feature(
        "element",
        "tiles × depth × size² of 1×1 pools (eq. 17)",
        lambda c: _where(_one(c), c["batch"] * c["c_in"] * c["h_in"] * c["w_in"]),
        "byte",
        8.0,  # each value is read and written
    ),
    "mattsson2016_depth2": Feature(
        "depth² × pixel",
        "tiles × depth² × output size² from the second ConvLayer (eq. 18)",
        lambda c: _where(c["nth"] > 1, c["batch"] * c["c_out"] ** 2 * c["h_out"] * c["w_out"]),
        "flop",
        50.0,  # a kernel of 5×5, multiplications and additions
    ),
}


def matrix(names: tuple[str, ...], columns: Columns) -> Array:
    """Ops × features."""
    count = len(next(iter(columns.values())))
    result = np.empty((count, len(names)))
    for index, name in enumerate(names):
        result[:, index] = FEATURES[name].of(columns)
    return result


# --- beyond what was measured ---------------------------------------------------------------------

MATTERS = 0.10  # of an op's time; terms with less are not spoken of
PRIOR_SD = 0.7  # of the logarithm of a coefficient that no measurement tells
UNTOLD = 1.645 * PRIOR_SD  # what 90 % of them are off by


def beyond(amounts: Array, parts: Array, most: Array) -> Array:
    """Ops × terms: times the most that was measured, 0 for terms that do not matter to the op.

    From the amounts of the features and the seconds of each part, ops × terms; and the most of each
    feature in what was measured, 0 where there was none.
    """
    matters = parts > MATTERS * parts.sum(axis=1, keepdims=True)
    return np.where(matters & (most > 0), amounts / np.where(most > 0, most, 1.0), 0.0)


def octaves(amounts: Array, parts: Array, most: Array) -> Array:
    """Of each op: doublings beyond the measurements, of the term that leaves them the farthest."""
    return np.asarray(np.log2(beyond(amounts, parts, most).max(axis=1, initial=1.0)))


def untold(parts: Array, most: Array) -> Array:
    """What is added to the logarithm of an op's interval for terms that only a prior tells."""
    share = parts[:, most <= 0].sum(axis=1) / np.maximum(parts.sum(axis=1), 1e-12)
    return np.asarray(UNTOLD * share)
