"""The sweep: cells in shuffled rounds of fresh processes, each result on disk before the next.

`rounds` says which cell comes next, `cell` measures one, `begin` makes the Run that is swept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from time import perf_counter

from msgspec.structs import replace

from nnprof.errors import NnprofError, WorkerTimeout
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.files import AnyPath
from nnprof.profiler import results
from nnprof.profiler.place import claims
from nnprof.profiler.run import alternate, budget, cell, protocol2016, sustained
from nnprof.profiler.run.rounds import Step, Sweep
from nnprof.profiler.work.jobs import CHAIN
from nnprof.types import (
    Cell,
    Plan,
    Run,
)

_LOG = logging.getLogger(__name__)


def sweep(run: Run, path: AnyPath) -> Iterator[Step]:
    """Measure what is missing, saving after every process; one Step per process.

    Of a Run that alternates with another one, both are measured.
    Meanwhile what is measured on, and the file, are this process's alone.

    Raises:
        Busy: another nnprof measures there, or writes the file.
        UsageError: it has been written since the Run was read.
    """
    with claims.held(run.study.target) as others, results.writing(path):
        results.require_unchanged(run, path)
        if others:
            beside = sorted({*run.environment.get("measured_beside", ()), *others})
            run = replace(run, environment={**run.environment, "measured_beside": beside})
        protocols = {
            "rounds": _rounds,
            "loop": protocol2016.loop,
            "loop-fresh": protocol2016.loop_fresh,
            "pairs": alternate.alternate,
        }
        plan = run.study.plan
        yield from (sustained.heat if plan.sustained_s else protocols[plan.protocol])(run, path)


def _rounds(run: Run, path: AnyPath) -> Iterator[Step]:
    plan, now = run.study.plan, Sweep.of(run)
    before_s, begin, spent_s = run.study.wall_s, perf_counter(), 0.0
    floors = identity_model(), chain_model(CHAIN)
    known = cell.known(run.measurements)
    while keys := now.next_round():
        for index, key in enumerate(keys):
            passed_s = max(spent_s, perf_counter() - begin)
            offer = budget.offer(key, now.open_keys(), now.done, plan, passed_s)
            try:
                if offer.runs:
                    _tell(now.cells[key], now.processes(key), plan)
                    asked = cell.Asked(now.cells[key], now.done.get(key), plan, offer, floors)
                    more = cell.one_more(asked, known)
                    spent_s += budget.spent_s(more)
                    now = now.with_process(cell.judged(more, run.environment.get("device") or {}))
                else:
                    now = now.without_budget(key)
            except NnprofError as error:
                late = isinstance(error, WorkerTimeout) and offer.limit_s < plan.process_limit_s
                now = now.without_budget(key) if late else now.with_failure(key, error)
            run = now.in_run(run, before_s + perf_counter() - begin)
            results.save(run, path)
            yield now.step(key, round_over=index == len(keys) - 1)


def _tell(asked: Cell, number: int, plan: Plan) -> None:
    ops_too = " with ops" if plan.op_method != "none" and number < plan.op_processes else ""
    _LOG.debug(
        "batch %d, process %d%s, %s", asked.workload.batch, number + 1, ops_too,
        asked.workload.model.name,
    )  # fmt: skip
