"""From Runs to a `CostModel`: measured ops fitted, held against whole networks and physics."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.networks.families import parse_network
from nnprof.profiler import results, roofline, stats
from nnprof.profiler.costmodel import features, fit, work
from nnprof.profiler.costmodel.fit import Fitted, Rows
from nnprof.profiler.costmodel.model import (
    NETWORK,
    Calibration,
    CostModel,
    Group,
    Peaks,
    Source,
    Term,
    Whole,
)
from nnprof.profiler.costmodel.work import Work
from nnprof.types import Measurement, Run, Target

Array = NDArray[np.float64]
_LEAST_NETWORKS = 5  # below this the floor is as measured, and launches are not touched
_MOST_FOLDS = 12
_TOLERANCE = 1.05  # over a peak that is allowed before the audit speaks
_SPANS = 2.0  # width of an interval over its coefficient at which a term is not identified


class Cellular(NamedTuple):
    """A measured network: its ops in order, its clean time, where the ops' rows are."""

    name: str
    batch: int
    seconds: float
    noise: float
    works: tuple[Work, ...]


class Measured(NamedTuple):
    """All that Runs say: rows of ops, whole networks, and the cost of a call."""

    rows: Rows
    networks: tuple[Cellular, ...]
    call_s: float
    target: Target
    precision: str
    device: dict[str, object]
    sources: tuple[Source, ...]
    roof: roofline.Roofline | None


def read(paths: Sequence[Path]) -> Measured:
    """What these Runs measured.

    Raises:
        BadFile: a file is no Run.
        UsageError: they are of different targets, or hold no op times.
    """
    runs = [results.load(path) for path in paths]
    sources = tuple(
        Source(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest()[:16])
        for path in paths
    )
    return gathered(runs, sources)


def gathered(runs: Sequence[Run], sources: tuple[Source, ...]) -> Measured:
    """The same for Runs in memory."""
    cells = [cell for run in runs for cell in run.measurements]
    if not cells:
        raise UsageError("The Runs hold no measurement.", "Give Runs that nnprof bench wrote.")
    if len({str((cell.target, cell.workload.precision)) for cell in cells}) > 1:
        raise UsageError(
            "The Runs are of different targets or precisions.",
            "A model is of one device, backend, number of threads and precision: fit one for each.",
        )
    works: list[Work] = []
    seconds: list[float] = []
    names: list[str] = []
    spreads: list[float] = []
    networks = []
    for cell in cells:
        timed = [op for op in (cell.ops.ops if cell.ops else ()) if op.outputs]
        ops = work.of_nodes(timed)
        works += ops
        seconds += [op.seconds for op in timed]
        names += [cell.workload.model.name] * len(ops)
        spreads += [_spread(op.low_s, op.high_s, op.seconds) for op in timed]
        networks.append(_cell(cell, ops))
    rows = fit.rows(works, seconds, names, spreads)
    if not len(rows.seconds):
        networks = [_lowered(cell) for cell in cells]
    floors = [process.floor_s for cell in cells for process in cell.processes]
    first, environment = cells[0], runs[0].environment
    device = dict(environment.get("device") or {})
    known = "device" in environment and "backend" in environment
    return Measured(
        rows, tuple(networks), median(floors), first.target, first.workload.precision, device,
        sources, roofline.load(environment, first.target.threads) if known else None,
    )  # fmt: skip


def _lowered(cell: Measurement) -> Cellular:
    """A network without op times, with the ops that the rules give it.

    Raises:
        UsageError: the file does not say which network it is.
    """
    notation = cell.workload.model.network
    if notation is None:
        raise UsageError(
            f"The Runs hold no op times, and {cell.workload.model.name} is no network in notation.",
            "Measure without --ops none, or give another Run.",
        )
    works = work.of_spec(parse_network(notation), "fused", cell.workload.batch)
    return _cell(cell, works)


def _spread(low: float | None, high: float | None, seconds: float) -> float:
    """Half the interval relative to the time; 0 where there is none."""
    if low is None or high is None or seconds <= 0:
        return 0.0
    return (high - low) / 2 / seconds


