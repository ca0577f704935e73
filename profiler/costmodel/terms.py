"""Fitted coefficients as the terms and groups of a model file, with intervals and domains."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from nnprof.profiler.costmodel import (
    features,
    fit,
    intervals,
    sets,
)
from nnprof.profiler.costmodel.fit import Fitted
from nnprof.profiler.costmodel.gather import Measured
from nnprof.profiler.costmodel.model import (
    NETWORK,
    Calibration,
    CostModel,
    Group,
    Term,
)
from nnprof.profiler.costmodel.rows import Rows
from nnprof.profiler.costmodel.whole import Overhead

_LOG = logging.getLogger(__name__)


SPANS = 2.0  # width of an interval over its coefficient at which a term is not identified


class Found(NamedTuple):
    """What was fitted: terms of each group, the overhead, and how they came from a prior."""

    groups: dict[str, Fitted]
    added: Overhead
    calibration: Calibration | None = None
    own: tuple[str, ...] = ()


def terms_and_groups(
    measured: Measured, found: Found, prior: CostModel | None
) -> tuple[tuple[Term, ...], tuple[Group, ...]]:
    """Terms and groups as the model file has them."""
    call = Term(group=NETWORK, feature="call", coefficient=found.added.call_s)
    terms = [call] if found.added.call_s > 0 else []
    factors, groups = intervals.factors(found.groups, measured.rows), []
    growths = intervals.growths(measured.rows, factors) if prior is None else {}
    for number, (name, one) in enumerate(found.groups.items(), start=1):
        _LOG.info("intervals of %s, %d of %d groups", name, number, len(found.groups))
        mine = measured.rows.only(measured.rows.groups == name)
        terms += _seen_by(prior, _terms(name, one, mine, found.added.launches))
        if len(mine.seconds):
            group = _group(name, _scaled(one, found.added), mine, factors.get(name))
            groups.append(replace(group, growth=growths.get(name)))
        elif name in measured.idle:
            groups.append(Group(name=name, ops=tuple(sorted(measured.idle[name]))))
        else:
            old = prior.group(name) if prior else None
            ops = old.ops if old else ("Reshape",) if sets.kind_of(name) == "view" else ()
            groups.append(Group(name=name, ops=ops, pooled=True))
    return tuple(terms), tuple(groups)


def _seen_by(prior: CostModel | None, terms: list[Term]) -> list[Term]:
    """The terms with the most that the prior has seen, too: it tells the shape of the law."""
    old = {(term.group, term.feature): term for term in prior.terms} if prior else {}
    return [
        replace(term, largest=max(term.largest or 0.0, before.largest))
        if (before := old.get((term.group, term.feature))) and before.largest else term
        for term in terms
    ]  # fmt: skip


def _terms(group: str, one: Fitted, mine: Rows, launches: float) -> list[Term]:
    if not len(mine.seconds):
        return [
            Term(group=group, feature=name, coefficient=float(value), identified=False)
            for name, value in zip(one.names, one.coefficients, strict=True)
        ]
    low, high = intervals.bootstrap(one, mine)
    amounts = features.matrix(one.names, mine.columns)
    few = len(set(mine.shapes)) < fit.FEW_SHAPES
    result = []
    for index, feature in enumerate(one.names):
        value, present = float(one.coefficients[index]), amounts[:, index][amounts[:, index] > 0]
        # What is said of amounts that no row has is kept: other ops will have them.
        held = one.prior is not None or feature in one.expected
        if value <= 0 or not (len(present) or held):
            continue
        scale = launches if feature == "launch" else 1.0
        reach = float(high[index] - low[index])
        # A prior can pull a value out of what the data alone would allow: then they do not tell it.
        told = float(low[index]) <= value <= float(high[index])
        result.append(
            Term(
                group=group,
                feature=feature,
                coefficient=value * scale,
                low=float(low[index]) * scale if len(present) else None,
                high=float(high[index]) * scale if len(present) else None,
                identified=len(present) > 0 and not few and told and reach < SPANS * value,
                largest=float(present.max()) if len(present) else None,
            )
        )
    return result


def _scaled(one: Fitted, added: Overhead) -> Fitted:
    """With the launch term as the model has it."""
    scale = [added.launches if name == "launch" else 1.0 for name in one.names]
    return one._replace(coefficients=one.coefficients * np.array(scale))


def _group(name: str, one: Fitted, mine: Rows, factor: float | None) -> Group:
    amounts = features.matrix(one.names, mine.columns)
    expected = np.array([name in one.expected for name in one.names], dtype=bool)
    kept = (one.coefficients > 0) & ((amounts > 0).any(axis=0) | expected)
    amounts, coefficients = amounts[:, kept], one.coefficients[kept]
    relative = amounts / np.maximum(amounts @ coefficients, 1e-12)[:, None]
    inverse, most = intervals.leverage(relative, one.held(kept))
    columns = mine.columns
    domain = {
        column: (float(values.min()), float(values.max()))
        for column, values in columns.items()
        if column in _DOMAIN and values.max() > 1
    }
    pooled = one.prior is not None
    return Group(
        name=name,
        ops=tuple(sorted({each.op for each in mine.works})),
        rows=len(mine.seconds),
        shapes=len(set(mine.shapes)),
        domain=domain,
        error=_error(one, mine),
        noise=_rows_noise(mine),
        factor=factor,
        # Terms that a prior holds are held where no row is, too.
        leverage=None if pooled else most,
        inverse=() if pooled else tuple(map(float, inverse[np.triu_indices(len(coefficients))])),
        pooled=pooled,
    )


def _error(one: Fitted, mine: Rows) -> float | None:
    """Mean |predicted / measured - 1| without the shape itself, where ops count as in the fit."""
    if not np.isfinite(one.out).any():
        return None
    known = np.isfinite(one.out)
    off = np.abs(one.out[known] / mine.seconds[known] - 1)
    return float(np.average(off, weights=mine.weights[known]))


def _rows_noise(mine: Rows) -> float | None:
    """Median standard error of the times; None where none is known."""
    return float(np.median(mine.spreads)) or None


_DOMAIN = ("batch", "m", "n", "k", "window", "h_in", "bytes_out")


def with_shares(made: CostModel, measured: Measured) -> CostModel:
    """Each term with its share of the time of the measured networks."""
    rows = measured.rows
    columns, groups = rows.columns, rows.groups
    seconds = []
    for term in made.terms:
        if term.group == NETWORK:
            seconds.append(term.coefficient * len(measured.networks))
            continue
        amount = features.FEATURES[term.feature].of(columns)[groups == term.group]
        seconds.append(term.coefficient * float(amount.sum()))
    total = sum(seconds) or 1.0
    return replace(
        made,
        terms=tuple(
            replace(term, share=one / total) for term, one in zip(made.terms, seconds, strict=True)
        ),
    )
