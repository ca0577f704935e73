"""From Runs to a `CostModel`: measured ops fitted, held against whole networks and physics."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.profiler.costmodel import (
    audit,
    features,
    fit,
    gather,
    intervals,
    joint,
    kernels,
    predict,
    sets,
    solve,
    work,
)
from nnprof.profiler.costmodel.fit import Fitted
from nnprof.profiler.costmodel.gather import FEW_NETWORKS, Cellular, Measured
from nnprof.profiler.costmodel.model import (
    NETWORK,
    Calibration,
    CostModel,
    Group,
    Peaks,
    Source,
    Term,
    Whole,
    fitted_in,
)
from nnprof.profiler.costmodel.rows import Rows
from nnprof.profiler.costmodel.work import Work
from nnprof.profiler.graph import counts

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]
_ACTIVATIONS = ("relu", "sigmoid", "tanh")  # that the rules "fused" give to the op before
_POOLS = ("averagepool", "globalaveragepool", "maxpool")
_LEAST_NETWORKS = 5  # below this the floor is as measured, and launches are not touched
_MOST_FOLDS = 12
_SPANS = 2.0  # width of an interval over its coefficient at which a term is not identified


# --- whole networks -------------------------------------------------------------------------------


class Overhead(NamedTuple):
    """What the refit on whole networks changes: the call, and a factor on every launch term."""

    call_s: float
    launches: float


def overhead(found: Mapping[str, Fitted], cells: Sequence[Cellular], call_s: float) -> Overhead:
    """The two numbers that whole networks may change; bias beyond them stays visible.

    Found by `solve.mapped` around the measured call and a factor of 1, on networks of known ops
    alone. Where no call was measured: start = median over the fastest 25 % of networks of
    (measured - sum of ops), at least one launch.
    """
    cells = [cell for cell in cells if not cell.doubt]
    parts = [_launch_and_rest(found, cell.works) for cell in cells]
    kept = [
        index for index, part in enumerate(parts) if cells[index].works and np.isfinite(part[1])
    ]
    if len(kept) < _LEAST_NETWORKS:
        return Overhead(max(call_s, 0.0), 1.0)
    launches = np.array([parts[index][0] for index in kept])
    rest = np.array([parts[index][1] for index in kept])
    seconds = np.array([cells[index].seconds for index in kept])
    start_s = call_s
    if start_s <= 0:
        fastest = np.argsort(seconds)[: -(-len(kept) // 4)]
        more_s = float(np.median((seconds - launches - rest)[fastest]))
        start_s = max(more_s, median(fit.launches_s(found) or [0.0]))
    matrix = np.column_stack((np.ones(len(kept)), launches))
    call, scale = solve.mapped(matrix, seconds, np.array([start_s, 1.0]), None, rest)
    return Overhead(float(call), float(scale))


def _launch_and_rest(found: Mapping[str, Fitted], works: Sequence[Work]) -> tuple[float, float]:
    """Seconds of the launch terms, and of all others, in a network."""
    launch = {
        name: one.coefficients[one.names.index("launch")] if "launch" in one.names else 0.0
        for name, one in found.items()
    }
    launches = sum(float(launch.get(one.group, 0.0)) for one in works)
    return launches, float(fit.seconds_of(found, works).sum()) - launches


def held_out_networks(measured: Measured) -> Array:
    """Each network predicted by a model of the others' ops; NaN where it has an op of its own.

    NaN, too, for networks whose time cannot be held against their ops.
    """
    cells, rows = measured.networks, measured.rows
    names = sorted({cell.name for cell in measured.whole})
    folds = min(_MOST_FOLDS, len(names))
    predicted = np.full(len(cells), np.nan)
    if len(names) < FEW_NETWORKS:
        return predicted
    for fold in range(folds):
        _LOG.info("checking: networks left out, part %d of %d", fold + 1, folds)
        out = set(names[fold::folds])
        kept = rows.only(~np.isin(rows.networks, list(out)))
        if not len(kept.seconds):
            continue
        found = _with_idle(fit.fit(kept), measured.idle)
        others = [cell for cell in cells if cell.name not in out]
        added = overhead(found, others, measured.call_s)
        for index, cell in enumerate(cells):
            if cell.name in out and not cell.doubt:
                predicted[index] = _seconds(found, added, cell.works)
    return predicted


def _with_idle(found: Mapping[str, Fitted], idle: Mapping[str, set[str]]) -> dict[str, Fitted]:
    """With ops that take no time as groups without terms."""
    free = Fitted((), np.zeros(0), np.zeros(0), None)
    return {**found, **{name: free for name in idle if name not in found}}


def _with_views(found: dict[str, Fitted]) -> dict[str, Fitted]:
    """With what a view costs where none was timed: as any view, the cheapest launch."""
    if any(sets.kind_of(name) == "view" for name in found):
        return found
    launches = fit.launches_s(found)
    least = np.array([min(launches)]) if launches else np.zeros(0)
    names = ("launch",) if launches else ()
    return {**found, "reshape": Fitted(names, least, np.zeros(0), least)}


def _whole(measured: Measured, fitted: _Found, made: CostModel) -> Whole:
    found, added = fitted.groups, fitted.added
    if measured.asked:
        cells: Sequence[Cellular] = measured.asked
        predicted = np.array([_seconds(found, added, cell.works) for cell in cells])
        wider, how = _wider(made, cells), "measured whole to see how far off predictions are"
    else:
        cells, predicted = measured.networks, held_out_networks(measured)
        wider, how = np.zeros(len(cells)), "networks left out in turn"
    seconds = np.array([cell.seconds for cell in cells])
    known = np.isfinite(predicted)
    plain = np.array([
        sum(_launch_and_rest(found, cell.works)) / cell.seconds - 1 for cell in measured.whole
    ])  # fmt: skip
    plain = plain[np.isfinite(plain)]
    noise = _noise(measured.whole)
    if not known.any():
        return Whole(rows=len(measured.whole), noise=noise, how="none")
    off = predicted[known] / seconds[known] - 1
    return Whole(
        rows=int(known.sum()),
        networks=len({cell.name for cell, keep in zip(cells, known, strict=True) if keep}),
        error=float(np.mean(np.abs(off))),
        bias=float(np.median(plain)) if len(plain) else None,
        noise=noise,
        factor=intervals.factor(np.maximum(np.abs(np.log1p(off)) - wider[known], 0.0)),
        how=how,
    )


def _wider(made: CostModel, cells: Sequence[Cellular]) -> Array:
    """What the interval of each network gains for leaving the measurements, in the logarithm."""
    alone = replace(made, network=Whole(factor=1.0))
    return np.log(predict.network_factors(alone, work.table([cell.works for cell in cells])))


def _seconds(found: Mapping[str, Fitted], added: Overhead, works: Sequence[Work]) -> float:
    """A network's time; NaN where it has an op of a group that was not fitted."""
    launches, rest = _launch_and_rest(found, works)
    return added.call_s + added.launches * launches + rest


