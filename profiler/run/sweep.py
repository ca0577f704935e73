"""The sweep: cells in shuffled rounds of fresh processes, each result on disk before the next.

A round gives every unfinished cell one process, in an order of its own, so that whatever drifts
hits all cells alike. After the plan's number of processes a cell ends when its interval is narrow
enough, or at the plan's limits.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import msgspec
from msgspec.structs import replace

from nnprof.errors import BadFile, CellError, NnprofError, UsageError, WorkerCrashed, WorkerTimeout
from nnprof.exporters.export import export
from nnprof.exporters.identity import require_same
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.files import AnyPath
from nnprof.networks.families import parse_network
from nnprof.profiler import checks, results, stats
from nnprof.profiler.place import claims, kept
from nnprof.profiler.place.limits import Roofline
from nnprof.profiler.place.place import Place
from nnprof.profiler.place.watcher import Effect
from nnprof.profiler.run import budget
from nnprof.profiler.timing import passes, reconcile
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import CHAIN, Loop, Looped, Measure, Measured, Probe
from nnprof.types import (
    LOCAL,
    Cell,
    Failure,
    IdlePass,
    Lost,
    Measurement,
    Model,
    OpPass,
    Plan,
    Process,
    Run,
    Study,
    Target,
)

_LOG = logging.getLogger(__name__)
_PROBE_LIMIT_S = 120.0
_ENDED = (WorkerCrashed.__name__, WorkerTimeout.__name__)
_ENERGY_PROCESSES = 3  # of a cell measure energy: the least that give it an interval
_LEAST_PROCESSES = 3  # fewer give no interval worth the name, so the time limit waits for them


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep tells after each process.

    `measurement` is the cell so far; `failure` is why there will be no more of it.
    `finished` cells of `total` need nothing further; about `left_s` seconds remain. `done`
    processes have ended, `expected` is how many there will be as far as one can tell; after the
    last one of a round it is `round_over`.
    """

    cell: Cell
    measurement: Measurement | None
    failure: Failure | None
    finished: int
    total: int
    left_s: float
    done: int
    expected: int
    round_over: bool = False


