"""The limits of this machine through the same runtime: peak FLOP/s, bandwidths, cost of a launch.

An op can be no faster than its work at the peak, its bytes at the bandwidth of the cache they fit
into, or a launch (the roofline of Williams, Waterman & Patterson 2009, with caches and launches).
The limits are measured with a matrix product and with a stream of several sizes, by the same
workers as everything else, and kept in the user's cache by the machine's identity.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from nnprof.errors import BadFile
from nnprof.files import write_atomically
from nnprof.profiler import counts
from nnprof.types import Model, OpTime, Plan, Target, Workload

_LOG = logging.getLogger(__name__)
# Values of float32 that the stream reads, and writes as many: from L1 to beyond any last cache.
_STREAMS = (1 << 12, 1 << 16, 1 << 19, 1 << 22, 1 << 25, 1 << 27)
_SIDE = 1024  # of the product's square matrices
_PROCESSES = 3
_PLAN = Plan(sample_s=0.4, warmup_s=0.1, op_method="none")
_LIMIT_S = 120.0


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine can do at best.

    Attributes:
        flops_per_s: of a large matrix product.
        bandwidths: (bytes moved, bytes per second), by size.
        launch_s: what a node costs that has nothing to do.
    """

    flops_per_s: float
    bandwidths: tuple[tuple[int, float], ...]
    launch_s: float

    def __post_init__(self) -> None:
        """Refuse limits of no machine."""
        rates = [self.flops_per_s, *(rate for _, rate in self.bandwidths)]
        if len(rates) < 2 or not all(0 < rate < math.inf for rate in rates):
            raise ValueError("peak and bandwidths must be above 0")
        if not 0 <= self.launch_s < math.inf:
            raise ValueError("launch_s must be a time")

    def limit(self, op: OpTime) -> tuple[float, str] | None:
        """Seconds that the op needs at least, and what binds it: compute, memory or launch.

        None where its work was not counted.
        """
        if op.flops is None or op.bytes_in is None or op.bytes_out is None:
            return None
        moved = op.bytes_in + op.bytes_out + (op.bytes_weights or 0)
        if op.op in counts.VIEWS:
            return self.launch_s, "launch"
        fitting = [rate for size, rate in self.bandwidths if size >= moved]
        rate = fitting[0] if fitting else self.bandwidths[-1][1]
        return max(
            (op.flops / self.flops_per_s, "compute"),
            (moved / rate, "memory"),
            (self.launch_s, "launch"),
        )


def measure(target: Target) -> Roofline:
    """Measure the limits of a target; takes about half a minute.

    Raises:
        NnprofError: the target is not here.
    """
    from nnprof.exporters.onnx import chain_model, identity_model, product_model, stream_model
    from nnprof.profiler.worker import CHAIN

    one_s = _best_s(identity_model(), target)
    launch_s = max((_best_s(chain_model(CHAIN), target) - one_s) / (CHAIN - 1), 0.0)
    call_s = one_s - launch_s
    product_s = _best_s(product_model(_SIDE), target) - call_s
    bandwidths = []
    for values in _STREAMS:
        moved = 2 * 4 * values
        bandwidths.append((moved, moved / (_best_s(stream_model(values), target) - call_s)))
    return Roofline(
        flops_per_s=2 * _SIDE**3 / product_s,
        bandwidths=tuple(bandwidths),
        launch_s=launch_s,
    )


def _best_s(model: Model, target: Target) -> float:
    """The fastest of a few fresh processes: a limit is what was reached, not what is usual."""
    from nnprof.exporters.onnx import chain_model, identity_model
    from nnprof.profiler import hosts
    from nnprof.profiler.worker import CHAIN, Measure, Measured

    job = Measure(
        workload=Workload(model=model, batch=model.fixed_batch or 1),
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
    return min(times)


def save(limits: Roofline, environment: Mapping[str, Any], threads: int) -> Path:
    """Keep the limits for this machine, runtime and number of threads."""
    path = kept_file("roofline", environment, threads)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(limits), indent=1))
    return path


def load(environment: Mapping[str, Any], threads: int) -> Roofline | None:
    """The limits that were kept; None where they were never measured, or cannot be read."""
    try:
        return msgspec.json.decode(
            kept_file("roofline", environment, threads).read_bytes(), type=Roofline
        )
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def stated(environment: Mapping[str, Any], threads: int) -> Roofline | None:
    """The limits that a Run's environment states; where it does not, those kept for its machine."""
    told = of_run(environment)
    if told is not None:
        return told
    known = "device" in environment and "backend" in environment
    return load(environment, threads) if known else None


def of_run(environment: Mapping[str, Any]) -> Roofline | None:
    """The limits that a Run's environment states, None where it does not.

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


def kept_file(kind: str, environment: Mapping[str, Any], threads: int) -> Path:
    """Where something measured once is kept for this machine, runtime and number of threads."""
    import platformdirs

    device, backend = environment["device"], environment["backend"]
    identity = (
        *(device.get(name) for name in ("name", "model", "extensions", "processors", "caches")),
        *(backend.get(name) for name in ("name", "version")),
        threads,
    )
    digest = hashlib.sha256(msgspec.json.encode(identity)).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("nnprof")) / kind / f"{digest}.json"
