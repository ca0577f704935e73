"""From Runs to a `CostModel`: measured ops fitted, held against whole networks and physics."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from msgspec import to_builtins
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.networks.families import parse_network
from nnprof.profiler import checks, counts, reconcile, results, roofline, stats
from nnprof.profiler.costmodel import features, fit, kernels, predict, work
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
    fitted_in,
)
from nnprof.profiler.costmodel.work import Work
from nnprof.types import Measurement, OpTime, Run, Target

Array = NDArray[np.float64]
_ACTIVATIONS = ("relu", "sigmoid", "tanh")  # that the rules "fused" give to the op before
_POOLS = ("averagepool", "globalaveragepool", "maxpool")
_LEAST_NETWORKS = 5  # below this the floor is as measured, and launches are not touched
_MOST_FOLDS = 12
LEAST_ASKED = 19  # networks that an interval is calibrated with; fewer are too few for 90 %
FEW_NETWORKS = 3  # below this no network is left out to see how it is predicted
_DEVIATIONS = 1.96  # standard errors in half a 95 % interval
_TOLERANCE = 1.05  # over a peak that is allowed before the audit speaks
_SPANS = 2.0  # width of an interval over its coefficient at which a term is not identified


class Cellular(NamedTuple):
    """A measured network: its ops in order, and its time.

    `noise` is the relative spread of its repeats, None where there was one. `doubt` says why its
    time cannot be held against its ops, "" where it can.
    """

    name: str
    batch: int
    seconds: float
    noise: float | None
    works: tuple[Work, ...]
    doubt: str = ""


class Measured(NamedTuple):
    """All that Runs say: rows of ops, whole networks, and the cost of a call.

    `call_s` is 0 where no floor was measured. `idle` are ops, by group, that never took any time.
    `asked` are networks of which only the time was measured, beside others whose ops were; they say
    how far off predictions are, and nothing is fitted on them.
    """

    rows: Rows
    networks: tuple[Cellular, ...]
    call_s: float
    target: Target
    precision: str
    device: dict[str, object]
    sources: tuple[Source, ...]
    roof: roofline.Roofline | None
    idle: dict[str, set[str]]
    notes: tuple[str, ...] = ()
    asked: tuple[Cellular, ...] = ()

    @property
    def whole(self) -> tuple[Cellular, ...]:
        """The networks whose time can be held against their ops."""
        return tuple(cell for cell in self.networks if not cell.doubt)


def read(paths: Sequence[Path]) -> Measured:
    """What these Runs measured.

    Raises:
        BadFile: a file is no Run.
        UsageError: they are of different targets, or hold nothing that can be fitted.
    """
    runs = [results.load(path) for path in paths]
    sources = tuple(
        Source(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest()[:16])
        for path in paths
    )
    return gathered(runs, sources)


def gathered(runs: Sequence[Run], sources: tuple[Source, ...]) -> Measured:
    """The same for Runs in memory."""
    cells = _cells(runs)
    first, environment = cells[0], runs[0].environment
    roof = roofline.stated(environment, first.target.threads)
    timed = [_timed(cell) for cell in cells]
    rules = kernels.lowering_of(first.target)
    works = [work.of_nodes(ops, rules) for ops in timed]
    rows = fit.rows(
        (one for ops in works for one in ops),
        [op.seconds for ops in timed for op in ops],
        [cell.workload.model.name for cell, ops in zip(cells, timed, strict=True) for _ in ops],
        [_spread(op, cell) for cell, ops in zip(cells, timed, strict=True) for op in ops],
        roof.bandwidths if roof else (),
        [one for ops in timed for one in _shares(ops)],
        kernels.library_of(first.target),
    )
    asked: tuple[Cellular, ...] = ()
    if len(rows.seconds):
        networks = tuple(_cell(*each, _doubt(each[0])) for each in zip(cells, works, strict=True))
        asked = _asked(cells, networks, rules or _lowering(rows.works), _value_bytes(rows))
        networks = tuple(cell for cell in networks if cell.doubt != "untimed" or not asked)
    else:
        networks = _without_ops(cells)
    floors = [process.floor_s for cell in cells for process in cell.processes]
    return Measured(
        rows=rows,
        networks=networks,
        call_s=median(floors) if floors else 0.0,
        target=first.target,
        precision=first.workload.precision,
        device=dict(environment.get("device") or {}),
        sources=sources,
        roof=roof,
        idle=_idle(works, rows),
        notes=(*_shapeless(cells), *_left_out(networks)),
        asked=asked,
    )


def _cells(runs: Sequence[Run]) -> list[Measurement]:
    """All cells of the Runs.

    Raises:
        UsageError: there is none, or they are not of one target and precision.
    """
    cells = [cell for run in runs for cell in run.measurements]
    if not cells:
        failed = sum(len(run.failures) for run in runs)
        only = f", only {failed} failures" if failed else ""
        raise UsageError(
            f"The Runs hold no measurement{only}.", "Give Runs that nnprof bench wrote."
        )
    settings = [
        {**to_builtins(cell.target), "precision": cell.workload.precision} for cell in cells
    ]
    for name in settings[0]:
        found = sorted({str(one[name]) for one in settings})
        if len(found) > 1:
            raise UsageError(
                f"The Runs are of different targets or precisions; {name}: {', '.join(found)}.",
                "A model is of one device, backend, number of threads and precision: "
                "fit one for each.",
            )
    return cells


def _ops(cell: Measurement) -> list[OpTime]:
    """The op times of a cell; what a call costs is none."""
    return [op for op in (cell.ops.ops if cell.ops else ()) if op.node != reconcile.CALL]


def _timed(cell: Measurement) -> list[OpTime]:
    """Those whose shapes are known."""
    return [op for op in _ops(cell) if op.outputs]


def _without_ops(cells: Sequence[Measurement]) -> tuple[Cellular, ...]:
    """Networks of Runs without op times, with the ops that the rules give them.

    Raises:
        UsageError: no times of networks that say what they are, or of too few.
    """
    networks = tuple(_lowered(cell) for cell in cells)
    usable = {cell.name for cell in networks if not cell.doubt}
    if len(usable) >= FEW_NETWORKS:
        return networks
    if any(_ops(cell) for cell in cells):
        raise UsageError(
            "The Runs hold op times, but nothing tells what the ops had to do: shapes are missing.",
            "Import them with their shapes (docs/import.md).",
        )
    raise UsageError(
        f"The Runs hold no op times, and clean times of only {len(usable)} networks in notation.",
        f"Measure the ops, or at least {FEW_NETWORKS} networks in notation.",
    )


def _lowered(cell: Measurement) -> Cellular:
    """A network without op times, with the ops that the rules give it."""
    notation = cell.workload.model.network
    if notation is None:
        return _cell(cell, (), "nameless")
    rules = kernels.lowering_of(cell.target) or "fused"
    works = work.of_spec(parse_network(notation), rules, cell.workload.batch)
    return _cell(cell, works, "" if checks.is_clean(cell) else "unclean")


def _asked(
    cells: Sequence[Measurement],
    networks: Sequence[Cellular],
    lowering: str,
    value_bytes: float,
) -> tuple[Cellular, ...]:
    """The networks whose ops were not timed, with those that the rules give them.

    None at all where one of them is in no notation, or where they are too few for an interval.
    """
    untimed = [cell for cell, one in zip(cells, networks, strict=True) if one.doubt == "untimed"]
    notations = [cell.workload.model.network for cell in untimed]
    found = tuple(
        _cell(cell, work.of_spec(
            parse_network(notation), lowering, cell.workload.batch, value_bytes), "")
        for cell, notation in zip(untimed, notations, strict=True)
        if notation is not None
    )  # fmt: skip
    enough = len({cell.name for cell in found}) >= LEAST_ASKED
    return found if enough and len(found) == len(untimed) else ()


def _doubt(cell: Measurement) -> str:
    """Why the network's time cannot be held against its ops: one of `_DOUBTS`, or ""."""
    if not checks.is_clean(cell):
        return "unclean"
    ops = _ops(cell)
    if not ops:
        return "untimed"
    total_s = sum(op.seconds for op in ops)
    return "" if sum(op.seconds for op in _timed(cell)) >= _MOST * total_s else "shapeless"


