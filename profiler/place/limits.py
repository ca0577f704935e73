"""The limits of this machine through the same runtime: peak FLOP/s, bandwidths, cost of a launch.

An op can be no faster than its work at the peak, its bytes at the bandwidth of the cache they fit
into, or a launch (the roofline of Williams, Waterman & Patterson 2009, with caches and launches).
The limits are measured with matrix products in each precision and with a stream of several sizes,
by the same workers as everything else (`run.machine`), and kept by machine and state (`kept`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from nnprof.errors import BadFile
from nnprof.profiler.graph import counts
from nnprof.types import OpTime


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine can do at best.

    Attributes:
        flops_per_s: of large matrix products in fp32.
        peaks: the same in other precisions, by name; those that the runtime has.
        bandwidths: (bytes moved, bytes per second), by size.
        launch_s: what a node costs that has nothing to do.
    """

    folder: ClassVar[str] = "roofline"  # of the cache, for `kept`

    flops_per_s: float
    bandwidths: tuple[tuple[int, float], ...]
    launch_s: float
    peaks: dict[str, float] = {}

    def __post_init__(self) -> None:
        """Refuse limits of no machine."""
        moved = [rate for _, rate in self.bandwidths]
        rates = [self.flops_per_s, *self.peaks.values(), *moved]
        if not moved or not all(0 < rate < math.inf for rate in rates):
            raise ValueError("peak and bandwidths must be above 0")
        if not 0 <= self.launch_s < math.inf:
            raise ValueError("launch_s must be a time")

    def limit(self, op: OpTime) -> tuple[float, str] | None:
        """Seconds that the op needs at least, and what binds it: compute, memory or launch.

        None where its work was not counted, or where it computes in a precision of which no peak is
        known.
        """
        peak = self.peak(precision_of(op))
        if peak is None or op.flops is None or op.bytes_in is None or op.bytes_out is None:
            return None
        moved = op.bytes_in + op.bytes_out + (op.bytes_weights or 0)
        if op.op in counts.VIEWS:
            return self.launch_s, "launch"
        fitting = [rate for size, rate in self.bandwidths if size >= moved]
        rate = fitting[0] if fitting else self.bandwidths[-1][1]
        return max(
            (op.flops / peak, "compute"),
            (moved / rate, "memory"),
            (self.launch_s, "launch"),
        )

    def peak(self, precision: str) -> float | None:
        """FLOP/s of products in that precision; None where it is not known."""
        return self.flops_per_s if precision == "fp32" else self.peaks.get(precision)


def precision_of(op: OpTime) -> str:
    """What an op's products are of, by its type or by the bytes of its values.

    Ops that multiply no matrices are held against the peak of fp32, which none of them comes near.
    """
    if op.op in counts.WHOLE:
        return "int8"
    if op.kind not in ("conv", "gemm"):
        return "fp32"
    sides = ((op.bytes_in, op.inputs[:1]), (op.bytes_out, op.outputs))
    sizes = [
        round(moved / values)
        for moved, shapes in sides
        if moved and (values := sum(math.prod(shape) for shape in shapes))
    ]
    return {1: "int8", 2: "fp16"}.get(min(sizes, default=4), "fp32")


def bandwidths(
    streams_s: Mapping[int, float], call_s: float, spread_s: float
) -> tuple[tuple[int, float], ...]:
    """(bytes moved, bytes per second) from seconds by bytes moved, by size.

    Sizes whose time beside the call is lost in the call's own spread are left out: they would give
    any rate, or one below 0. Smaller ops are then held against the next larger size.
    """
    least_s = max(2 * spread_s, 0.01 * call_s)
    return tuple(
        (moved, moved / (seconds - call_s))
        for moved, seconds in sorted(streams_s.items())
        if seconds - call_s > least_s
    )


def stated(environment: Mapping[str, Any]) -> Roofline | None:
    """The limits that a Run's environment states, None where it does not: the one reader of them.

    Raises:
        BadFile: what it states are no limits.
    """
    told = environment.get("roofline")
    try:
        return None if told is None else msgspec.convert(told, type=Roofline)
    except msgspec.ValidationError as error:
        raise BadFile(
            f"The Run's limits of the machine are none: {error}.", "Remove them, or measure again."
        ) from error
