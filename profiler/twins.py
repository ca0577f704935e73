"""Whether boards that are alike are as fast as each other: a level of each over all cells.

What boards differ by is no noise of a cell, so processes of several boards are not taken for a
sample of more of them: an interval is widened to hold each board (`stats.interval_s`).

The processes of a cell go to whichever board of its kind is free, so under no difference any of
them could as well have been another board's: a permutation test that deals out each cell's
processes anew (Fisher 1935, "The design of experiments"; Ernst 2004, "Permutation methods: a basis
for exact inference", Statistical Science 19) has the false alarms that it says, whatever the
spread and its distribution. Its statistic is the sum of squares between boards in the two-way
layout of unequal numbers without interaction, logarithm = cell + board (Scheffé 1959, "The analysis
of variance", section 4.4), so that a board which had the slow cells more often is no slower for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from nnprof.profiler import stats
from nnprof.types import Measurement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Whole = NDArray[np.intp]

_DEALS = 499
# False alarms. Of a single cell of seven processes there are 35 deals only.
_P = 0.05
_LEAST = 0.01  # a smaller difference is none: plans ask for intervals of that size
_SEED = 20261127


class Levels(NamedTuple):
    """How boards of a kind differ.

    Attributes:
        steps: of each board the logarithm of its times over the middle of the boards, in all cells.
        error: standard error of a step, the largest.
        p: share of deals with boards at least as different.
    """

    steps: dict[str, float]
    error: float
    p: float

    @property
    def fast(self) -> str:
        """The fastest board."""
        return min(self.steps, key=self.steps.__getitem__)

    @property
    def slow(self) -> str:
        """The slowest board."""
        return max(self.steps, key=self.steps.__getitem__)

    @property
    def change(self) -> float:
        """How much longer the slowest one takes than the fastest, relative."""
        return math.expm1(self.steps[self.slow] - self.steps[self.fast])

    @property
    def differ(self) -> bool:
        """Beyond what the processes' own spread explains, and by enough to matter."""
        return self.p <= _P and self.change >= _LEAST


def levels(cells: Sequence[Measurement]) -> Levels | None:
    """The levels of the boards that measured these cells; None where no cell had two of them."""
    import numpy as np

    named = (cell for cell in cells if all(one.board for one in cell.processes))
    shared = [cell for cell in named if len(boards([cell])) > 1]
    names = boards(shared)
    if not names:
        return None
    logs = [np.log(stats.process_medians_s(cell)) for cell in shared]
    cell_of = np.repeat(np.arange(len(shared)), [len(own) for own in logs])
    board_of = np.array([names.index(one.board) for cell in shared for one in cell.processes])
    off: Floats = np.concatenate([own - own.mean() for own in logs])
    between = _between(cell_of, board_of, len(names))
    inverse: Floats = np.asarray(np.linalg.pinv(between), np.float64)
    sums = np.bincount(board_of, off, len(names))
    steps = inverse @ sums
    freedom = len(off) - len(shared) - len(names) + 1
    spread = (off @ off - sums @ steps) / freedom if freedom > 0 else 0.0
    return Levels(
        steps=dict(zip(names, steps.tolist(), strict=True)),
        error=math.sqrt(max(0.0, float(spread * inverse.diagonal().max()))),
        p=_p(off, cell_of, board_of, inverse),
    )


def said(cells: Sequence[Measurement]) -> str:
    """What a Run says of its boards where they were found to differ; empty where they were not."""
    checks = (check for cell in cells for check in cell.checks)
    found = next((one.data for one in checks if one.code == stats.BOARDS_DIFFER), None)
    if found is None:
        return ""
    return f"{found['slow']} takes {found['change']:.1%} longer than {found['fast']}"


def beyond(before: Measurement, after: Measurement) -> tuple[float, float]:
    """By how much a cell changed less and more on a board than at the middle of them: logarithms.

    A board is held against itself where both sides have the same ones, else against each.
    """
    old, new = (_steps(one) for one in (before, after))
    if old.keys() == new.keys():
        found = [new[board] - old[board] for board in old]
    else:
        found = [now - was for now in new.values() for was in old.values()]
    return min(0.0, *found), max(0.0, *found)


def _steps(cell: Measurement) -> dict[str, float]:
    """How far the boards of a cell are from their middle; 0 where they were not found to differ."""
    steps, _ = stats.board_steps(cell)
    return steps or dict.fromkeys(boards([cell]) or [""], 0.0)


def boards(cells: Sequence[Measurement]) -> list[str]:
    """The boards on which processes of these cells ran, by name; none where the target says it."""
    return sorted({one.board for cell in cells for one in cell.processes if one.board})


def _between(cell_of: Whole, board_of: Whole, boards: int) -> Floats:
    """Products of the boards' indicators, less what cells explain of them."""
    import numpy as np

    counts = np.zeros((cell_of.max() + 1, boards))
    np.add.at(counts, (cell_of, board_of), 1.0)
    sizes = counts.sum(axis=1, keepdims=True)
    made: Floats = np.diag(counts.sum(axis=0)) - counts.T @ (counts / sizes)
    return made


def _p(off: Floats, cell_of: Whole, board_of: Whole, inverse: Floats) -> float:
    """How often boards would be as different if each cell's processes were dealt out by chance."""
    import numpy as np

    random = np.random.default_rng(_SEED)

    def between(values: Floats) -> float:
        sums = np.bincount(board_of, values, len(inverse))
        return float(sums @ inverse @ sums)

    seen = between(off) * (1 - 1e-9)
    deals = (off[np.lexsort((random.random(len(off)), cell_of))] for _ in range(_DEALS))
    return (1 + sum(between(dealt) >= seen for dealt in deals)) / (_DEALS + 1)