def _cell(cell: Measurement, works: tuple[Work, ...]) -> Cellular:
    medians = stats.process_medians_s(cell)
    noise = stats.spread(medians) if len(medians) > 1 else 0.0
    return Cellular(
        cell.workload.model.name, cell.workload.batch, stats.latency_s(cell), noise, works
    )


# --- whole networks -------------------------------------------------------------------------------


class Overhead(NamedTuple):
    """What the refit on whole networks changes: the call, and a factor on every launch term."""

    call_s: float
    launches: float


def overhead(found: Mapping[str, Fitted], cells: Sequence[Cellular], call_s: float) -> Overhead:
    """The two numbers that whole networks may change; bias beyond them stays visible.

    Found by `fit.mapped` around the measured call and a factor of 1, on networks whose ops are all
    known.
    """
    parts = [_launch_and_rest(found, cell.works) for cell in cells]
    kept = [
        index for index, part in enumerate(parts) if cells[index].works and np.isfinite(part[1])
    ]
    if len(kept) < _LEAST_NETWORKS or call_s <= 0:
        return Overhead(max(call_s, 0.0), 1.0)
    launches = np.array([parts[index][0] for index in kept])
    rest = np.array([parts[index][1] for index in kept])
    seconds = np.array([cells[index].seconds for index in kept])
    matrix = np.column_stack((np.ones(len(kept)), launches))
    call, scale = fit.mapped(matrix, seconds, np.array([call_s, 1.0]), None, rest)
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
    """Each network predicted by a model of the others' ops; NaN where it has an op of its own."""
    cells, rows = measured.networks, measured.rows
    names = sorted({cell.name for cell in cells})
    predicted = np.full(len(cells), np.nan)
    if len(names) < FEW_NETWORKS or not any(cell.works for cell in cells):
        return predicted
    for fold in range(min(_MOST_FOLDS, len(names))):
        out = set(names[fold :: min(_MOST_FOLDS, len(names))])
        found = fit.fit(rows.only(~np.isin(rows.networks, list(out))))
        others = [cell for cell in cells if cell.name not in out]
        added = overhead(found, others, measured.call_s)
        for index, cell in enumerate(cells):
            if cell.name in out and cell.works:
                launches, rest = _launch_and_rest(found, cell.works)
                predicted[index] = added.call_s + added.launches * launches + rest
    return predicted


FEW_NETWORKS = 3


def _whole(measured: Measured, found: Mapping[str, Fitted]) -> Whole:
    predicted = held_out_networks(measured)
    seconds = np.array([cell.seconds for cell in measured.networks])
    known = np.isfinite(predicted)
    plain = [
        sum(_launch_and_rest(found, cell.works)) / cell.seconds - 1
        for cell in measured.networks
        if cell.works
    ]
    noises = [cell.noise for cell in measured.networks]
    if not known.any():
        return Whole(rows=len(seconds), noise=median(noises), how="none")
    off = predicted[known] / seconds[known] - 1
    return Whole(
        rows=int(known.sum()),
        networks=len({cell.name for cell in measured.networks}),
        error=float(np.mean(np.abs(off))),
        bias=float(np.nanmedian(plain)),
        noise=median(noises),
        factor=fit.factor(np.log(predicted[known] / seconds[known])),
        how="networks left out in turn",
    )


# --- the model ------------------------------------------------------------------------------------


