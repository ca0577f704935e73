"""Candidate sets of features, by kind of op: what `fit` chooses from.

For GPUs as the literature has them (reference: Jia et al., CoDL, MobiSys 2022; NVIDIA's Matrix
Multiplication Background guide). Where the code is known, its features.
"""

from __future__ import annotations

from functools import lru_cache

from nnprof.profiler.costmodel import features
from nnprof.profiler.costmodel.processor import UNKNOWN, Processor, words
from nnprof.profiler.graph import counts, opgraph

MOVING = ("other", "reorder", "view")  # kinds that compute next to nothing
_RECURRENT = frozenset(name.lower() for name in opgraph.ops_of("recurrent"))
_VIEWS = frozenset(name.lower() for name in counts.VIEWS)
_A1 = ("launch", "tiles", "flops", "bytes_in", "bytes_out", "bytes_weights")
_A2 = ("launch", "tiles", "flops_1x1", "flops_3x3", "flops_wide", "bytes_in", "bytes_out",
       "bytes_weights", "im2col")  # fmt: skip
_TILED = tuple(f"{kind}_{m}x{n}" for kind in ("tiles", "image_tiles") for m, n in features.TILES)
_TILED_GEMM = tuple(f"tiles_{m}x{n}" for m, n in features.TILES)
_KINDS = ("conv", "conv-blocked", "conv-winograd", "conv-plain", "gemm", "pool", "other", "reorder",
          "view")  # fmt: skip
_PLAIN = ("launch", "bytes_in", "bytes_out")
_LINES = ("launch", "image_lines", "bytes_in", "bytes_out")
_GEMM = ("launch", "flops", "bytes_in", "bytes_out", "bytes_weights")
_WINOGRAD = ("launch", "winograd4", "bytes_in", "bytes_out", "bytes_weights")
Sets = tuple[tuple[str, ...], ...]


@lru_cache
def sets_of(kind: str, processor: Processor = UNKNOWN) -> Sets:
    """The candidate sets of a kind of ops, simplest first, on a processor.

    Of code that is known there is one set, for to choose costs more than it gains: of four training
    Runs of our own, cross-validation took a worse one for products in two.
    """
    if processor.steps:
        found = _known(kind, processor) if processor.library else _vectors(kind, processor)
        return found or _general(kind, processor)
    return _general(kind, processor)


def _vectors(kind: str, processor: Processor) -> Sets:
    """Sets of code that nobody described, on a processor: whole vectors, no tiles of a GPU."""
    whole = f"vectors_{processor.steps}"
    moved = ("bytes_in", "bytes_out")
    found: dict[str, Sets] = {
        "conv": (_A1, ("launch", "tiles", whole, f"vectors_few_{processor.steps}", *moved), _A2),
        "gemm": (_GEMM, ("launch", whole, *moved, "bytes_weights"), _GEMM),
    }
    return found.get(kind, ())


def _general(kind: str, processor: Processor) -> Sets:
    """Sets of code that nobody described."""
    past = tuple(f"bytes_moved_past_{words(size)}" for size in processor.levels())
    out_past = tuple(f"bytes_out_past_{words(size)}" for size in processor.levels())
    every = (*_A2, *_TILED, "serial")
    found: dict[str, Sets] = {
        "conv": (_A1, _A2, every, (*every, "winograd2", "winograd4", *out_past)),
        # Transformed, multiplied, transformed back (Lavin & Gray 2016; Jia et al., CoDL).
        "conv-winograd": (_WINOGRAD, (*every, "winograd4")),
        # Unfolded and multiplied, image by image.
        "conv-plain": (("launch", "flops", "im2col"), (*_A1, "im2col")),
        "gemm": (_GEMM, (*_GEMM, "serial", *_TILED_GEMM)),
        "pool": (
            _PLAIN,
            (*_PLAIN, "taps", "image_lines"),
            (*_PLAIN, "taps", "image_lines", "tiles", *past),
        ),
        # Copies into blocks of channels and out of them.
        "reorder": (
            ("launch", "bytes_moved"),
            (*_PLAIN, "bytes_out_ragged"),
            (*_PLAIN, "bytes_out_ragged", *past),
        ),
        "view": (("launch",),),
        # Each step waits for the one before: a product, and activations of every value.
        "recurrent": (("launch", "steps", "flops", "values"),),
    }
    other = (
        ("launch", "bytes_moved"),
        _PLAIN,
        (*_PLAIN, *past),
        (*_PLAIN, "values", "tiles", *past),
    )
    return found.get(kind, found["conv"] if kind.startswith("conv") else other)


def _known(kind: str, processor: Processor) -> Sets:
    """Sets of the code of a library whose steps are known; none for kinds without such code."""
    called = processor.steps
    weights = tuple(f"weights_missed_{words(size)}" for size in processor.levels())
    out = tuple(f"bytes_out_missed_{words(size)}" for size in processor.levels())
    image = ("launch", f"image_steps_{called}", "im2col")
    found: dict[str, Sets] = {
        "conv-blocked": (
            (*_blocks(called), f"vectors_few_{called}", f"passes_few_{called}", *out),
        ),
        "conv-plain": (
            ("launch", "flops", "im2col"),
            image,
            (*image, "tiles", "bytes_in", "bytes_out", "bytes_weights"),
        ),
        "gemm": (("launch", f"gemm_steps_{called}", "bytes_in", "bytes_out", *weights),),
        # A loop over the lines of every channel (`pooling.cpp`).
        "pool": (_LINES,),
    }
    return found.get(kind, ())


def _blocks(called: str) -> tuple[str, ...]:
    return ("launch", f"conv_steps_{called}", f"conv_steps_few_{called}", "bytes_in", "bytes_out")


def whole_of(kind: str, processor: Processor = UNKNOWN) -> Sets:
    """The candidate sets where no op was timed, only networks as wholes.

    The batch in whole tiles from the first set on, where nothing is known of the code: chosen on
    products by batch on GPUs (DeepBench), networks of other boards, and a written model of tiles.
    """
    if kind != "gemm" or processor.steps:
        return sets_of(kind, processor)
    tiled = (*_GEMM, *(f"batch_tiles_{rows}" for rows in features.BATCH_TILES))
    return tiled, (*tiled, "serial", *_TILED_GEMM)


def few_of(kind: str, processor: Processor = UNKNOWN) -> Sets:
    """What few rows are fitted with: the first of these that loses no FLOPs.

    Where the first set would count an amount twice, it is not that.
    """
    if kind == "conv-blocked" and processor.steps and processor.library:
        return (_blocks(processor.steps), _A1)
    return (_GEMM,) if kind == "gemm" else sets_of(kind, processor)[:1]


def kind_of(group: str) -> str:
    """Which kind of sets a group has."""
    if group in _KINDS:
        return group
    if group.startswith(("conv", "gemm")):
        return group[:4]
    if group in _RECURRENT:
        return "recurrent"
    if group in _VIEWS:
        return "view"
    if group.startswith("reorder"):
        return "reorder"
    return "pool" if "pool" in group else "other"


def computes(group: str) -> bool:
    """Whether a group's work is multiplications, not moving values."""
    return group.startswith(("conv", "gemm"))