# Why a network's time is not used, and how the notes say it of several.
_DOUBTS = {
    "unclean": "their time is not a clean one",
    "untimed": "their ops were not timed",
    "shapeless": "the shapes of their ops are not all known",
    "nameless": "their names are no notation",
}
_MOST = 0.99  # of a network's op times that must be of ops whose shapes are known


def _left_out(networks: Sequence[Cellular]) -> list[str]:
    """A sentence on the networks that whole networks are not checked with."""
    doubts = Counter(cell.doubt for cell in networks if cell.doubt)
    if not doubts:
        return []
    parts = "; ".join(f"{count}: {_DOUBTS[doubt]}" for doubt, count in doubts.items())
    return [
        f"Left out of the fit and the check of whole networks: {doubts.total()} of "
        f"{len(networks)} cells ({parts})."
    ]


def _shapeless(cells: Sequence[Measurement]) -> list[str]:
    """A sentence on op times that no feature can be made of."""
    every = [op for cell in cells for op in _ops(cell)]
    lost = [op for op in every if not op.outputs and op.seconds > 0]
    if not lost:
        return []
    share = sum(op.seconds for op in lost) / sum(op.seconds for op in every)
    names = sorted({op.op for op in lost})
    listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
    return [f"{len(lost)} op times without shapes ({listed}), {share:.1%} of all time, left out."]


