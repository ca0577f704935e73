"""A cost model of networks that were only timed whole: all groups are fitted at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from msgspec.structs import replace

from nnprof.profiler.costmodel import (
    audit,
    features,
    joint,
    work,
)
from nnprof.profiler.costmodel.gather import DEVICE, Measured
from nnprof.profiler.costmodel.joint import Joint
from nnprof.profiler.costmodel.model import (
    NETWORK,
    CostModel,
    Group,
    Peaks,
    Term,
    Whole,
)
from nnprof.profiler.costmodel.terms import SPANS
from nnprof.profiler.costmodel.whole import noise_of
from nnprof.profiler.costmodel.work import Work

_LOG = logging.getLogger(__name__)


def of_networks(measured: Measured, name: str, peaks: Peaks | None) -> CostModel:
    """A model of whole networks, where no op was timed."""
    cells = measured.whole
    seconds = np.array([cell.seconds for cell in cells])
    names = np.array([cell.name for cell in cells])
    _LOG.info("fitting %d networks as wholes", len(cells))
    processor = measured.rows.processor
    fitted = joint.fit_networks([cell.works for cell in cells], seconds, names, processor)
    works = [op for cell in cells for op in cell.works]
    # Of few networks one may have nothing in common with the others: they do not predict it.
    known = np.isfinite(fitted.out) & (fitted.out > 0)
    off = fitted.out[known] / seconds[known]
    groups = tuple(
        Group(
            name=group,
            ops=tuple(sorted({op.op for op in works if op.group == group})),
            growth=fitted.growth,
        )
        for group in fitted.groups
    )
    whole = Whole(
        rows=len(cells),
        networks=len(set(names)),
        error=float(np.mean(np.abs(off - 1))) if known.any() else None,
        median=float(np.median(np.abs(off - 1))) if known.any() else None,
        noise=noise_of(cells),
        factor=fitted.factor,
        how="networks left out in turn",
    )
    terms = _joint_terms(fitted, works)
    made = _untimed(measured, name, peaks, terms, groups, whole)
    return audit.audited(replace(made, nearby=fitted.field.kept()))


def _joint_terms(fitted: Joint, works: Sequence[Work]) -> tuple[Term, ...]:
    """The terms that networks as wholes gave: the call, then those of each group."""
    found = [(NETWORK, "call", fitted.call_s, ("", "call"))]
    for group, one in fitted.groups.items():
        for feature, value in zip(one.names, one.coefficients.tolist(), strict=True):
            found.append((group, feature, value, (group, feature)))
    return tuple(
        Term(
            group=group,
            feature=feature,
            coefficient=value,
            low=fitted.low[key],
            high=fitted.high[key],
            identified=fitted.high[key] - fitted.low[key] < SPANS * value,
            largest=_most(group, feature, works),
        )
        for group, feature, value, key in found
    )


def _most(group: str, feature: str, works: Sequence[Work]) -> float | None:
    """The largest amount of a feature in the ops of a group; None where there is none."""
    mine = [op for op in works if op.group == group]
    if not mine:
        return None
    return float(features.FEATURES[feature].of(work.columns_of(mine)).max()) or None


def _untimed(
    measured: Measured,
    name: str,
    peaks: Peaks | None,
    terms: tuple[Term, ...],
    groups: tuple[Group, ...],
    whole: Whole,
) -> CostModel:
    batches = [cell.batch for cell in measured.whole]
    return CostModel(
        name=name or str(measured.device.get("model") or measured.target.device),
        target=measured.target,
        device={key: measured.device.get(key) for key in DEVICE},
        processor=measured.rows.processor,
        precision=measured.precision,
        lowering=measured.lowering or "fused",
        terms=terms,
        groups=groups,
        peaks=peaks or Peaks(),
        sources=measured.sources,
        network=whole,
        batches=(min(batches), max(batches)),
        notes=(
            "Fitted on whole networks: no op of known shape was timed, so groups may hide each "
            "other.",
            *measured.notes,
        ),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
    )