def _noise(cells: Sequence[Cellular]) -> float | None:
    """Median spread of the repeats; None where nothing was repeated."""
    known = [cell.noise for cell in cells if cell.noise is not None]
    return median(known) if known else None


# --- the model ------------------------------------------------------------------------------------


class _Found(NamedTuple):
    """What was fitted: terms of each group, the overhead, and how they came from a prior."""

    groups: dict[str, Fitted]
    added: Overhead
    calibration: Calibration | None = None
    own: tuple[str, ...] = ()


def model(
    measured: Measured, name: str = "", peaks: Peaks | None = None, prior: CostModel | None = None
) -> CostModel:
    """The cost model of what was measured, around another device's where one is given.

    Raises:
        UsageError: the prior knows none of the ops, or there are no op times to hold it against.
    """
    rows = measured.rows
    if not len(rows.seconds):
        if prior is not None:
            raise UsageError(
                "The Runs hold no op times, and a prior is calibrated with those.",
                "Leave --prior out, or measure ops.",
            )
        return _of_networks(measured, name, peaks)
    _LOG.info("fitting %d ops", len(rows.seconds))
    found = _free(measured) if prior is None else _calibrated(measured, prior)
    terms, groups = _parts(measured, found, prior)
    same_runtime = prior is not None and prior.target.backend == measured.target.backend
    lowering = measured.lowering or (prior.lowering if prior and same_runtime else "fused")
    batches = [cell.batch for cell in measured.networks]
    result = CostModel(
        name=name or str(measured.device.get("model") or measured.target.device),
        target=measured.target,
        device={key: measured.device.get(key) for key in ("name", "model", "caches")},
        precision=measured.precision,
        lowering=lowering,
        value_bytes=gather.value_bytes(rows),
        same=_same(found.groups),
        terms=terms,
        groups=groups,
        peaks=peaks or audit.peaks(measured),
        sources=measured.sources,
        calibration=found.calibration,
        batches=(min(batches), max(batches)),
        notes=(
            *_notes(groups, found, lowering),
            *_other_blocks(prior, lowering),
            *measured.notes,
        ),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    if prior is None:
        result = replace(result, network=_whole(measured, found, result))
    return fitted_in(audit.audited(_shared(result, measured), rows))


def _parts(
    measured: Measured, found: _Found, prior: CostModel | None
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


def _free(measured: Measured) -> _Found:
    """The terms that the measurements give alone."""
    groups = _with_views(_with_idle(fit.fit(measured.rows), measured.idle))
    return _Found(groups, overhead(groups, measured.networks, measured.call_s))


def _calibrated(measured: Measured, prior: CostModel) -> _Found:
    """The terms around a prior's; those of ops that it does not know from their own rows.

    Raises:
        UsageError: the prior knows none of the measured ops.
    """
    known = {}
    for group in prior.groups:
        terms = prior.terms_of(group.name)
        names = tuple(term.feature for term in terms)
        known[group.name] = (names, np.array([term.coefficient for term in terms]))
    rows = measured.rows
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
    groups = _with_idle(found, measured.idle)
    call_s = measured.call_s or scale * sum(
        term.coefficient for term in prior.terms_of(NETWORK) if term.feature == "call"
    )
    calibration = Calibration(prior=Source(name=prior.name), scale=scale, points=len(rows.seconds))
    return _Found(groups, overhead(groups, measured.networks, call_s), calibration, own)


def _of_networks(measured: Measured, name: str, peaks: Peaks | None) -> CostModel:
    """A model of whole networks, where no op was timed."""
    cells = measured.whole
    seconds = np.array([cell.seconds for cell in cells])
    names = np.array([cell.name for cell in cells])
    _LOG.info("fitting %d networks as wholes", len(cells))
    library = measured.rows.library
    fitted = joint.fit_networks([cell.works for cell in cells], seconds, names, library)
    found = [(NETWORK, "call", fitted.call_s, ("", "call"))]
    for group, one in fitted.groups.items():
        for feature, value in zip(one.names, one.coefficients.tolist(), strict=True):
            found.append((group, feature, value, (group, feature)))
    works = [op for cell in cells for op in cell.works]
    terms = []
    for group, feature, value, key in found:
        term = Term(
            group=group,
            feature=feature,
            coefficient=value,
            low=fitted.low[key],
            high=fitted.high[key],
            identified=fitted.high[key] - fitted.low[key] < _SPANS * value,
            largest=_most(group, feature, works),
        )
        terms.append(term)
    known = np.isfinite(fitted.out)
    off = fitted.out[known] / seconds[known]
    groups = tuple(
        Group(name=group, ops=tuple(sorted({
            op.op for cell in cells for op in cell.works if op.group == group})))
        for group in fitted.groups
    )  # fmt: skip
    whole = Whole(
        rows=len(cells),
        networks=len(set(names)),
        error=float(np.mean(np.abs(off - 1))) if known.any() else None,
        noise=_noise(cells),
        factor=intervals.factor(np.log(off)) if known.any() else None,
        how="networks left out in turn",
    )
    return audit.audited(_untimed(measured, name, peaks, tuple(terms), groups, whole))


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
        result.append(
            Term(
                group=group,
                feature=feature,
                coefficient=value * scale,
                low=float(low[index]) * scale if len(present) else None,
                high=float(high[index]) * scale if len(present) else None,
                identified=len(present) > 0 and not few and reach < _SPANS * value,
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
    off = np.abs(one.out / mine.seconds - 1) if len(one.out) else np.array([np.nan])
    return Group(
        name=name,
        ops=tuple(sorted({each.op for each in mine.works})),
        rows=len(mine.seconds),
        shapes=len(set(mine.shapes)),
        domain=domain,
        error=float(np.nanmean(off)) if np.isfinite(off).any() else None,
        noise=_rows_noise(mine),
        factor=factor,
        # Terms that a prior holds are held where no row is, too.
        leverage=None if pooled else most,
        inverse=() if pooled else tuple(map(float, inverse[np.triu_indices(len(coefficients))])),
        pooled=pooled,
    )


def _rows_noise(mine: Rows) -> float | None:
    """Median standard error of the times; None where none is known."""
    return float(np.median(mine.spreads)) or None


_DOMAIN = ("batch", "m", "n", "k", "window", "h_in", "bytes_out")


def _notes(groups: Sequence[Group], found: _Found, lowering: str) -> list[str]:
    notes = []
    acts = [group.name for group in groups if group.rows and group.name in _ACTIVATIONS]
    if acts and lowering == "fused":
        notes.append(
            f"Here {', '.join(acts)} are ops of their own; of networks in notation they are "
            "counted with the op before, so their time is left out."
        )
    poor = [group.name for group in groups if 0 < group.shapes < fit.FEW_SHAPES]
    if poor:
        notes.append(
            f"Fewer than {fit.FEW_SHAPES} shapes of {', '.join(poor)}: their terms are guesses; "
            "measure more of them."
        )
    if found.calibration is not None:
        poor = [group.name for group in groups if group.pooled and not group.rows]
        if poor:
            notes.append(f"Not measured here, the prior's, scaled: {', '.join(poor)}.")
        if found.own:
            notes.append(f"Unknown to the prior, so from their own times: {', '.join(found.own)}.")
    if found.added.call_s <= 0:
        notes.append(
            "The cost of a call is not known: it was not measured, and fewer than "
            f"{_LEAST_NETWORKS} clean times of networks with their ops tell it."
        )
    if abs(found.added.launches - 1) > 0.02:
        notes.append(f"Whole networks scaled the launch terms by {found.added.launches:.2f}.")
    return notes


def _other_blocks(prior: CostModel | None, lowering: str) -> list[str]:
    """A sentence where the prior is of blocks of another width: its code ran on other vectors."""
    was, is_now = kernels.BLOCKS.get(prior.lowering if prior else ""), kernels.BLOCKS.get(lowering)
    if not was or not is_now or was == is_now:
        return []
    return [
        f"The prior is of blocks of {was} channels, and these Runs are of {is_now}: what was not "
        "measured here is other code's, scaled."
    ]


def _shared(made: CostModel, measured: Measured) -> CostModel:
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