def _idle(works: Sequence[Sequence[Work]], rows: Rows) -> dict[str, set[str]]:
    """Ops by group of which no measurement took any time: known, and free."""
    found: dict[str, set[str]] = {}
    timed = set(rows.groups)
    for one in (one for ops in works for one in ops):
        if one.group not in timed:
            found.setdefault(one.group, set()).add(one.op)
    return found


def _spread(op: OpTime, cell: Measurement) -> float:
    """Standard error of an op's time, relative; 0 where nothing tells.

    From its 95 % interval, which is 2 × 1.96 standard errors wide. Of an imported op the smallest
    and the largest repetition, which are few, stand in for the ends of that interval.
    """
    low, high = op.low_s, op.high_s
    if low is None or high is None:
        ends = {one.method: one.ops for one in cell.op_passes}
        low = _seconds_at(ends.get("smallest", ()), op.index)
        high = _seconds_at(ends.get("largest", ()), op.index)
    if low is None or high is None or op.seconds <= 0:
        return 0.0
    return (high - low) / (2 * _DEVIATIONS) / op.seconds


def _shares(ops: Sequence[OpTime]) -> list[float]:
    """Of each op, its share of their time."""
    total_s = sum(op.seconds for op in ops) or 1.0
    return [op.seconds / total_s for op in ops]


def _value_bytes(rows: Rows) -> float:
    """Bytes of a value, as most ops have them."""
    columns = rows.columns
    written = columns["elements_out"] > 0
    each = columns["bytes_out"][written] / columns["elements_out"][written]
    return float(np.median(each)) if len(each) else work.VALUE_BYTES


def _seconds_at(ops: Sequence[OpTime], index: int) -> float | None:
    return next((op.seconds for op in ops if op.index == index), None)


def _cell(cell: Measurement, works: tuple[Work, ...], doubt: str) -> Cellular:
    medians = stats.process_medians_s(cell)
    noise = stats.spread(medians) if len(medians) > 1 else None
    name, batch = cell.workload.model.name, cell.workload.batch
    return Cellular(name, batch, stats.latency_s(cell), noise, works, doubt)


# --- whole networks -------------------------------------------------------------------------------


class Overhead(NamedTuple):
    """What the refit on whole networks changes: the call, and a factor on every launch term."""

    call_s: float
    launches: float


