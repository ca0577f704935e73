"""The limits of this machine through the same runtime: peak FLOP/s, bandwidths, cost of a launch.

An op can be no faster than its work at the peak, its bytes at the bandwidth of the cache they fit
into, or a launch (the roofline of Williams, Waterman & Patterson 2009, with caches and launches).
The limits are measured with matrix products in each precision and with a stream of several sizes,
by the same workers as everything else, and kept by the machine and its state (`kept`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from nnprof.errors import BadFile, NnprofError, UsageError
from nnprof.exporters.int8 import ANYWHERE, Form
from nnprof.profiler import counts, kept
from nnprof.types import Model, OpTime, Plan, Target, Workload

_LOG = logging.getLogger(__name__)
# Values of float32 that the stream reads, and writes as many: from L1 to beyond any last cache.
_STREAMS = (1 << 12, 1 << 16, 1 << 19, 1 << 22, 1 << 25, 1 << 27)
_SIDE = 1024  # of the products' square matrices
_PRODUCTS = 5  # of a chain: one alone has what goes in and comes out beside it
_PROCESSES = 3
_PLAN = Plan(sample_s=0.4, warmup_s=0.1, op_method="none")
_LIMIT_S = 120.0


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine can do at best.

    Attributes:
        flops_per_s: of large matrix products in fp32.
        peaks: the same in other precisions, by name; those that the runtime has.
        bandwidths: (bytes moved, bytes per second), by size.
        launch_s: what a node costs that has nothing to do.
    """

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


def measure(target: Target, form: Form = ANYWHERE) -> Roofline:
    """Measure the limits of a target, int8 in that form; takes about a minute.

    Raises:
        NnprofError: the target is not here, or its clock does not tell a product or any stream from
            an empty call.
    """
    from nnprof.exporters.onnx import chain_model, identity_model, stream_model
    from nnprof.profiler.worker import CHAIN

    ones_s = _times_s(identity_model(), target)
    launch_s = max((min(_times_s(chain_model(CHAIN), target)) - min(ones_s)) / (CHAIN - 1), 0.0)
    call_s = min(ones_s) - launch_s
    peaks = _peaks(target, form)
    streams_s = {2 * 4 * one: min(_times_s(stream_model(one), target)) for one in _STREAMS}
    rates = bandwidths(streams_s, call_s, max(ones_s) - min(ones_s))
    if "fp32" not in peaks or not rates:
        what = "a matrix product" if "fp32" not in peaks else "any stream"
        raise UsageError(
            f"The limits cannot be measured: {what} took no longer than an empty call.",
            "Measure again when nothing else runs.",
        )
    return Roofline(flops_per_s=peaks.pop("fp32"), bandwidths=rates, launch_s=launch_s, peaks=peaks)


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


def _peaks(target: Target, form: Form) -> dict[str, float]:
    """FLOP/s by precision, from the products that a long chain has more than a single one.

    Precisions that the runtime refuses are left out, as are those of which the chain was no slower.
    """
    from nnprof.exporters.precision import PRECISIONS
    from nnprof.exporters.products import product_model

    found = {}
    for precision in PRECISIONS:
        try:
            one_s, all_s = (
                min(_times_s(product_model(_SIDE, count, precision, form), target))
                for count in (1, _PRODUCTS)
            )
        except NnprofError as error:
            if precision == "fp32":
                raise
            _LOG.info("limits: no peak of %s: %s", precision, error.reason)
            continue
        if all_s > one_s:
            found[precision] = (_PRODUCTS - 1) * 2 * _SIDE**3 / (all_s - one_s)
    return found


def _times_s(model: Model, target: Target) -> list[float]:
    """Medians of a few fresh processes. A limit is the fastest: what was reached, not the usual."""
    from nnprof.exporters.onnx import chain_model, identity_model
    from nnprof.profiler import hosts
    from nnprof.profiler.worker import CHAIN, Measure, Measured

    job = Measure(
        workload=Workload(model=model, batch=model.fixed_batch or 1, precision=model.precision),
        target=target,
        plan=_PLAN,
        floor=identity_model(),
        chain=chain_model(CHAIN),
        ops=False,
    )
    _LOG.info("limits: the fastest of %d processes, %s", _PROCESSES, model.name)
    times = []
    for _ in range(_PROCESSES):
        answer = hosts.run(job, _LIMIT_S)
        assert isinstance(answer, Measured)  # noqa: S101  a worker answers in kind
        times.append(median(answer.samples_s))
    return times


def save(limits: Roofline, environment: Mapping[str, Any], target: Target) -> Path:
    """Keep the limits for this machine in its state."""
    return kept.save("roofline", limits, environment, target)


def load(environment: Mapping[str, Any], target: Target) -> tuple[Roofline | None, str]:
    """The limits that were kept for this machine in its state, and why there are none (`kept`)."""
    return kept.load("roofline", Roofline, environment, target)


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
