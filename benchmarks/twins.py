"""Boards that are alike: are differences between them found, and what do intervals hold then?

    python benchmarks/twins.py [--runs 1000]

Simulated, so that the truth is known; nothing is timed. A Run has 12 cells of 7 processes, each
process on one of the boards by chance. Processes are log-normal with a spread of 1 %; or a tenth of
them is slowed by up to a fifth, too. Boards stand evenly apart, up to the difference named. Counted
are the Runs in which the check finds a difference; and the cells whose interval holds the middle of
the boards, or the level of each, as it is told, and by Student's t over all processes alone.
"""

from __future__ import annotations

import argparse
import math
import random
from statistics import fmean
from typing import NamedTuple

from msgspec.structs import replace

from nnprof.profiler import checks, stats
from nnprof.types import Measurement, Model, Plan, Process, Reading, Target, Workload

CELLS, PROCESSES, SPREAD = 12, 7, 0.01
APART = (0.0, 0.01, 0.02, 0.05)
BOARDS = (2, 4)
_READING = Reading()


class Row(NamedTuple):
    """Shares: of Runs with a difference found; of cells whose interval holds what it says."""

    found: float
    middle: float
    middle_by_t: float
    each: float
    each_by_t: float


def process(board: str, number: int) -> Process:
    """A process of which nothing counts but where it ran."""
    return Process(
        round=number, processors=(0,), loops=1, state="steady", floor_s=0.0, open_s=0.0,
        timed_s=1.0, wall_s=1.0, before=_READING, after=_READING, board=board,
    )  # fmt: skip


def cell(draw: random.Random, levels: dict[str, float], heavy: bool) -> Measurement:
    """A cell of which each process ran on one of the boards, by chance."""
    boards = [draw.choice(list(levels)) for _ in range(PROCESSES)]
    slowed = [heavy and draw.random() < 0.1 for _ in boards]
    logs = [
        levels[board] + draw.gauss(0.0, SPREAD) + (draw.uniform(0.0, 0.2) if slow else 0.0)
        for board, slow in zip(boards, slowed, strict=True)
    ]
    return Measurement(
        workload=Workload(
            model=Model(name="x", path="", sha256="0" * 64, opset=17, inputs=(), outputs=()),
            batch=1,
        ),
        target=Target(),
        plan=Plan(fresh=0),
        clock="simulated",
        samples_s=tuple((math.exp(one),) for one in logs),
        warmups_s=((),) * PROCESSES,
        stopped="processes",
        processes=tuple(process(board, number) for number, board in enumerate(boards)),
    )


def row(boards: int, apart: float, runs: int, *, heavy: bool) -> Row:
    """So many Runs of so many boards."""
    draw = random.Random(f"{boards} {apart} {heavy}")  # noqa: S311  repeatable, not secret
    steps = [apart * (at / (boards - 1) - 0.5) for at in range(boards)]
    levels = {f"board{at}": step for at, step in enumerate(steps)}
    counts: list[tuple[bool, ...]] = []
    found = 0
    for _ in range(runs):
        cells = [cell(draw, levels, heavy) for _ in range(CELLS)]
        judged = [
            replace(one, checks=own)
            for one, own in zip(cells, checks.of_boards(cells), strict=True)
        ]
        found += bool(judged[0].checks)
        counts += (_held(one, steps) for one in judged)
    return Row(found / runs, *(fmean(column) for column in zip(*counts, strict=True)))


def _held(one: Measurement, steps: list[float]) -> tuple[bool, ...]:
    """Whether the interval, and that by t alone, hold the middle; then the level of each board."""
    told = stats.interval_s(one)
    by_t = stats.interval(stats.process_medians_s(one))
    assert told is not None
    assert by_t is not None
    within = [
        [low <= math.exp(step) <= high for step in (0.0, *steps)] for low, high in (told, by_t)
    ]
    return (within[0][0], within[1][0], all(within[0][1:]), all(within[1][1:]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    asked = parser.parse_args()
    print(
        "| processes | boards | apart | found | middle held | by t alone | each held | by t alone |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for heavy in (False, True):
        for boards in BOARDS:
            for apart in APART:
                made = row(boards, apart, asked.runs, heavy=heavy)
                shares = made if not heavy else made[:1]  # what slows some moves the middle, too
                words = " | ".join(f"{share:.1%}" for share in shares) + " | –" * (5 - len(shares))
                kind = "a tenth slowed" if heavy else "log-normal"
                print(f"| {kind} | {boards} | {apart:.0%} | {words} |", flush=True)


if __name__ == "__main__":
    main()
