"""Our variant of Mattsson 2016, Table 1: all networks in order, several turns, in one process.

In 2016 each network of each loop was a process of its own (section 3.1), and Table 1 is of loops
without a restart of the computer.

A turn takes the place of a process. Where this protocol and the sweep's give other times, the order
of the networks or a drift is the cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

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
            now = now.with_process(_turns(cell, plan, answer, index))
        results.save(now.in_run(run, wall_s), path)
    for key in now.cells:
        yield now.step(key)


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