def overhead(found: Mapping[str, Fitted], cells: Sequence[Cellular], call_s: float) -> Overhead:
    """The two numbers that whole networks may change; bias beyond them stays visible.

    Found by `fit.mapped` around the measured call and a factor of 1, on networks whose ops are all
    known. Where no call was measured, it is looked for around what the fastest quarter takes
    more than its ops, or around a launch if that is more.
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
        start_s = max(more_s, median(_launches_s(found) or [0.0]))
    matrix = np.column_stack((np.ones(len(kept)), launches))
    call, scale = fit.mapped(matrix, seconds, np.array([start_s, 1.0]), None, rest)
    return Overhead(float(call), float(scale))


def _launches_s(found: Mapping[str, Fitted]) -> list[float]:
    """What a launch costs, of each group that has one."""
    return [
        float(value)
        for one in found.values()
        for name, value in zip(one.names, one.coefficients, strict=True)
        if name == "launch" and value > 0
    ]


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
    predicted = np.full(len(cells), np.nan)
    if len(names) < FEW_NETWORKS:
        return predicted
    for fold in range(min(_MOST_FOLDS, len(names))):
        out = set(names[fold :: min(_MOST_FOLDS, len(names))])
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
    if any(fit.kind_of(name) == "view" for name in found):
        return found
    launches = _launches_s(found)
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
        factor=fit.factor(np.maximum(np.abs(np.log1p(off)) - wider[known], 0.0)),
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
    found = _free(measured) if prior is None else _calibrated(measured, prior)
    terms, groups = _parts(measured, found, prior)
    same_runtime = prior is not None and prior.target.backend == measured.target.backend
    lowering = kernels.lowering_of(measured.target) or _lowering(
        rows.works, prior.lowering if prior and same_runtime else "fused"
    )
    batches = [cell.batch for cell in measured.networks]
    result = CostModel(
        name=name or str(measured.device.get("model") or measured.target.device),
        target=measured.target,
        device={key: measured.device.get(key) for key in ("name", "model", "caches")},
        precision=measured.precision,
        lowering=lowering,
        value_bytes=_value_bytes(rows),
        same=_same(found.groups),
        terms=terms,
        groups=groups,
        peaks=peaks or _peaks(measured),
        sources=measured.sources,
        calibration=found.calibration,
        batches=(min(batches), max(batches)),
        notes=(*_notes(groups, found, lowering), *measured.notes),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    if prior is None:
        result = replace(result, network=_whole(measured, found, result))
    return fitted_in(audited(_shared(result, measured), rows))


def _parts(
    measured: Measured, found: _Found, prior: CostModel | None
) -> tuple[tuple[Term, ...], tuple[Group, ...]]:
    """Terms and groups as the model file has them."""
    call = Term(group=NETWORK, feature="call", coefficient=found.added.call_s)
    terms = [call] if found.added.call_s > 0 else []
    factors, groups = fit.factors(found.groups, measured.rows), []
    growths = fit.growths(measured.rows, factors) if prior is None else {}
    for name, one in found.groups.items():
        mine = measured.rows.only(measured.rows.groups == name)
        terms += _seen_by(prior, _terms(name, one, mine, found.added.launches))
        if len(mine.seconds):
            group = _group(name, _scaled(one, found.added), mine, factors.get(name))
            groups.append(replace(group, growth=growths.get(name)))
        elif name in measured.idle:
            groups.append(Group(name=name, ops=tuple(sorted(measured.idle[name]))))
        else:
            old = prior.group(name) if prior else None
            ops = old.ops if old else ("Reshape",) if fit.kind_of(name) == "view" else ()
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


def _lowering(works: Sequence[Work], prior: str = "fused") -> str:
    """The rules that the ops speak for; else a prior's."""
    return "blocked16" if any(one.op.startswith("Reorder") for one in works) else prior


def _same(found: Mapping[str, Fitted]) -> dict[str, str]:
    """Groups that others stand for.

    Pools of frameworks that do not tell which kind they are: all kinds are alike to them. Views:
    none of them moves anything, whatever it is called.
    """
    same = {name: "pooling" for name in _POOLS if "pooling" in found}
    views = sorted(name for name in found if fit.kind_of(name) == "view")
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
    library = measured.rows.library
    joint = fit.fit_networks([cell.works for cell in cells], seconds, names, library)
    found = [(NETWORK, "call", joint.call_s, ("", "call"))]
    for group, one in joint.groups.items():
        for feature, value in zip(one.names, one.coefficients.tolist(), strict=True):
            found.append((group, feature, value, (group, feature)))
    works = [op for cell in cells for op in cell.works]
    terms = []
    for group, feature, value, key in found:
        term = Term(
            group=group,
            feature=feature,
            coefficient=value,
            low=joint.low[key],
            high=joint.high[key],
            identified=joint.high[key] - joint.low[key] < _SPANS * value,
            largest=_most(group, feature, works),
        )
        terms.append(term)
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
        noise=_noise(cells),
        factor=fit.factor(np.log(off)) if known.any() else None,
        how="networks left out in turn",
    )
    return audited(_untimed(measured, name, peaks, tuple(terms), groups, whole))


def _most(group: str, feature: str, works: Sequence[Work]) -> float | None:
    """The largest amount of a feature in the ops of a group; None where there is none."""
    mine = [op for op in works if op.group == group]
    if not mine:
        return None
    return float(features.FEATURES[feature].of(fit.columns_of(mine)).max()) or None


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
        lowering=kernels.lowering_of(measured.target) or "fused",
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
    low, high = fit.bootstrap(one, mine)
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
    inverse, most = fit.leverage(relative, one.held(kept))
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
