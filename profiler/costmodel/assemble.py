"""From Runs to a `CostModel`: measured ops fitted, held against whole networks and physics."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.profiler.costmodel import (
    audit,
    fit,
    gather,
    sets,
    standins,
)
from nnprof.profiler.costmodel.doubts import marked, notes, other_blocks
from nnprof.profiler.costmodel.fit import Fitted
from nnprof.profiler.costmodel.from_networks import of_networks
from nnprof.profiler.costmodel.gather import Measured
from nnprof.profiler.costmodel.model import (
    NETWORK,
    Calibration,
    CostModel,
    Peaks,
    Source,
    fitted_in,
)
from nnprof.profiler.costmodel.processor import Processor, translated
from nnprof.profiler.costmodel.terms import Found, terms_and_groups, with_shares
from nnprof.profiler.costmodel.whole import checked, overhead, with_idle
from nnprof.profiler.graph import counts

_LOG = logging.getLogger(__name__)


Array = NDArray[np.float64]


_POOLS = ("averagepool", "globalaveragepool", "maxpool")


def _with_views(found: dict[str, Fitted]) -> dict[str, Fitted]:
    """With what a view costs where none was timed: as any view, the cheapest launch."""
    if any(sets.kind_of(name) == "view" for name in found):
        return found
    launches = fit.launches_s(found)
    least = np.array([min(launches)]) if launches else np.zeros(0)
    names = ("launch",) if launches else ()
    return {**found, "reshape": Fitted(names, least, np.zeros(0), least)}


def model(
    measured: Measured, name: str = "", peaks: Peaks | None = None, prior: CostModel | None = None
) -> CostModel:
    """The cost model of what was measured, around another device's where one is given.

    Raises:
        UsageError: the prior knows none of the ops, or there are no op times to hold it against; or
            what was left out was predicted so badly that no number deserves trust.
    """
    if not len(measured.rows.seconds):
        if prior is not None:
            raise UsageError(
                "The Runs hold no op times, and a prior is calibrated with those.",
                "Leave --prior out, or measure ops.",
            )
        return marked(of_networks(measured, name, peaks))
    _LOG.info("fitting %d ops", len(measured.rows.seconds))
    found = _free(measured) if prior is None else _calibrated(measured, prior)
    result = _of_ops(measured, found, name, peaks, prior)
    if prior is None or measured.asked:
        result = replace(result, network=checked(measured, found.groups, found.added, result))
    made = audit.audited(with_shares(result, measured), measured.rows)
    return fitted_in(marked(made, measured.shapeless))


def _of_ops(
    measured: Measured, found: Found, name: str, peaks: Peaks | None, prior: CostModel | None
) -> CostModel:
    """The model as far as its terms go: not yet held against whole networks and physics."""
    terms, groups = terms_and_groups(measured, found, prior)
    same_runtime = prior is not None and prior.target.backend == measured.target.backend
    lowering = measured.lowering or (prior.lowering if prior and same_runtime else "fused")
    known = (*measured.whole, *measured.asked) or measured.networks
    batches = [cell.batch for cell in known]
    batches += prior.batches if prior and prior.batches else ()
    scale = found.calibration.scale if found.calibration else 1.0
    old = standins.scaled(prior, scale) if prior else ()
    return CostModel(
        name=name or str(measured.device.get("model") or measured.target.device),
        target=measured.target,
        device={key: measured.device.get(key) for key in gather.DEVICE},
        processor=measured.rows.processor,
        precision=measured.precision,
        lowering=lowering,
        value_bytes=gather.value_bytes(measured.rows),
        same=_same(found.groups),
        standins=standins.of(measured.rows, found.groups, found.added.launches, old),
        terms=terms,
        groups=groups,
        peaks=peaks or audit.peaks(measured),
        sources=measured.sources,
        calibration=found.calibration,
        batches=(min(batches), max(batches)),
        notes=(
            *notes(groups, found, lowering),
            *other_blocks(prior, lowering),
            *measured.notes,
        ),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
    )


def _same(found: Mapping[str, Fitted]) -> dict[str, str]:
    """Groups that others stand for.

    Pools of frameworks that do not tell which kind they are: all kinds are alike to them. Views:
    none of them moves anything, whatever it is called.
    """
    same = {name: "pooling" for name in _POOLS if "pooling" in found}
    views = sorted(name for name in found if sets.kind_of(name) == "view")
    if views:
        one = "reshape" if "reshape" in found else views[0]
        same |= {name.lower(): one for name in sorted(counts.VIEWS)}
    return {name: other for name, other in same.items() if name not in found}


def _free(measured: Measured) -> Found:
    """The terms that the measurements give alone."""
    groups = _with_views(with_idle(fit.fit(measured.rows), measured.idle))
    return Found(groups, overhead(groups, measured.networks, measured.call_s))


def _told(prior: CostModel, group: str, processor: Processor) -> tuple[tuple[str, ...], Array]:
    """A group's terms in the features of another processor; what become one are added up."""
    told: dict[str, float] = {}
    for term in prior.terms_of(group):
        name = translated(term.feature, prior.processor, processor)
        told[name] = told.get(name, 0.0) + term.coefficient
    return tuple(told), np.array(list(told.values()))


def _calibrated(measured: Measured, prior: CostModel) -> Found:
    """The terms around a prior's; those of ops that it does not know from their own rows.

    Raises:
        UsageError: the prior knows none of the measured ops.
    """
    rows = measured.rows
    known = {group.name: _told(prior, group.name, rows.processor) for group in prior.groups}
    try:
        with np.errstate(divide="ignore"):  # ops that the prior takes for free tell no ratio
            found, scale = fit.calibrated(rows, known)
    except ValueError as error:
        raise UsageError(
            f"The prior, of {prior.target.backend}, knows none of the measured ops.",
            "Give a model of the same backend.",
        ) from error
    # Rows that the prior takes for free were no part of a group's fit, so it has no full residuals.
    counted = Counter(map(str, rows.groups))
    found = {
        name: one if len(one.out) in (0, counted[name])
        else one._replace(out=np.full(counted[name], np.nan))
        for name, one in found.items()
    }  # fmt: skip
    own = tuple(sorted(set(counted) - set(found)))
    if own:
        fitted = fit.fit(rows)
        found |= {name: fitted[name] for name in own}
    groups = with_idle(found, measured.idle)
    call_s = measured.call_s or scale * sum(
        term.coefficient for term in prior.terms_of(NETWORK) if term.feature == "call"
    )
    calibration = Calibration(prior=Source(name=prior.name), scale=scale, points=len(rows.seconds))
    return Found(groups, overhead(groups, measured.networks, call_s), calibration, own)
