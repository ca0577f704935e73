"""One cell: what its next process is to do, what it adds, and whether the cell needs another.

Only `one_more` has an effect, the process; the rest is pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from time import perf_counter, time
from typing import Any, NamedTuple

from msgspec.structs import replace

from nnprof.errors import WorkerCrashed, WorkerTimeout
from nnprof.profiler import checks, pairs, stats
from nnprof.profiler.place.place import Place
from nnprof.profiler.run import budget, needs, patience
from nnprof.profiler.timing import passes, reconcile
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import Measure, Measured
from nnprof.types import (
    Cell,
    IdlePass,
    Lost,
    Measurement,
    Model,
    OpPass,
    Plan,
    Process,
    Stopped,
)

_ENDED = (WorkerCrashed.__name__, WorkerTimeout.__name__)
_ENERGY_PROCESSES = 3  # of a cell measure energy: the least that give it an interval
_LEAST_PROCESSES = 3  # fewer give no interval worth the name, so the time limit waits for them


Known = dict[str, list[float]]


def known(measurements: Sequence[Measurement]) -> Known:
    """Seconds of each op that was timed alone, by `ops.share_key`, one per process."""
    known: Known = {}
    for measurement in measurements:
        learn(known, measurement.op_passes)
    return known


def learn(known: Known, passes_: Sequence[OpPass]) -> None:
    """Add what passes over ops alone tell."""
    for one in passes_:
        for op in one.ops if one.method == "isolated" else ():
            if op.runs:
                known.setdefault(passes.share_key(op), []).append(op.seconds)


class Asked(NamedTuple):
    """What the next process of a cell starts from.

    Attributes:
        sofar: the cell's measurement by the processes before, None before the first.
        offer: what the budget has for this process.
        floors: graphs of one and of `CHAIN` trivial nodes: what a call and a node cost.
        pair: that the process belongs to, None outside pairs.
    """

    cell: Cell
    sofar: Measurement | None
    plan: Plan
    offer: budget.Offer
    floors: tuple[Model, Model]
    pair: int | None = None

    @property
    def number(self) -> int:
        """Of the process, from 0."""
        return len(self.sofar.processes) if self.sofar else 0


def one_more(asked: Asked, known: Known) -> Measurement:
    """The cell with one more process; what it learned of ops alone goes into `known`.

    Raises:
        NnprofError: the process gave no clean time.
    """
    begun = begin(asked)
    answer = hosts.run(job(asked, known), limit_s(asked))
    learn(known, answer.op_passes)
    return grown(asked, answer, begun)


def limit_s(asked: Asked) -> float:
    """After how many seconds the process is ended."""
    return asked.offer.limit_s + 2 * asked.plan.energy_s + asked.plan.singles_s


class Begun(NamedTuple):
    """When a process was started: by the clock, and since 1970; and what it waited for others.

    `board` is where, if there are several alike.
    """

    at_s: float
    date_s: float
    waited: patience.Waited
    board: str = ""


def begin(asked: Asked) -> Begun:
    """Wait until others leave the machine alone, as far as the plan says."""
    waited = patience.wait(asked.cell.target.host, asked.plan.patient_s)
    return Begun(perf_counter(), round(time(), 3), waited)


def grown(asked: Asked, answer: Measured, begun: Begun) -> Measurement:
    """The cell with a process that has answered so much."""
    cell, plan, offer = asked.cell, asked.plan, asked.offer
    lost = answer.lost
    if offer.limit_s < plan.process_limit_s:  # what the budget left out is told as such
        lost = tuple(one for one in lost if one.error not in (WorkerTimeout.__name__, "NotReached"))
    process = replace(
        _process(answer, asked.number, perf_counter() - begun.at_s, lost),
        pair=asked.pair,
        begun_at_s=begun.date_s,
        patience_s=begun.waited.seconds,
        others=begun.waited.others,
        board=begun.board,
        memory=needs.stated(answer.memory, asked.cell.workload),
    )
    fresh = Measurement(
        workload=cell.workload,
        target=cell.target,
        plan=plan,
        clock=answer.clock,
        samples_s=(answer.samples_s,),
        warmups_s=(answer.warmups_s,),
        processes=(process,),
        op_passes=tuple(replace(one, process=asked.number) for one in answer.op_passes),
        idle=tuple(
            IdlePass(gap_s=gap_s, samples_s=(answer.idle[index] if answer.idle else (),))
            for index, gap_s in enumerate(plan.idle_s)
        ),
        facts=answer.facts,
    )
    return _joined(asked.sofar, fresh) if asked.sofar else fresh


def job(asked: Asked, known: Known) -> Measure:
    """What the next process of a cell is to do; streams are timed together, and nothing else is."""
    work, plan, ended = asked.cell.workload, asked.plan, _ended_in(asked.sofar)
    timed_ops = plan.op_method != "none" and asked.number < plan.op_processes
    energies = plan.energy_s > 0 and asked.number < _ENERGY_PROCESSES
    return Measure(
        # Each process draws other tiles, so that no luck of the data stays in the cell.
        workload=replace(work, seed=work.seed + asked.number),
        target=asked.cell.target,
        plan=replace(
            plan,
            telemetry_s=0.0 if "telemetry" in ended else plan.telemetry_s,
            idle_s=() if "idle" in ended else plan.idle_s,
            singles_s=0.0 if "singles" in ended else plan.singles_s,
        ),
        floor=asked.floors[0],
        chain=asked.floors[1],
        ops=timed_ops and asked.offer.ops and "ops" not in ended,
        energy=energies and "energy" not in ended,
        frame=work.image is not None and "frame" not in ended,
        arena=asked.number == 0 and "arena" not in ended,
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


def judged(measurement: Measurement, device: Mapping[str, Any]) -> Measurement:
    """With the best estimate of its ops, and, at its end, why it ended and what to know of it."""
    runtime = [one for one in measurement.op_passes if one.method == "runtime"]
    alone = measurement.plan.op_method == "runtime"
    best = runtime[0] if runtime else None
    if not alone:
        clean_s = stats.latency_s(measurement)
        cache_bytes = Place(measurement.target, {"device": device}).core_cache_bytes
        best = reconcile.combine(measurement.op_passes, clean_s, cache_bytes)
    facts = {**measurement.facts, **({"emulated": True} if device.get("emulated") else {})}
    measurement = replace(measurement, ops=best, stopped=_verdict(measurement), facts=facts)
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
        frame=answer.frame,
        loading=answer.loading,
        singles=answer.singles,
        streams=answer.streams,
        cores=answer.cores,
        siblings=answer.siblings,
        lost=lost,
        waited_s=answer.waited_s,
    )


def _verdict(measurement: Measurement) -> Stopped:
    """Why the cell needs no further process; empty while it does, and where its pair decides."""
    if measurement.plan.protocol == pairs.PROTOCOL:
        return ""
    plan, count = measurement.plan, len(measurement.processes)
    decided = stats.decided_after(stats.process_medians_s(measurement), plan)
    if decided is not None and count >= decided + plan.fresh:
        return "interval"
    if count >= plan.max_processes:
        return "processes"
    beside_s = 2 * plan.energy_s * min(count, _ENERGY_PROCESSES)
    beside_s += (plan.singles_s + plan.streams_s) * count
    spent_s = sum(process.wall_s for process in measurement.processes) - beside_s
    if count >= min(_LEAST_PROCESSES, plan.processes) and spent_s >= plan.cell_limit_s:
        return "time"
    return ""
