"""Where a sweep stands, as a value: which cells come next, and what each result makes of it.

A round gives every unfinished cell one process, in an order of its own, so that whatever drifts
hits all cells alike. Nothing here measures or writes.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from nnprof.errors import NnprofError
from nnprof.profiler import checks
from nnprof.types import (
    Cell,
    Failure,
    Measurement,
    Plan,
    Run,
)


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


class Sweep(NamedTuple):
    """Cells by their keys, and what there is of each.

    Attributes:
        done: measurements so far, finished or not.
        failed: cells that had an error; there will be no more of them.
        out: cells without a process, for which no budget is left.
    """

    plan: Plan
    cells: dict[str, Cell]
    done: dict[str, Measurement]
    failed: dict[str, Failure]
    out: frozenset[str] = frozenset()

    @classmethod
    def of(cls, run: Run) -> Sweep:
        """Where a Run stands that was started or resumed."""
        cells = {cell.key: cell for cell in run.study.cells}
        done = {key_of(measurement): measurement for measurement in run.measurements}
        return cls(run.study.plan, cells, done, {})

    def open_keys(self) -> list[str]:
        """The cells that need a further process."""
        return [key for key in self.cells if not self._over(key)]

    def next_round(self) -> list[str]:
        """The cells of the next round, in its order; none at the end.

        Cells that a cut-off round had reached already wait for the others to catch up.
        """
        counts = {key: self.processes(key) for key in self.open_keys()}
        number = min(counts.values(), default=0)
        return self._shuffled(number, [key for key, count in counts.items() if count == number])

    def next_beside(self, out: Collection[str]) -> str | None:
        """The cell that comes next while those of `out` are measured at other places.

        A cell is ahead of another one by a process only where all others are done or out: what a
        round is where it takes several places. None where nothing can be done meanwhile.
        """
        counts = {key: self.processes(key) for key in self.open_keys() if key not in out}
        number = min(counts.values(), default=0)
        order = self._shuffled(number, list(self.cells))
        return next((key for key in order if counts.get(key) == number), None)

    def _shuffled(self, number: int, keys: list[str]) -> list[str]:
        """Keys in the order of the round of that number."""
        # Not for secrets: the order must be repeatable.
        random.Random(f"{self.plan.seed}.{number}").shuffle(keys)  # noqa: S311
        return keys

    def processes(self, key: str) -> int:
        """How many processes the cell has had."""
        return len(self.done[key].processes) if key in self.done else 0

    def with_process(self, measurement: Measurement) -> Sweep:
        """After a process of the cell."""
        return self._replace(done={**self.done, key_of(measurement): measurement})

    def with_failure(self, key: str, error: NnprofError) -> Sweep:
        """After an error: what the cell has is kept, and there will be no more of it."""
        failed = {**self.failed, key: failure(self.cells[key], error)}
        done = dict(self.done)
        if key in done:
            done[key] = replace(done[key], stopped="failure")
        return self._replace(done=done, failed=failed)

    def without_budget(self, key: str) -> Sweep:
        """The cell ended for want of budget: as it is or, without a process, left out."""
        if key not in self.done:
            return self._replace(out=self.out | {key})
        ended = replace(self.done[key], stopped="budget")
        return self.with_process(replace(ended, checks=checks.find(ended)))

    def in_run(self, run: Run, wall_s: float) -> Run:
        """The Run with what there is, in the order of its cells, after so many seconds."""
        return replace(
            run,
            study=replace(run.study, wall_s=wall_s),
            measurements=tuple(self.done[key] for key in self.cells if key in self.done),
            failures=tuple(self.failed[key] for key in self.cells if key in self.failed),
            left_out=tuple(index for index, key in enumerate(self.cells) if key in self.out),
        )

    def step(self, key: str, *, round_over: bool = False) -> Step:
        """What is told after a process of the cell."""
        ended = {one: self.processes(one) for one in self.cells}
        missing = (max(1, self.plan.processes - ended[one]) for one in self.open_keys())
        return Step(
            cell=self.cells[key],
            measurement=self.done.get(key),
            failure=self.failed.get(key),
            finished=len(self.cells) - len(self.open_keys()),
            total=len(self.cells),
            left_s=self._left_s(),
            done=sum(ended.values()),
            expected=sum(ended.values()) + sum(missing),
            round_over=round_over,
        )

    def _over(self, key: str) -> bool:
        finished = key in self.done and self.done[key].finished
        return finished or key in self.failed or key in self.out

    def _left_s(self) -> float:
        """Seconds until all cells have the least number of processes, from what processes took.

        Cells that then need more for their interval add to it, one process at a time.
        """
        walls = {key: [one.wall_s for one in m.processes] for key, m in self.done.items()}
        every = [wall for values in walls.values() for wall in values]
        typical = sum(every) / len(every) if every else 0.0
        least = min(self.plan.processes + self.plan.fresh, self.plan.max_processes)
        left = 0.0
        for key in self.open_keys():
            mine = walls.get(key, [])
            missing = max(1, least - len(mine))
            left += missing * (sum(mine) / len(mine) if mine else typical)
        return left


def key_of(measurement: Measurement) -> str:
    """The key of the cell that was measured."""
    return Cell(workload=measurement.workload, target=measurement.target).key


def failure(cell: Cell, error: NnprofError) -> Failure:
    """Why a cell could not be measured, as data."""
    return Failure(
        workload=cell.workload,
        target=cell.target,
        error=type(error).__name__,
        reason=error.reason,
        remedy=error.remedy,
    )
