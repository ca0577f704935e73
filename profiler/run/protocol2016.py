"""Loops over all networks in order, as in Mattsson 2016: to see whether times drift.

In 2016 each network of each loop was a process of its own (section 3.1): `loop_fresh`. Table 1 is
of such loops without a restart of the computer, and nnprof restarts none. `loop` is our variant:
several turns in one process, each of which takes the place of a process.

Where these protocols and the sweep's give other times, the order of the networks or a drift is the
cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter, time

from msgspec.structs import replace

from nnprof.errors import NnprofError
from nnprof.exporters.probes import identity_model
from nnprof.files import AnyPath
from nnprof.profiler import checks, results, stats
from nnprof.profiler.run.rounds import Step, Sweep
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import Loop, Looped
from nnprof.types import (
    Cell,
    Measurement,
    Plan,
    Process,
    Run,
)

_ONE = "one process for all networks; nnprof restarts no machine"
_FRESH = "a fresh process for each network and turn; nnprof restarts no machine"


def loop(run: Run, path: AnyPath) -> Iterator[Step]:
    """Measure all cells in one process, save, and tell a Step of each. All or nothing."""
    now, plan = Sweep.of(run), run.study.plan
    if not now.open_keys():
        return
    job = Loop(
        workloads=tuple(cell.workload for cell in now.cells.values()),
        target=run.study.cells[0].target,
        floor=identity_model(),
    )
    before_s, begin = run.study.wall_s, perf_counter()
    try:
        answer = hosts.run(job, plan.process_limit_s * len(now.cells))
    except NnprofError as error:
        for key in now.cells:
            now = now.with_failure(key, error)
        results.save(now.in_run(run, before_s), path)
    else:
        wall_s = before_s + perf_counter() - begin
        for index, cell in enumerate(now.cells.values()):
            now = now.with_process(_judged(_turns(cell, plan, answer, index)))
        results.save(now.in_run(run, wall_s), path)
    for key in now.cells:
        yield now.step(key)


def loop_fresh(run: Run, path: AnyPath) -> Iterator[Step]:
    """Measure each cell in a fresh process, in order, `plan.processes` times over; save after each.

    A cell whose process fails keeps the turns that it has, and gets no more of them.
    """
    now, plan = Sweep.of(run), run.study.plan
    before_s, begin = run.study.wall_s, perf_counter()
    for turn in range(plan.processes):
        keys = [key for key in now.open_keys() if now.processes(key) == turn]
        for key in keys:
            cell = now.cells[key]
            job = Loop(
                workloads=(cell.workload,), target=cell.target, floor=identity_model(), turns=1
            )
            begun_at_s = time()
            try:
                answer = hosts.run(job, plan.process_limit_s)
            except NnprofError as error:
                now = now.with_failure(key, error)
            else:
                one = _numbered(_turns(cell, plan, answer, 0), turn, begun_at_s)
                now = now.with_process(_joined(now.done.get(key), one))
            run = now.in_run(run, before_s + perf_counter() - begin)
            results.save(run, path)
            yield now.step(key, round_over=key == keys[-1])


def _numbered(measurement: Measurement, turn: int, begun_at_s: float) -> Measurement:
    (process,) = measurement.processes
    process = replace(process, round=turn, begun_at_s=begun_at_s, wall_s=time() - begun_at_s)
    facts = {**measurement.facts, "loop": _FRESH}
    return replace(measurement, processes=(process,), facts=facts, stopped="")


def _joined(before: Measurement | None, turn: Measurement) -> Measurement:
    """What there was with one more turn; judged when it is the last one."""
    whole = turn
    if before is not None:
        whole = replace(
            turn,
            samples_s=before.samples_s + turn.samples_s,
            warmups_s=before.warmups_s + turn.warmups_s,
            processes=before.processes + turn.processes,
        )
    if len(whole.processes) < whole.plan.processes:
        return whole
    return _judged(replace(whole, stopped="processes"))


def _judged(measurement: Measurement) -> Measurement:
    return replace(measurement, checks=checks.find(measurement))


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
    return Measurement(
        workload=cell.workload,
        target=cell.target,
        plan=plan,
        clock=answer.clock,
        samples_s=samples_s,
        warmups_s=tuple(() for _ in samples_s),
        processes=processes,
        facts={**answer.facts, "loop": _ONE},
        stopped="processes",
    )
