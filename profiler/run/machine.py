"""What is measured once of a machine and kept: its limits, and what watching it costs.

`nnprof devices --measure` has both measured, by the same workers as everything else, and kept by
`place.kept` for the machine in its state.
"""

from __future__ import annotations

import logging
from statistics import median

from msgspec.structs import replace

from nnprof.errors import NnprofError, UsageError
from nnprof.exporters.int8 import ANYWHERE, Form
from nnprof.exporters.precision import PRECISIONS
from nnprof.exporters.probes import chain_model, identity_model, product_model, stream_model
from nnprof.profiler import stats, studies
from nnprof.profiler.place import limits, watcher
from nnprof.profiler.place.watcher import INTERVAL_S
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import CHAIN, Measure
from nnprof.types import Model, Plan, Target, Workload

_LOG = logging.getLogger(__name__)
# Values of float32 that the stream reads, and writes as many: from L1 to beyond any last cache.
_STREAMS = (1 << 12, 1 << 16, 1 << 19, 1 << 22, 1 << 25, 1 << 27)
_SIDE = 1024  # of the products' square matrices
_PRODUCTS = 5  # of a chain: one alone has what goes in and comes out beside it
_PROCESSES = 3
_PLAN = Plan(sample_s=0.4, warmup_s=0.1, op_method="none")
_LIMIT_S = 120.0
_PAIRS = 12
_WATCH_PLAN = Plan(sample_s=0.5, op_method="none")


def measured_limits(target: Target, form: Form = ANYWHERE) -> limits.Roofline:
    """Measure the limits of a target, int8 in that form; takes about a minute.

    Raises:
        NnprofError: the target is not here, or its clock does not tell a product or any stream from
            an empty call.
    """
    ones_s = _times_s(identity_model(), target)
    launch_s = max((min(_times_s(chain_model(CHAIN), target)) - min(ones_s)) / (CHAIN - 1), 0.0)
    call_s = min(ones_s) - launch_s
    peaks = _peaks(target, form)
    streams_s = {2 * 4 * one: min(_times_s(stream_model(one), target)) for one in _STREAMS}
    rates = limits.bandwidths(streams_s, call_s, max(ones_s) - min(ones_s))
    if "fp32" not in peaks or not rates:
        what = "a matrix product" if "fp32" not in peaks else "any stream"
        raise UsageError(
            f"The limits cannot be measured: {what} took no longer than an empty call.",
            "Measure again when nothing else runs.",
        )
    return limits.Roofline(
        flops_per_s=peaks.pop("fp32"), bandwidths=rates, launch_s=launch_s, peaks=peaks
    )


def _peaks(target: Target, form: Form) -> dict[str, float]:
    """FLOP/s by precision, from the products that a long chain has more than a single one.

    Precisions that the runtime refuses are left out, as are those of which the chain was no slower.
    """
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
        times.append(median(stats.own_s(answer.samples_s, answer.waited_s, len(answer.processors))))
    return times


def measured_watching(target: Target) -> watcher.Effect:
    """Measure it with the bundled network, batch 1, where it would show most; half a minute.

    Raises:
        NnprofError: the target is not here.
    """
    pairs = []
    for number in range(_PAIRS):
        _LOG.info("telemetry's cost: pair %d of %d", number + 1, _PAIRS)
        order = (True, False) if number % 2 else (False, True)
        times = {watched: _latency_s(target, watched=watched) for watched in order}
        pairs.append((times[True], times[False]))
    return watcher.of(pairs)


def _latency_s(target: Target, *, watched: bool) -> float:
    (cell,) = studies.bundled_cells(target, (1,))
    job = Measure(
        workload=cell.workload,
        target=target,
        plan=replace(_WATCH_PLAN, telemetry_s=INTERVAL_S if watched else 0.0),
        floor=identity_model(),
        chain=chain_model(CHAIN),
        ops=False,
    )
    answer = hosts.run(job, _LIMIT_S)
    return median(stats.own_s(answer.samples_s, answer.waited_s, len(answer.processors)))