def _unique(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Each cell once, under the first name that it was asked for by; other names are told."""
    first: dict[str, Cell] = {}
    for cell in cells:
        first.setdefault(cell.key, cell)
    pairs = ((cell.workload.model, first[cell.key].workload.model) for cell in cells)
    for model, same in dict.fromkeys((m.path or m.name, k.path or k.name) for m, k in pairs):
        if model != same:
            _LOG.warning("%s is the same model as %s, and is measured once, as that.", model, same)
    return tuple(first.values())


def start(
    name: str, command: Sequence[str], cells: Sequence[Cell], plan: Plan, folder: AnyPath
) -> tuple[Run, Path]:
    """A Run with nothing measured yet, on disk; every model has been opened once.

    Raises:
        UsageError: there are no cells, or cells of several targets; the target is not here or
            refuses a model; the folder is unwritable.
    """
    _require_one_target(cells)
    unique = _unique(cells)
    study = Study(
        name=name,
        command=tuple(command),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        plan=plan,
        cells=unique,
    )
    target = unique[0].target
    where = target.device if target.host == LOCAL else target.host.removeprefix("ssh://")
    run = Run(study=study, environment={})
    path = results.save_new(run, Path(folder), where)
    try:
        run = replace(run, environment=_probe(unique))
    except NnprofError:
        path.unlink()
        raise
    results.save(run, path)
    return run, path


def _require_one_target(cells: Sequence[Cell]) -> None:
    """One Run has one environment, which its first cell stands for."""
    if not cells:
        raise UsageError("There is nothing to measure: no cells.", "Give at least one cell.")
    one = cells[0].target
    for cell in cells:
        if cell.target != one:
            raise UsageError(
                f"The cells have several targets, such as {_named(one)} and {_named(cell.target)}.",
                "Start a run for each, and compare them.",
            )


def _named(target: Target) -> str:
    """A target in a sentence."""
    told = [f"{name} {value}" for name, value in msgspec.structs.asdict(target).items() if value]
    return f"({', '.join(told)})"


def probe(target: Target) -> dict[str, Any]:
    """The environment of a target, as a Run keeps it.

    Raises:
        UnknownName, Unavailable: it is not here.
    """
    answer = hosts.run(Probe(target=target), _PROBE_LIMIT_S)
    return answer.environment


def _probe(cells: Sequence[Cell]) -> dict[str, Any]:
    """The environment; raises what the runtime has against all models, before hours are spent.

    A model that is refused, crashes the worker or does not fit is no reason to stop the others: it
    will be a Failure in its own cells.
    """
    target = cells[0].target
    _LOG.debug(
        "asking %s on %s for its version, and whether it takes the models",
        target.backend,
        target.device,
    )
    # The smallest batch asked for first; a network need not run at one that nobody asked for.
    asked = tuple(sorted((cell.workload for cell in cells), key=lambda work: work.batch))
    try:
        answer = hosts.run(Probe(target=target, workloads=asked), _PROBE_LIMIT_S)
    except CellError:
        environment = probe(target)
    else:
        environment = answer.environment
    place = Place(target, environment)
    known, no_limits = kept.load(Roofline, place)
    watching, no_watching = kept.load(Effect, place)
    unused = {"roofline": no_limits, "telemetry_effect": no_watching}
    return {
        **environment,
        "roofline": known and msgspec.structs.asdict(known),
        "telemetry_effect": watching and msgspec.structs.asdict(watching),
        "not_used": {what: why for what, why in unused.items() if why},
    }


def resume(path: AnyPath) -> Run:
    """A Run read back, its models at hand again, its failed cells open for another try.

    Raises:
        BadFile: it is no Run, or a model of it cannot be had any more.
    """
    path = Path(path)
    run = results.load(path)
    if "imported" in run.environment:
        raise UsageError(f"{path} was imported, not measured here.", "Start a run of your own.")
    models = {cell.workload.model.sha256: cell.workload.model for cell in run.study.cells}
    found = {digest: _find_again(model) for digest, model in models.items()}
    cells = tuple(
        replace(cell, workload=replace(cell.workload, model=found[cell.workload.model.sha256]))
        for cell in run.study.cells
    )
    reopened = tuple(
        replace(measurement, stopped="")
        if measurement.stopped in ("failure", "budget")
        else measurement
        for measurement in run.measurements
    )
    study = replace(run.study, cells=cells)
    here = _probe(cells)
    if run.environment:
        _same_place(run.environment, here, path)
    environment = {**run.environment, **here}
    return replace(
        run, study=study, environment=environment, measurements=reopened, failures=(), left_out=()
    )


# Facts of a device that may differ between two looks at one place, or are told of another way.
_VOLATILE = {"why", "memory_bytes", "power_modes", "rails", "total_rail", "thermal_zones"}


def _same_place(then: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Refuse to mix numbers of two machines, or of one that is set otherwise, in one Run.

    What the Run does not state, because an older nnprof did not look at it, is not held against it.
    """
    differences = [
        (f"{part} {fact}".strip(), was, is_now)
        for part in ("nnprof", "python", "system", "variables", "device", "backend")
        for fact, was, is_now in _differences(then.get(part), now.get(part), part == "variables")
    ]
    if differences:
        what, was, is_now = differences[0]
        more = f" (and {len(differences) - 1} more)" if differences[1:] else ""
        raise UsageError(
            f"{path} was measured with {what} '{was}'; here it is '{is_now}'{more}.",
            "Make it as it was, or start a new run and compare the two.",
        )


def _differences(was: Any, is_now: Any, whole: bool) -> Iterator[tuple[str, Any, Any]]:
    """What differs between two sets of facts; in a `whole` one what is missing is not set."""
    if was is None or was == is_now:
        return
    if not isinstance(was, Mapping) or not isinstance(is_now, Mapping):
        yield "", was, is_now
        return
    for fact in dict.fromkeys((*was, *is_now)):
        if (fact in was or whole) and fact not in _VOLATILE:
            before, after = was.get(fact), is_now.get(fact)
            if before != after:
                yield fact, *("not set" if one is None else one for one in (before, after))


def _find_again(model: Model) -> Model:
    try:
        require_same(model)
    except BadFile:
        pass
    else:
        return model
    if model.network is not None and model.weights.startswith("seed"):
        again = export(parse_network(model.name))
        if again.sha256 == model.sha256:
            return replace(model, path=again.path)  # with its batch where the user said
    raise BadFile(
        f"{model.path} is no longer the model that was measured (sha256 {model.sha256[:12]}…).",
        "Put the same file back, or start a new run.",
    )


def sweep(run: Run, path: AnyPath) -> Iterator[Step]:
    """Measure what is missing, saving after every process; one Step per process.

    Meanwhile what is measured on, and the file, are this process's alone.

    Raises:
        Busy: another nnprof measures there, or writes the file.
        UsageError: it has been written since the Run was read.
    """
    with claims.held(run.study.cells[0].target) as others, results.writing(path):
        results.require_unchanged(run, path)
        if others:
            beside = sorted({*run.environment.get("measured_beside", ()), *others})
            run = replace(run, environment={**run.environment, "measured_beside": beside})
        loop = run.study.plan.protocol == "loop"
        yield from _loop(run, path) if loop else _rounds(run, path)


def _rounds(run: Run, path: AnyPath) -> Iterator[Step]:
    plan, cells = run.study.plan, {cell.key: cell for cell in run.study.cells}
    done = {_key(measurement): measurement for measurement in run.measurements}
    failed: dict[str, Failure] = {}
    out: set[str] = set()  # cells without a process, for which no budget is left
    before_s, begin, spent_s = run.study.wall_s, perf_counter(), 0.0
    floors = identity_model(), chain_model(CHAIN)
    known = _known(run.measurements)
    while keys := _next_round(cells, done, {*failed, *out}, plan):
        for index, key in enumerate(keys):
            open_keys = _open(cells, done, {*failed, *out})
            passed_s = max(spent_s, perf_counter() - begin)
            offer = budget.offer(key, open_keys, done, plan, passed_s)
            try:
                if offer.runs:
                    _tell(cells[key], done.get(key), plan)
                    more = _one_more(cells[key], done.get(key), plan, floors, known, offer)
                    spent_s += budget.spent_s(more)
                    done[key] = _judged(more, run.environment.get("device") or {})
                else:
                    _leave(key, done, out)
            except NnprofError as error:
                if isinstance(error, WorkerTimeout) and offer.limit_s < plan.process_limit_s:
                    _leave(key, done, out)
                else:
                    failed[key] = _failure(cells[key], error)
                    if key in done:
                        done[key] = replace(done[key], stopped="failure")
            run = replace(
                run,
                study=replace(run.study, wall_s=before_s + perf_counter() - begin),
                measurements=tuple(done[key] for key in cells if key in done),
                failures=tuple(failed[key] for key in cells if key in failed),
                left_out=tuple(index for index, key in enumerate(cells) if key in out),
            )
            results.save(run, path)
            step = _step(cells, key, done, failed, out, plan)
            yield replace(step, round_over=index == len(keys) - 1)


def _open(
    cells: Mapping[str, Cell], done: Mapping[str, Measurement], closed: set[str]
) -> list[str]:
    """The cells that need a further process."""
    return [key for key in cells if key not in closed and not _finished(done.get(key))]


def _next_round(
    cells: Mapping[str, Cell], done: Mapping[str, Measurement], closed: set[str], plan: Plan
) -> list[str]:
    """The cells of the next round, in its order; none at the end.

    Cells that a cut-off round had reached already wait for the others to catch up.
    """
    counts = {
        key: len(done[key].processes) if key in done else 0 for key in _open(cells, done, closed)
    }
    number = min(counts.values(), default=0)
    keys = [key for key, count in counts.items() if count == number]
    # Not for secrets: the order must be repeatable.
    random.Random(f"{plan.seed}.{number}").shuffle(keys)  # noqa: S311
    return keys


def _leave(key: str, done: dict[str, Measurement], out: set[str]) -> None:
    """End a cell for want of budget: as it is, or, without a process, left out."""
    if key in done:
        ended = replace(done[key], stopped="budget")
        done[key] = replace(ended, checks=checks.find(ended))
    else:
        out.add(key)


def _tell(cell: Cell, sofar: Measurement | None, plan: Plan) -> None:
    number = len(sofar.processes) if sofar else 0
    ops_too = " with ops" if plan.op_method != "none" and number < plan.op_processes else ""
    _LOG.debug(
        "batch %d, process %d%s, %s", cell.workload.batch, number + 1, ops_too,
        cell.workload.model.name,
    )  # fmt: skip


def _loop(run: Run, path: AnyPath) -> Iterator[Step]:
    """The protocol of 2016: one process, all networks in order, several turns. All or nothing."""
    cells = {cell.key: cell for cell in run.study.cells}
    if len(run.measurements) == len(cells):
        return
    first = run.study.cells[0]
    job = Loop(
        workloads=tuple(cell.workload for cell in cells.values()),
        target=first.target,
        floor=identity_model(),
    )
    begin = perf_counter()
    try:
        answer = hosts.run(job, run.study.plan.process_limit_s * len(cells))
    except NnprofError as error:
        failed = {key: _failure(cell, error) for key, cell in cells.items()}
        results.save(replace(run, failures=tuple(failed.values())), path)
        for key in cells:
            yield _step(cells, key, {}, failed, set(), run.study.plan)
        return
    wall_s = perf_counter() - begin
    measurements = tuple(
        _turns(cell, run.study.plan, answer, index) for index, cell in enumerate(cells.values())
    )
    study = replace(run.study, wall_s=run.study.wall_s + wall_s)
    results.save(replace(run, study=study, measurements=measurements), path)
    done = {_key(measurement): measurement for measurement in measurements}
    for key in cells:
        yield _step(cells, key, done, {}, set(), run.study.plan)


def _turns(cell: Cell, plan: Plan, answer: Looped, index: int) -> Measurement:
    """One network of a loop: each turn takes the place of a process."""
    samples_s = tuple(turn[index] for turn in answer.samples_s)
    processes = tuple(
        Process(
            round=number,
            processors=answer.processors,
            loops=1,
            state=stats.classify(calls_s),
            floor_s=answer.floor_s,
            open_s=answer.open_s[number][index],
            timed_s=sum(calls_s),
            wall_s=answer.open_s[number][index] + sum(calls_s),
            before=answer.readings[number],
            after=answer.readings[number + 1],
        )
        for number, calls_s in enumerate(samples_s)
    )
    measurement = Measurement(
        workload=cell.workload,
        target=cell.target,
        plan=plan,
        clock=answer.clock,
        samples_s=samples_s,
        warmups_s=tuple(() for _ in samples_s),
        processes=processes,
        facts=answer.facts,
        stopped="processes",
    )
    return replace(measurement, checks=checks.find(measurement))


def _key(measurement: Measurement) -> str:
    return Cell(workload=measurement.workload, target=measurement.target).key


def _finished(measurement: Measurement | None) -> bool:
    return measurement is not None and measurement.finished


def _failure(cell: Cell, error: NnprofError) -> Failure:
    return Failure(
        workload=cell.workload,
        target=cell.target,
        error=type(error).__name__,
        reason=error.reason,
        remedy=error.remedy,
    )


_Known = dict[str, list[float]]


def _known(measurements: Sequence[Measurement]) -> _Known:
    """Seconds of each op that was timed alone, by `ops.share_key`, one per process."""
    known: _Known = {}
    for measurement in measurements:
        for one in measurement.op_passes:
            _learn(known, one)
    return known


def _learn(known: _Known, one: OpPass) -> None:
    if one.method == "isolated":
        for op in one.ops:
            if op.runs:
                known.setdefault(passes.share_key(op), []).append(op.seconds)


def _one_more(
    cell: Cell,
    sofar: Measurement | None,
    plan: Plan,
    floors: tuple[Model, Model],
    known: _Known,
    offer: budget.Offer,
) -> Measurement:
    """The cell with one more process; what it learned of ops alone goes into `known`."""
    number = len(sofar.processes) if sofar else 0
    job = _job(cell, sofar, plan, floors, known, ops_too=offer.ops)
    begin = perf_counter()
    answer = hosts.run(job, offer.limit_s + 2 * plan.energy_s)
    lost = answer.lost
    if offer.limit_s < plan.process_limit_s:  # what the budget left out is told as such
        lost = tuple(one for one in lost if one.error not in (WorkerTimeout.__name__, "NotReached"))
    for one in answer.op_passes:
        _learn(known, one)
    fresh = Measurement(
        workload=cell.workload,
        target=cell.target,
        plan=plan,
        clock=answer.clock,
        samples_s=(answer.samples_s,),
        warmups_s=(answer.warmups_s,),
        processes=(_process(answer, number, perf_counter() - begin, lost),),
        op_passes=tuple(replace(one, process=number) for one in answer.op_passes),
        idle=tuple(
            IdlePass(gap_s=gap_s, samples_s=(answer.idle[index] if answer.idle else (),))
            for index, gap_s in enumerate(plan.idle_s)
        ),
        facts=answer.facts,
    )
    return _joined(sofar, fresh) if sofar else fresh


def _job(
    cell: Cell,
    sofar: Measurement | None,
    plan: Plan,
    floors: tuple[Model, Model],
    known: _Known,
    *,
    ops_too: bool,
) -> Measure:
    """What the next process of a cell is to do."""
    number, ended = len(sofar.processes) if sofar else 0, _ended_in(sofar)
    timed_ops = plan.op_method != "none" and number < plan.op_processes
    return Measure(
        # Each process draws other tiles, so that no luck of the data stays in the cell.
        workload=replace(cell.workload, seed=cell.workload.seed + number),
        target=cell.target,
        plan=replace(
            plan,
            telemetry_s=0.0 if "telemetry" in ended else plan.telemetry_s,
            idle_s=() if "idle" in ended else plan.idle_s,
        ),
        floor=floors[0],
        chain=floors[1],
        ops=timed_ops and ops_too and "ops" not in ended,
        energy=plan.energy_s > 0 and number < _ENERGY_PROCESSES and "energy" not in ended,
        known={
            key: median(times) for key, times in known.items() if len(times) >= plan.op_processes
        },
    )


def _ended_in(sofar: Measurement | None) -> set[str]:
    """Passes in which a worker of the cell ended: they are not tried again, the others are."""
    processes = sofar.processes if sofar else ()
    return {lost.what for one in processes for lost in one.lost if lost.error in _ENDED}


def _joined(sofar: Measurement, fresh: Measurement) -> Measurement:
    return replace(
        sofar,
        samples_s=(*sofar.samples_s, *fresh.samples_s),
        warmups_s=(*sofar.warmups_s, *fresh.warmups_s),
        processes=(*sofar.processes, *fresh.processes),
        op_passes=(*sofar.op_passes, *fresh.op_passes),
        idle=tuple(
            replace(old, samples_s=(*old.samples_s, *new.samples_s))
            for old, new in zip(sofar.idle, fresh.idle, strict=True)
        ),
    )


def _judged(measurement: Measurement, device: Mapping[str, Any]) -> Measurement:
    """With the best estimate of its ops, and, at its end, why it ended and what to know of it."""
    runtime = [one for one in measurement.op_passes if one.method == "runtime"]
    alone = measurement.plan.op_method == "runtime"
    best = runtime[0] if runtime else None
    if not alone:
        clean_s = stats.latency_s(measurement)
        cache_bytes = Place(measurement.target, {"device": device}).core_cache_bytes
        best = reconcile.combine(measurement.op_passes, clean_s, cache_bytes)
    measurement = replace(measurement, ops=best, stopped=_verdict(measurement))
    return replace(measurement, checks=checks.find(measurement) if measurement.finished else ())


def _process(answer: Measured, number: int, wall_s: float, lost: tuple[Lost, ...]) -> Process:
    return Process(
        round=number,
        processors=answer.processors,
        loops=answer.loops,
        state=answer.state,
        floor_s=answer.floor_s,
        open_s=answer.open_s,
        timed_s=answer.timed_s,
        wall_s=wall_s,
        before=answer.before,
        after=answer.after,
        during=answer.during,
        energy=answer.energy,
        cores=answer.cores,
        siblings=answer.siblings,
        lost=lost,
    )


def _verdict(measurement: Measurement) -> str:
    """Why the cell needs no further process; empty while it does."""
    plan, count = measurement.plan, len(measurement.processes)
    decided = stats.decided_after(stats.process_medians_s(measurement), plan)
    if decided is not None and count >= decided + plan.fresh:
        return "interval"
    if count >= plan.max_processes:
        return "processes"
    energies_s = 2 * plan.energy_s * min(count, _ENERGY_PROCESSES)
    spent_s = sum(process.wall_s for process in measurement.processes) - energies_s
    if count >= min(_LEAST_PROCESSES, plan.processes) and spent_s >= plan.cell_limit_s:
        return "time"
    return ""


def _step(
    cells: dict[str, Cell],
    key: str,
    done: dict[str, Measurement],
    failed: dict[str, Failure],
    out: set[str],
    plan: Plan,
) -> Step:
    over = [
        other for other in cells if other in failed or other in out or _finished(done.get(other))
    ]
    ended = {key: len(done[key].processes) if key in done else 0 for key in cells}
    missing = (max(1, plan.processes - ended[key]) for key in cells if key not in over)
    return Step(
        cell=cells[key],
        measurement=done.get(key),
        failure=failed.get(key),
        finished=len(over),
        total=len(cells),
        left_s=_left_s(cells, done, set(over), plan),
        done=sum(ended.values()),
        expected=sum(ended.values()) + sum(missing),
    )


def _left_s(
    cells: dict[str, Cell], done: dict[str, Measurement], over: set[str], plan: Plan
) -> float:
    """Seconds until all cells have the least number of processes, from what processes took.

    Cells that then need more for their interval add to it, one process at a time.
    """
    walls = {key: [process.wall_s for process in m.processes] for key, m in done.items()}
    every = [wall for values in walls.values() for wall in values]
    typical = sum(every) / len(every) if every else 0.0
    left = 0.0
    for key in cells:
        if key not in over:
            mine = walls.get(key, [])
            least = min(plan.processes + plan.fresh, plan.max_processes)
            missing = max(1, least - len(mine))
            left += missing * (sum(mine) / len(mine) if mine else typical)
    return left
