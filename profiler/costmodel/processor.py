"""What features know of a processor: how a library's inner loops step over it, and its caches.

Nothing here is measured. The instruction set is that of the device's facts, and the steps of each
instruction set are those of ONNX Runtime's MLAS (2025; the numbers, not the code). Latency and
products in a cycle are taken alike for all, as x86 processors of the last years have them; a
model's fit scales both. The steps of neon are from the source and were held against no measurement:

* avx512f: `x86_64/SconvKernelAvx512F.S`, `x86_64/FgemmKernelAvx512FCommon.h`
* fma3: `x86_64/SconvKernelFma3.S`, `x86_64/FgemmKernelFma3Common.h`; processors with AVX2
* neon: `sconv_nchwc_kernel_neon.cpp`, `aarch64/SgemmKernelNeon.S`
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec


class Steps(NamedTuple):
    """How the loops of one instruction set step over convolutions in blocks and over products.

    A step holds some rows (pixels of a line, rows of a product) × vectors of the output in
    registers and adds one product to each for every value that is summed.

    Attributes:
        vector: fp32 values of a register.
        block: channels of a block of an image.
        pixels, rows: rows of a step, the largest first; what is left is one smaller step.
        conv_vectors, gemm_vectors: vectors of a step, at most.
        latency: cycles until a register is ready for the next product.
        per_cycle: products that start in a cycle.
    """

    vector: int
    block: int
    pixels: tuple[int, ...]
    conv_vectors: int
    rows: tuple[int, ...]
    gemm_vectors: int
    latency: float = 4.0
    per_cycle: float = 2.0


STEPS = {
    "avx512f": Steps(16, 16, (6, 3), 4, (12, 6), 2),
    "fma3": Steps(8, 8, (3,), 4, (6,), 2),
    "neon": Steps(4, 16, (1,), 4, (4, 2), 4),
}
# Sizes of caches that features are made for, in bytes; a cache counts as the nearest of them.
SIZES = tuple(1 << power for power in range(18, 30))
Streams = tuple[tuple[int, float], ...]


class Processor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The kind of processor that a model is of.

    Attributes:
        steps: which of `STEPS` its instruction set has, "" for any other.
        library: whose code runs on it, where its loops are known to take these steps; "" where
            nobody described the code.
        caches: bytes beyond which a stream through memory is slower, smallest first, as `SIZES`
            has them; empty where neither the device nor a measurement tells.
        beyond_s: what a byte beyond each of them costs more than one within, seconds; empty where
            that was not measured.
    """

    steps: str = ""
    library: str = ""
    caches: tuple[int, ...] = ()
    beyond_s: tuple[float, ...] = ()

    def levels(self) -> tuple[int, ...]:
        """Sizes at which features look for what no longer fits into a cache.

        Around the first cache, and a quarter of each larger one, of which others have their part
        (chosen on Runs of Intel and AMD processors with AVX-512; docs/cost-model-history.md).
        """
        if not self.caches:
            return _USUAL
        first, *more = self.caches
        around = (first / 2, first, first * 2, *(size / 4 for size in more), *more)
        return tuple(sorted({nearest(size) for size in around}))


UNKNOWN = Processor()
_USUAL = (1 << 20, 4 << 20, 32 << 20)  # of caches, where nothing is known
_SLOWER = 1.1  # times a bandwidth, at which a larger stream has left a cache


def translated(feature: str, was: Processor, now: Processor) -> str:
    """The feature that says of one processor what the given one says of another.

    Steps become those of its instruction set; the size of a cache the one that comes at the same
    place, or the last.
    """
    stem, _, end = feature.rpartition("_")
    if was.steps and end == was.steps and now.steps:
        return f"{stem}_{now.steps}"
    old, new = ([words(size) for size in one.levels()] for one in (was, now))
    if stem.endswith(("missed", "past")) and end in old:
        return f"{stem}_{new[min(old.index(end), len(new) - 1)]}"
    return feature


def of_device(device: Mapping[str, Any], library: str, streams: Streams = ()) -> Processor:
    """The processor that these facts of a device describe, running that library's code.

    With measured streams, (bytes moved, bytes per second), a cache is where they say that one ends:
    between a size and the next at which the rate is lower. It is the cache of the facts that lies
    there, or the middle of the two sizes: what a processor shares with others, or a virtual machine
    has a part of, is smaller than its facts say.
    """
    steps = steps_of(device.get("extensions") or (), str(device.get("architecture") or ""))
    caches = _caches(device.get("caches") or {})
    if not streams:
        return Processor(steps, library, caches)
    ends: dict[int, float] = dict.fromkeys(caches[:1], 0.0)
    for low, high, more_s in _slower(streams):
        middle = nearest(math.sqrt(low * high))
        end = next((size for size in caches if low <= size < high), middle)
        ends[end] = ends.get(end, 0.0) + more_s
    return Processor(steps, library, tuple(ends), tuple(ends.values()))


def _slower(streams: Streams) -> list[tuple[int, int, float]]:
    """(size, next size, seconds that a byte costs more) at each step down of measured streams.

    The smallest sizes say how fast a call is, not memory: no step starts before the fastest.
    """
    at = max(range(len(streams)), key=lambda index: streams[index][1], default=0)
    return [
        (low, high, 1 / beyond - 1 / within)
        for (low, within), (high, beyond) in pairwise(streams[at:])
        if beyond < within / _SLOWER
    ]


def steps_of(extensions: Sequence[str], architecture: str = "") -> str:
    """Which of `STEPS` MLAS takes on a processor with these extensions; "" for any other."""
    if "avx512f" in extensions:
        return "avx512f"
    if "avx2" in extensions and "fma" in extensions:
        return "fma3"
    arm = architecture in ("aarch64", "arm64") or "asimd" in extensions
    return "neon" if arm else ""


def _caches(sizes: Mapping[str, Any]) -> tuple[int, ...]:
    """Bytes of the caches behind the first, as the nearest of `SIZES`."""
    found = [
        int(number) << {"K": 10, "M": 20}[unit]
        for name, size in sizes.items()
        if not name.startswith("L1")
        for number, unit in re.findall(r"^(\d+)([KM])$", str(size))
    ]
    return tuple(sorted({nearest(size) for size in found if size > 0}))


def nearest(size: float) -> int:
    """Of `SIZES` the nearest, in the logarithm."""
    return min(SIZES, key=lambda one: abs(math.log(one / size)))


def words(size: int) -> str:
    """A size as features' names have it: 512k, 4m."""
    return f"{size >> 20}m" if size >= 1 << 20 else f"{size >> 10}k"
