"""The course of a calibration: from what a Run holds to what it should measure next. Pure.

Of the time, `FIRST_SHARE` goes into networks with the times of their ops, then `gather.LEAST_ASKED`
networks are measured whole; after that each turn has `SHARE` of the time for more ops and a few
more whole networks, until more would not help.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.networks.families import parse_network
from nnprof.networks.spaces import parse_space
from nnprof.profiler.costmodel import around, design, gather, inplace, lowering, pace
from nnprof.profiler.costmodel.around import Asked
from nnprof.profiler.costmodel.model import CostModel
from nnprof.profiler.costmodel.pace import Pace
from nnprof.types import Plan, Run

Array = NDArray[np.float64]

# Two processes each: what differs from process to process, the fit averages over many networks.
TIMED = Plan(processes=2, max_processes=2, fresh=0, sample_s=0.3, op_processes=2, op_s=0.5)
WHOLE = Plan(processes=3, max_processes=3, fresh=0, sample_s=0.3, op_method="none")
NARROW = 1.1  # factor of the 90 % interval that is narrow enough
FIRST_SHARE, SHARE = 0.4, 0.15  # of the time for the first networks with ops, and for later ones
_MOST_SHARE = 0.08  # of the time for one network
_MORE_WHOLE = 8  # networks measured whole in a later turn
_BETTER = 0.95  # times the error before that is an improvement
_PATIENCE = 2  # turns without one
_CANDIDATES = 600


class Turn(NamedTuple):
    """What to measure next, how, and in words with about how long it takes."""

    asked: tuple[Asked, ...]
    plan: Plan
    words: str


class Course(NamedTuple):
    """What is asked for, and what may be known of the device.

    Attributes:
        family, batches, seconds, seed: see `calibrate.Request`.
        model: the best there is of the device, to weigh networks and their ops with.
        errors: of the fits so far on networks left out, in order.
        file_s: seconds that the file of a network takes to be made.
    """

    family: str
    batches: tuple[int, ...]
    seconds: float
    seed: int
    model: CostModel | None = None
    errors: tuple[float, ...] = ()
    file_s: float = 0.5

    def learned(self, model: CostModel) -> Course:
        """After a fit."""
        error = model.network.error
        more = () if error is None else (error,)
        return self._replace(model=model, errors=(*self.errors, *more))

    def next_turn(self, run: Run, left_s: float) -> Turn | None:
        """What to measure with the time that is left; None where nothing would help, or fits."""
        cells = run.measurements
        if not cells:  # the failures say why
            return None
        timed = [cell for cell in cells if cell.plan.op_method != "none"]
        whole = [cell for cell in cells if cell.plan.op_method == "none"]
        has_ops = any(op.outputs for cell in timed for op in (cell.ops.ops if cell.ops else ()))
        if not has_ops:
            return None if self.is_enough(len(cells)) else self._without_ops(run, left_s)
        if self.is_enough(len(whole)):
            return None
        spent_s = sum(process.wall_s for cell in timed for process in cell.processes)
        first_s = FIRST_SHARE * self.seconds - spent_s
        turns = [self._more_whole, self._more_ops]
        if first_s > SHARE * self.seconds / 2:
            turns.insert(0, self._first_ops)
        elif len(whole) >= gather.LEAST_ASKED and cells[-1].plan.op_method == "none":
            turns.reverse()
        found = (turn(run, left_s) for turn in turns)
        return next((turn for turn in found if turn is not None), None)

    def is_enough(self, held_out: int) -> bool:
        """Whether more would not help: a narrow interval, or an error that no longer falls."""
        if self.model is None or held_out < gather.LEAST_ASKED:
            return False
        factor, errors = self.model.network.factor, self.errors
        best = min(errors[:-_PATIENCE], default=0.0)
        falls = len(errors) <= _PATIENCE or min(errors[-_PATIENCE:]) < _BETTER * best
        return (factor is not None and factor < NARROW) or not falls

    def _first_ops(self, run: Run, left_s: float) -> Turn | None:
        spent_s = sum(p.wall_s for cell in run.measurements for p in cell.processes)
        return self._ops(run, min(left_s, FIRST_SHARE * self.seconds - spent_s))

    def _more_ops(self, run: Run, left_s: float) -> Turn | None:
        return self._ops(run, min(left_s, SHARE * self.seconds))

    def _ops(self, run: Run, budget_s: float) -> Turn | None:
        """Networks whose ops are the farthest from those that are known, per second."""
        return self._chosen(run, budget_s, TIMED, "networks with the times of their ops")

    def _without_ops(self, run: Run, left_s: float) -> Turn | None:
        """The same where the runtime times no ops: the networks are fitted whole."""
        return self._chosen(run, min(left_s, SHARE * self.seconds), WHOLE, "whole networks")

    def _chosen(self, run: Run, budget_s: float, plan: Plan, words: str) -> Turn | None:
        offered = self._offered(run, self.seed, _CANDIDATES)
        speed, known = self._pace(run), design.known([run], None).works
        ops = offered.ops if plan.op_method != "none" else 0
        cell_s = self.file_s + plan.processes * speed.process_s(offered.seconds, ops)
        most_s = _MOST_SHARE * self.seconds
        rows = inplace.choose(offered, known, cell_s, budget_s, most_s)
        return _turn(offered, rows, cell_s, plan, words)

    def _more_whole(self, run: Run, left_s: float) -> Turn | None:
        """Random networks of which only the time is measured: they say how far off the model is."""
        offered = self._offered(run, self.seed + 1, _CANDIDATES // 3)
        process_s = self._pace(run).process_s(offered.seconds, 0)
        cell_s = self.file_s + WHOLE.processes * process_s
        have = sum(cell.plan.op_method == "none" for cell in run.measurements)
        count = max(gather.LEAST_ASKED - have, _MORE_WHOLE)
        rows = list(_fitting(cell_s, left_s, _MOST_SHARE * self.seconds / 2))[:count]
        return _turn(offered, rows, cell_s, WHOLE, "networks whole")

    def _offered(self, run: Run, seed: int, count: int) -> inplace.Pool:
        """Random networks around the family that the Run does not ask for yet."""
        drawn = around.draws(parse_space(self.family), self.batches, seed, count)
        have = {
            (cell.workload.model.network or "", cell.workload.batch) for cell in run.study.cells
        }
        named = {(one.spec.notation, one.batch): one for one in drawn}
        fresh = [one for name, one in named.items() if name not in have]
        value_bytes = self.model.value_bytes if self.model else 4.0
        return inplace.pool(fresh, rules_of(run, self.model), value_bytes, self.model)

    def _pace(self, run: Run) -> Pace:
        rules = rules_of(run, self.model)
        works = [
            lowering.of_spec(parse_network(cell.workload.model.network or ""), rules,
                             cell.workload.batch)
            for cell in run.measurements
        ]  # fmt: skip
        each = inplace.seconds_of(works, self.model)
        owner = np.repeat(np.arange(len(works)), [len(ops) for ops in works])
        return pace.of_cells(run.measurements, np.bincount(owner, each, len(works)).tolist())


def rules_of(run: Run, model: CostModel | None) -> str:
    """How networks become ops there: as the graphs that ran say, else as the model does."""
    rules = design.known([run], None).lowering
    return rules or (model.lowering if model else "fused")


def _fitting(cell_s: Array, budget_s: float, most_s: float) -> Iterator[int]:
    """Networks in order, without those that take too long, while the time lasts."""
    for row, seconds in enumerate(cell_s.tolist()):
        if seconds <= min(most_s, budget_s):
            budget_s -= seconds
            yield row


def _turn(
    offered: inplace.Pool, rows: Sequence[int], cell_s: Array, plan: Plan, words: str
) -> Turn | None:
    if not rows:
        return None
    asked = tuple(offered.asked[row] for row in rows)
    return Turn(asked, plan, f"{len(rows)} {words}, about {cell_s[list(rows)].sum():.0f} s")
