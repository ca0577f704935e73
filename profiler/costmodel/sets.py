"""Candidate sets of features, by kind of op: what `fit` chooses from.

For GPUs as the literature has them (reference: Jia et al., CoDL, MobiSys 2022; NVIDIA's Matrix
Multiplication Background guide). Where the code is known, its features.
"""

from __future__ import annotations

from nnprof.profiler.costmodel import features
from nnprof.profiler.graph import counts

MOVING = ("other", "reorder", "view")  # kinds that compute next to nothing
_VIEWS = frozenset(name.lower() for name in counts.VIEWS)
_A1 = ("launch", "tiles", "flops", "bytes_in", "bytes_out", "bytes_weights")
_A2 = ("launch", "tiles", "flops_1x1", "flops_3x3", "flops_wide", "bytes_in", "bytes_out",
       "bytes_weights", "im2col")  # fmt: skip
_TILED = tuple(f"{kind}_{m}x{n}" for kind in ("tiles", "image_tiles") for m, n in features.TILES)
_TILED_GEMM = tuple(f"tiles_{m}x{n}" for m, n in features.TILES)
_OUT_PAST = tuple(f"bytes_out_past_{mib}m" for mib in features.PAST_MIB)
_MOVED_PAST = tuple(f"bytes_moved_past_{mib}m" for mib in features.PAST_MIB)
_WEIGHTS_MISSED = tuple(name for name in features.MISSED if "weights" in name)
_OUT_MISSED = tuple(name for name in features.MISSED if "out" in name)
_ROWS = ("launch", "gemm_steps", "bytes_in", "bytes_out")
_BLOCKS = ("launch", "conv_steps", "conv_steps_few", "bytes_in", "bytes_out")
_PLAIN = ("launch", "bytes_in", "bytes_out")
_LINES = ("launch", "image_lines", "bytes_in", "bytes_out")
_GEMM = ("launch", "flops", "bytes_in", "bytes_out", "bytes_weights")
SETS: dict[str, tuple[tuple[str, ...], ...]] = {
    "conv": (
        _A1,
        _A2,
        (*_A2, *_TILED, "serial"),
        (*_A2, *_TILED, "serial", "winograd2", "winograd4", *_OUT_PAST),
    ),
    # The code is known, so there is one set; it was chosen on 40 networks measured for that.
    "conv-blocked": ((*_BLOCKS, "vectors_few", "passes_few", *_OUT_MISSED),),
    # Transformed, multiplied, transformed back (Lavin & Gray 2016; Jia et al., CoDL).
    "conv-winograd": (
        ("launch", "winograd4", "bytes_in", "bytes_out", "bytes_weights"),
        (*_A2, *_TILED, "serial", "winograd4"),
    ),
    # Unfolded and multiplied, image by image.
    "conv-plain": (
        ("launch", "flops", "im2col"),
        ("launch", "image_steps", "im2col"),
        ("launch", "tiles", "image_steps", "im2col", "bytes_in", "bytes_out", "bytes_weights"),
    ),
    "gemm": (_GEMM, (*_GEMM, "serial", *_TILED_GEMM)),
    "pool": (
        _PLAIN,
        (*_PLAIN, "taps", "image_lines"),
        (*_PLAIN, "taps", "image_lines", "tiles", *_MOVED_PAST),
    ),
    "other": (
        ("launch", "bytes_moved"),
        _PLAIN,
        (*_PLAIN, *_MOVED_PAST),
        (*_PLAIN, "values", "tiles", *_MOVED_PAST),
    ),
    # Copies into blocks of channels and out of them.
    "reorder": (
        ("launch", "bytes_moved"),
        (*_PLAIN, "bytes_out_ragged"),
        (*_PLAIN, "bytes_out_ragged", *_MOVED_PAST),
    ),
    "view": (("launch",),),
}
# Of code that is known: instead of `SETS`, by library. One set, for to choose costs more than it
# gains: of four training Runs of our own, cross-validation took a worse one for products in two.
_KNOWN_SETS = {
    "mlas": {
        "gemm": ((*_ROWS, *_WEIGHTS_MISSED),),
        # A loop over the lines of every channel (`pooling.cpp`).
        "pool": (_LINES,),
    },
}
# What few rows are fitted with where the first set would count an amount twice.
_FEW = {"conv-blocked": (_BLOCKS, _A1), "gemm": (_GEMM,)}


def sets_of(kind: str, library: str = "") -> tuple[tuple[str, ...], ...]:
    """The candidate sets of a kind of ops, simplest first, for a library's code if it is known."""
    return _KNOWN_SETS.get(library, {}).get(kind, SETS[kind])


def few_of(kind: str, library: str = "") -> tuple[tuple[str, ...], ...]:
    """What few rows are fitted with: the first of these that loses no FLOPs."""
    return _FEW.get(kind, sets_of(kind, library)[:1])


def kind_of(group: str) -> str:
    """Which of `SETS` a group has."""
    if group in SETS:
        return group
    if group.startswith(("conv", "gemm")):
        return group[:4]
    if group in _VIEWS:
        return "view"
    if group.startswith("reorder"):
        return "reorder"
    return "pool" if "pool" in group else "other"


def computes(group: str) -> bool:
    """Whether a group's work is multiplications, not moving values."""
    return group.startswith(("conv", "gemm"))
