"""Which kernel a library runs, where its source tells: ops of one kernel are one group.

TensorFlow Lite's GPU delegate ("tflite-gpu"):

* Images are kept in slices of four channels, the last one filled up (`common/convert.h`, PHWC4).
* A 1×1 convolution of 1×1 images is a fully connected layer
  (`common/transformations/make_fully_connected.cc`): group gemm.
* 3×3 convolutions of stride 1 without groups are Winograd's F(4×4, 3×3) where channels in and out,
  in slices of four, and tiles of 4×4 are many enough (`IsRecommendedForWinograd4x4To6x6` in
  `common/selectors/operation_selector.cc`): group conv-winograd. Adreno needs more of both.

The names that the profiler of the delegate gave 22,806 convolutions on six phones agree with these
rules in all but 24, which are fused with the depthwise convolution before them on Apple's GPUs
(`common/tasks/special/depthwise_conv_plus_1x1_conv.cc`); for that there is no rule here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnprof import registry
from nnprof.profiler.costmodel.work import Work
from nnprof.types import Target

# Slices of channels and tiles from which a convolution is Winograd's, by lowering.
_WINOGRAD = {"tflite-gpu": (16, 32), "tflite-gpu-adreno": (32, 128)}
RULES = tuple(_WINOGRAD)
_SLICE, _TILE = 4, 4
BLOCKS = {"blocked8": 8, "blocked16": 16}  # channels of a block, by lowering
_ALIGNED = 4  # channels that do not divide by this cannot be copied into blocks


def lowering_of(target: Target) -> str:
    """The rules of a target whose library picks kernels in a known way, "" of any other."""
    if target.backend != "tflite-gpu":
        return ""
    return "tflite-gpu-adreno" if "adreno" in target.device.lower() else "tflite-gpu"


def library_of(target: Target) -> str:
    """Whose code runs on the target, where its backend says, "" of any other (`sets.sets_of`)."""
    if target.on != "cpu" or target.backend not in registry.names("backend"):
        return ""
    return str(getattr(registry.find("backend", target.backend), "library", ""))


def block_of(extensions: Sequence[str]) -> int:
    """Channels of a block of images on a processor with these extensions, in MLAS.

    `NchwcBlockSize` in `onnxruntime/core/mlas/lib/platform.cpp`: 16 with AVX-512F and on Arm, 8 on
    every other x86.
    """
    other_x86 = "sse4_2" in extensions and "avx512f" not in extensions
    return 8 if other_x86 else 16


def picked(one: Work, lowering: str) -> Work:
    """The op in the group of the kernel that runs it; as it is without rules for it."""
    least = _WINOGRAD.get(lowering)
    if least is None or one.group != "conv":
        return one
    c_in, c_out = (_SLICE * math.ceil(one_ / _SLICE) for one_ in (one.c_in, one.c_out))
    one = with_channels(one, c_in, c_out) if one.groups == 1 else one
    if one.window == 1 and one.h_in == one.w_in == 1:
        return one._replace(group="gemm")
    slices = min(c_in, c_out) // _SLICE
    tiles = math.ceil(one.h_out / _TILE) * math.ceil(one.w_out / _TILE)
    three = one.window == 9 and one.stride == 1 and one.groups == 1
    if three and slices >= least[0] and tiles >= least[1]:
        return one._replace(group="conv-winograd")
    return one


def with_channels(one: Work, c_in: float, c_out: float) -> Work:
    """A convolution with its channels filled up to so many."""
    more_in, more_out = c_in / one.c_in, c_out / one.c_out
    return one._replace(
        c_in=c_in, c_out=c_out, n=one.n * more_out, k=one.k * more_in,
        flops=one.flops * more_in * more_out, bytes_in=one.bytes_in * more_in,
        bytes_out=one.bytes_out * more_out, bytes_weights=one.bytes_weights * more_in * more_out,
        elements_out=one.elements_out * more_out,
    )  # fmt: skip


def padded(channels: int, block: int) -> int:
    """Channels in whole blocks of that width."""
    return -(-channels // block) * block


def stays_plain(channels: int, block: int) -> bool:
    """Whether a convolution of so many channels in cannot run in blocks of that width."""
    return channels >= block and channels % _ALIGNED > 0


def plainly(one: Work) -> Work:
    """An op that does not run in blocks where others do; it runs other code."""
    return one._replace(group=f"{one.group}-plain")
