"""The speed of light: what a device can do, and terms that claim more."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from nnprof.profiler.costmodel import features
from nnprof.profiler.costmodel.gather import Measured
from nnprof.profiler.costmodel.model import CostModel, Peaks, Term
from nnprof.profiler.costmodel.rows import HUBER, Rows
from nnprof.profiler.costmodel.sets import computes

_TOLERANCE = 1.05  # over a peak that is allowed before the audit speaks
_FASTEST = 0.05  # of the weight of well-measured ops, that must be as fast for a speed to count
_AGREEING = 2  # ops that must be, for one alone may be a slip of the clock


def peaks(measured: Measured) -> Peaks:
    """What was measured: the roofline where there is one, and what well-measured ops reached.

    The roofline may have been measured in a bad moment, and an op, too; so ops are believed where
    several together passed it.
    """
    roof = measured.roof
    if roof is None:
        return Peaks()
    found, reached = roof.peak(measured.precision) or 0.0, _reached(measured.rows)
    source = "measured by nnprof devices"
    if reached > found:
        source += f", which found {found / 1e9:.4g} GFLOP/s; well-measured ops of the Runs did more"
    return Peaks(
        flops_per_s=max(found, reached) or None,
        bytes_per_s=max(rate for _, rate in roof.bandwidths),
        launch_s=roof.launch_s,
        source=source,
    )


def _reached(rows: Rows) -> float:
    """FLOP/s that well-measured ops passed: `_FASTEST` of their weight, and at least two ops.

    0 where there are no two such ops. An op near 0 s has hardly any weight (`rows.rows_of`).
    """
    well = (rows.spreads <= HUBER) & np.array([computes(group) for group in rows.groups])
    if well.sum() < _AGREEING:
        return 0.0
    rates, weights = rows.columns["flops"][well] / rows.seconds[well], rows.weights[well]
    order = np.argsort(-rates)
    place = int(np.searchsorted(np.cumsum(weights[order]), _FASTEST * weights.sum()))
    return float(rates[order[max(place, _AGREEING - 1)]])


def audited(made: CostModel, rows: Rows | None = None) -> CostModel:
    """The model with a flag on each term that is faster than the device can be.

    Several terms may pay for the same FLOPs or bytes. So with rows a term is held together with the
    others of its group and resource, over the training ops in which it counts; without rows, alone.
    """
    return replace(
        made, terms=tuple(replace(one, flag=_flag(made, one, rows)) for one in made.terms)
    )


def _flag(made: CostModel, term: Term, rows: Rows | None) -> str:
    feature = features.FEATURES.get(term.feature)
    peak = {"flop": made.peaks.flops_per_s, "byte": made.peaks.bytes_per_s}.get(
        feature.resource if feature else ""
    )
    if feature is None or not peak or not term.coefficient:
        return ""
    rate = feature.amount / term.coefficient
    if rows is not None and rate > peak * _TOLERANCE:
        rate = _together(made, term, rows)
    if rate <= peak * _TOLERANCE:
        return ""
    unit = "GFLOP/s" if feature.resource == "flop" else "GB/s"
    return f"{rate / 1e9:.3g} {unit}: {rate / peak:.1f} times the peak"


def _together(made: CostModel, term: Term, rows: Rows) -> float:
    """Rate of the resource over all terms that pay for it, in the ops that have this term."""
    resource = features.FEATURES[term.feature].resource
    mine = rows.only(rows.groups == term.group)
    columns = mine.columns
    has = features.FEATURES[term.feature].of(columns) > 0
    done = columns["flops"] if resource == "flop" else (
        columns["bytes_in"] + columns["bytes_out"] + columns["bytes_weights"]
    )  # fmt: skip
    spent = np.zeros(len(mine.seconds))
    for other in made.terms_of(term.group):
        feature = features.FEATURES[other.feature]
        if feature.resource == resource:
            spent += other.coefficient * feature.of(columns)
    return float(done[has].sum() / spent[has].sum()) if spent[has].any() else 0.0
