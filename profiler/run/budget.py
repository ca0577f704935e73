"""A Run with a budget: what its next process may do, and what was left out to keep to it. Pure.

A process is expected to cost what the dearest of its cell's processes cost; before a cell has one,
what the dearest of all cost. A process that would pass the budget at that cost is not begun. A
process that costs more than expected is ended when the budget is spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nnprof.types import Measurement, Plan, Run


class Offer(NamedTuple):
    """Whether the next process may run, whether it may time the ops, and when it is ended."""

    runs: bool
    ops: bool
    limit_s: float


class _Cost(NamedTuple):
    whole_s: float
    clean_s: float  # had the ops not been timed


def offer(
    key: str,
    open_keys: Iterable[str],
    done: Mapping[str, Measurement],
    plan: Plan,
    spent_s: float,
) -> Offer:
    """What the budget has for the next process of the cell `key`; everything without a budget.

    In the order of what is given up last: a clean process of each cell, one with its ops, the
    plan's number of processes, their further op passes, and processes beyond that number.
    """
    if not plan.budget_s:
        return Offer(True, True, plan.process_limit_s)
    left_s = plan.budget_s - spent_s
    mine = _expected(done.get(key), done)
    count = _count(done, key)
    wanted = plan.processes if count else 1
    others_s = sum(
        max(0, wanted - _count(done, other)) * _expected(done.get(other), done).clean_s
        for other in open_keys
        if other != key
    )
    return Offer(
        runs=left_s > 0 and mine.clean_s <= left_s,
        ops=mine.whole_s + others_s <= left_s,
        limit_s=min(plan.process_limit_s, left_s),
    )


def spent_s(measurement: Measurement) -> float:
    """What the last process of the cell cost, in seconds."""
    return _costs(measurement)[-1].whole_s


def left_out_lines(run: Run) -> list[str]:
    """What a Run left out to keep to its budget; () where it kept to it anyway."""
    plan, cells = run.study.plan, run.study.cells
    cut = [one for one in run.measurements if one.stopped == "budget"]
    parts = []
    if run.left_out:
        batches = ", ".join(str(cells[index].workload.batch) for index in run.left_out)
        parts.append(f"{len(run.left_out)} of {len(cells)} cells (batch {batches})")
    fewer = [one for one in cut if len(one.processes) < plan.processes]
    if fewer:
        parts.append(f"planned processes of {_cells(len(fewer))}")
    if len(cut) > len(fewer):
        parts.append(
            f"further processes of {_cells(len(cut) - len(fewer))}, so that intervals stay wide"
        )
    dry = [one for one in run.measurements if _passes(one) < _wanted_passes(one, plan)]
    if dry:
        without = sum(not _passes(one) for one in dry)
        none = f", of which {without} have none" if without else ""
        parts.append(f"op passes of {_cells(len(dry))}{none}")
    if not parts or not plan.budget_s:
        return []
    left_out = "; ".join(parts)
    more = "nnprof bench --resume with the Run goes on for as long again."
    return [f"Left out to keep to {plan.budget_s:.0f} s: {left_out}. {more}"]


def _cells(count: int) -> str:
    return f"{count} cell{'' if count == 1 else 's'}"


def _passes(measurement: Measurement) -> int:
    return len({one.process for one in measurement.op_passes})


def _wanted_passes(measurement: Measurement, plan: Plan) -> int:
    wanted = 0 if plan.op_method == "none" else plan.op_processes
    return min(wanted, len(measurement.processes))


def _count(done: Mapping[str, Measurement], key: str) -> int:
    return len(done[key].processes) if key in done else 0


def _expected(own: Measurement | None, done: Mapping[str, Measurement]) -> _Cost:
    costs = _costs(own) if own else [cost for one in done.values() for cost in _costs(one)]
    return _Cost(
        max((cost.whole_s for cost in costs), default=0.0),
        max((cost.clean_s for cost in costs), default=0.0),
    )


def _costs(measurement: Measurement) -> list[_Cost]:
    """Of each process: its wall time or, where its clock is not ours, what that clock says."""
    costs = []
    for number, process in enumerate(measurement.processes):
        passes = (one for one in measurement.op_passes if one.process == number)
        ops_s = sum(one.timed_s for one in passes)
        whole_s = max(process.wall_s, process.timed_s + ops_s)
        costs.append(_Cost(whole_s, whole_s - ops_s))
    return costs