def model(
    measured: Measured, name: str = "", peaks: Peaks | None = None, prior: CostModel | None = None
) -> CostModel:
    """The cost model of what was measured, around another device's where one is given.

    Raises:
        UsageError: the prior knows none of the ops.
    """
    calibration = None
    if not len(measured.rows.seconds):
        return _of_networks(measured, name, peaks)
    if prior is None:
        found = fit.fit(measured.rows)
    else:
        found, scale = _calibrated(measured.rows, prior)
        source = Source(name=prior.name)
        points = len(measured.rows.seconds)
        calibration = Calibration(prior=source, scale=scale, points=points)
    added = overhead(found, measured.networks, measured.call_s)
    groups = measured.rows.groups
    terms = [Term(group=NETWORK, feature="call", coefficient=added.call_s)]
    factors = fit.factors(found, measured.rows)
    made = []
    for group, one in found.items():
        mine = measured.rows.only(groups == group)
        terms += _terms(group, one, mine, added.launches)
        made.append(_group(group, _scaled(one, added), mine, factors.get(group), prior))
    batches = [cell.batch for cell in measured.networks]
    blocked = any(one.op.startswith("Reorder") for one in measured.rows.works)
    whole = _whole(measured, found) if prior is None else Whole()
    result = CostModel(
        name=name or str(measured.device.get("model") or measured.target.device),
        target=measured.target,
        device={key: measured.device.get(key) for key in ("name", "model", "caches")},
        precision=measured.precision,
        lowering=prior.lowering if prior else "blocked16" if blocked else "fused",
        terms=tuple(terms),
        groups=tuple(made),
        peaks=peaks or _peaks(measured),
        sources=measured.sources,
        network=whole,
        calibration=calibration,
        batches=(min(batches), max(batches)),
        notes=_notes(made, added),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    return audited(_shared(result, measured), measured.rows)


def _of_networks(measured: Measured, name: str, peaks: Peaks | None) -> CostModel:
    """A model of whole networks, where no op was timed."""
    cells = measured.networks
    seconds = np.array([cell.seconds for cell in cells])
    names = np.array([cell.name for cell in cells])
    joint = fit.fit_networks([cell.works for cell in cells], seconds, names)
    found = [(NETWORK, "call", joint.call_s, ("", "call"))]
    for group, one in joint.groups.items():
        for feature, value in zip(one.names, one.coefficients.tolist(), strict=True):
            found.append((group, feature, value, (group, feature)))
    terms = [
        Term(
            group=group,
            feature=feature,
            coefficient=value,
            low=joint.low[key],
            high=joint.high[key],
            identified=joint.high[key] - joint.low[key] < _SPANS * value,
        )
        for group, feature, value, key in found
    ]
    known = np.isfinite(joint.out)
    off = joint.out[known] / seconds[known]
    groups = tuple(
        Group(name=group, ops=tuple(sorted({
            op.op for cell in cells for op in cell.works if op.group == group})))
        for group in joint.groups
    )  # fmt: skip
    whole = Whole(
        rows=len(cells),
        networks=len(set(names)),
        error=float(np.mean(np.abs(off - 1))) if known.any() else None,
        noise=median(cell.noise for cell in cells),
        factor=fit.factor(np.log(off)) if known.any() else None,
        how="networks left out in turn",
    )
    return audited(_untimed(measured, name, peaks, tuple(terms), groups, whole))


def _untimed(
    measured: Measured,
    name: str,
    peaks: Peaks | None,
    terms: tuple[Term, ...],
    groups: tuple[Group, ...],
    whole: Whole,
) -> CostModel:
    batches = [cell.batch for cell in measured.networks]
    return CostModel(
        name=name or str(measured.device.get("model") or measured.target.device),
        target=measured.target,
        precision=measured.precision,
        terms=terms,
        groups=groups,
        peaks=peaks or Peaks(),
        sources=measured.sources,
        network=whole,
        batches=(min(batches), max(batches)),
        notes=("Fitted on whole networks: no op was timed, so groups may hide each other.",),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
    )


def _calibrated(rows: Rows, prior: CostModel) -> tuple[dict[str, Fitted], float]:
    known = {}
    for group in prior.groups:
        terms = prior.terms_of(group.name)
        names = tuple(term.feature for term in terms)
        known[group.name] = (names, np.array([term.coefficient for term in terms]))
    try:
        return fit.calibrated(rows, known)
    except ValueError as error:
        raise UsageError(
            "The prior knows none of the measured ops.", "Give a model of the same backend."
        ) from error


def _terms(group: str, one: Fitted, mine: Rows, launches: float) -> list[Term]:
    if not len(mine.seconds):
        return [
            Term(group=group, feature=name, coefficient=float(value), identified=False)
            for name, value in zip(one.names, one.coefficients, strict=True)
        ]
    low, high = fit.bootstrap(one, mine)
    amounts = features.matrix(one.names, mine.columns)
    few = len(set(mine.shapes)) < fit.FEW_SHAPES
    result = []
    for index, feature in enumerate(one.names):
        value, present = float(one.coefficients[index]), amounts[:, index][amounts[:, index] > 0]
        if not len(present) or value <= 0:
            continue
        scale = launches if feature == "launch" else 1.0
        reach = float(high[index] - low[index])
        result.append(
            Term(
                group=group,
                feature=feature,
                coefficient=value * scale,
                low=float(low[index]) * scale,
                high=float(high[index]) * scale,
                identified=not few and reach < _SPANS * value,
                smallest=float(present.min()),
                largest=float(present.max()),
            )
        )
    return result


def _scaled(one: Fitted, added: Overhead) -> Fitted:
    """With the launch term as the model has it."""
    scale = [added.launches if name == "launch" else 1.0 for name in one.names]
    return one._replace(coefficients=one.coefficients * np.array(scale))


def _group(
    name: str, one: Fitted, mine: Rows, factor: float | None, prior: CostModel | None
) -> Group:
    if not len(mine.seconds):
        old = prior.group(name) if prior else None
        return Group(name=name, ops=old.ops if old else (), factor=None, pooled=True)
    amounts = features.matrix(one.names, mine.columns)
    kept = (one.coefficients > 0) & (amounts > 0).any(axis=0)
    amounts, coefficients = amounts[:, kept], one.coefficients[kept]
    inverse, most = fit.leverage(amounts / np.maximum(amounts @ coefficients, 1e-12)[:, None])
    columns = mine.columns
    domain = {
        column: (float(values.min()), float(values.max()))
        for column, values in columns.items()
        if column in _DOMAIN and values.max() > 1
    }
    off = np.abs(one.out / mine.seconds - 1) if len(one.out) else np.array([np.nan])
    return Group(
        name=name,
        ops=tuple(sorted({each.op for each in mine.works})),
        rows=len(mine.seconds),
        shapes=len(set(mine.shapes)),
        domain=domain,
        error=float(np.nanmean(off)) if np.isfinite(off).any() else None,
        noise=float(np.median(fit.HUBER * np.sqrt(1 / mine.weights - 1))),
        factor=factor,
        leverage=most,
        inverse=tuple(float(value) for value in inverse[np.triu_indices(len(coefficients))]),
        pooled=one.prior is not None,
    )


_DOMAIN = ("batch", "m", "n", "k", "window", "h_in", "bytes_out")


def _notes(groups: Sequence[Group], added: Overhead) -> tuple[str, ...]:
    notes = []
    poor = [group.name for group in groups if group.shapes < fit.FEW_SHAPES]
    if poor:
        notes.append(
            f"Fewer than {fit.FEW_SHAPES} shapes of {', '.join(poor)}: their terms are borrowed "
            "from the other ops; measure more of them."
        )
    if abs(added.launches - 1) > 0.02:
        notes.append(f"Whole networks scaled the launch terms by {added.launches:.2f}.")
    return tuple(notes)


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


# --- the speed of light ---------------------------------------------------------------------------


def _peaks(measured: Measured) -> Peaks:
    """What was measured: the roofline where there is one, and the fastest op of the Runs."""
    if measured.roof is None:
        return Peaks()
    flops = measured.rows.columns["flops"] / measured.rows.seconds
    return Peaks(
        flops_per_s=max(measured.roof.flops_per_s, float(flops.max())),
        bytes_per_s=max(rate for _, rate in measured.roof.bandwidths),
        launch_s=measured.roof.launch_s,
        source="measured by nnprof devices, or the fastest op of the Runs",
    )


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
    unit, scale = ("GFLOP/s", 1e9) if feature.resource == "flop" else ("GB/s", 1e9)
    return f"{rate / scale:.3g} {unit}: {rate / peak:.1f} times the peak"


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
