"""Does the interval of a cell hold the truth, also where the cell stopped because it was narrow?

    python benchmarks/stopping.py [--cells 20000]

Simulated, so that the truth is known: medians of processes are log-normal around 1, with a spread
that is swept. Each cell takes processes as the plan says, by the code that a sweep uses
(`stats.decided_after`, `stats.level_of`). Beside it stands the rule before, which looked at
Student's t after each process and stopped at the first narrow one. Nothing is timed.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from nnprof.cli.plans import _words_plan
from nnprof.profiler import stats
from nnprof.types import Plan

SPREADS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)  # times the interval asked for
MEANINGFUL = 0.05  # of cells that stop on "interval": fewer tell nothing about them
PLANS = {
    "default": (_words_plan(False, False), (5, 10)),
    "--quick": (_words_plan(True, False), (3, 5)),
    "--rigorous": (_words_plan(False, True), (10, 30)),
}


class Cell(NamedTuple):
    """Whether it stopped on "interval", how many processes it took, and what its interval did."""

    stopped: bool
    processes: int
    holds: bool
    narrow: bool


class Row(NamedTuple):
    """Of many cells: share stopped on "interval", coverage of these and of all, processes, narrow.

    `narrow` is the share of those that stopped whose interval is as narrow as was asked for.
    """

    share: float
    of_stopped: float
    of_all: float
    processes: float
    narrow: float


def cells(plan: Plan, spread: float, count: int, seed: int) -> Iterator[Cell]:
    """So many cells of a plan."""
    draw = random.Random(seed)  # noqa: S311  repeatable, not secret
    for _ in range(count):
        values = [math.exp(draw.gauss(0.0, spread)) for _ in range(plan.max_processes)]
        decided = stats.decided_after(values, plan)
        taken = plan.max_processes if decided is None else decided + plan.fresh
        found = stats.level_of(values[:taken], plan)
        assert found is not None
        yield _judged(decided is not None, taken, found, plan)


def cells_before(plan: Plan, spread: float, count: int, seed: int) -> Iterator[Cell]:
    """The same by the rule before: an ordinary t interval, looked at after each process."""
    draw = random.Random(seed)  # noqa: S311
    looks = range(plan.processes, plan.max_processes + 1)
    fixed = replace(plan, fresh=0)
    for _ in range(count):
        values = [math.exp(draw.gauss(0.0, spread)) for _ in range(plan.max_processes)]
        for taken in looks:
            found = stats.level_of(values[:taken], fixed)
            assert found is not None
            cell = _judged(True, taken, found, plan)
            if cell.narrow:
                break
        yield cell._replace(stopped=cell.narrow)


def _judged(stopped: bool, taken: int, found: stats.Level, plan: Plan) -> Cell:
    reach = stats.t_975(found.freedom) * found.error
    return Cell(stopped, taken, abs(found.log) <= reach, math.sinh(reach) <= plan.interval)


def row(found: Sequence[Cell]) -> Row:
    """What is to be said of many cells."""
    stopped = [cell for cell in found if cell.stopped]

    def share(of: Sequence[Cell], what: str) -> float:
        return sum(getattr(cell, what) for cell in of) / len(of) if of else math.nan

    return Row(
        len(stopped) / len(found),
        share(stopped, "holds"),
        share(found, "holds"),
        share(found, "processes"),
        share(stopped, "narrow"),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=20_000)
    count = parser.parse_args().cells
    print("| plan | spread % | stop on interval | of these hold | narrow | of all hold "
          "| processes | before: stop | of these hold | processes |")  # fmt: skip
    print("| --- " + "| ---: " * 9 + "|")
    for name, (plan, (first, last)) in PLANS.items():
        old = replace(plan, processes=first, max_processes=last)
        for number, times in enumerate(SPREADS):
            spread = times * plan.interval
            new = row(list(cells(plan, spread, count, number)))
            was = row(list(cells_before(old, spread, count, number)))
            print(
                f"| {name} | {spread:.2%} | {new.share:.1%} | {_told(new.share, new.of_stopped)} "
                f"| {_told(new.share, new.narrow)} | {new.of_all:.1%} | {new.processes:.1f} "
                f"| {was.share:.1%} | {_told(was.share, was.of_stopped)} | {was.processes:.1f} |",
                flush=True,
            )


def _told(share: float, value: float) -> str:
    return f"{value:.1%}" if share >= MEANINGFUL else "–"


if __name__ == "__main__":
    main()
