"""How long measuring takes: seconds of one process of a cell, from those that were measured.

    seconds = start + loops × latency + [ops timed: passes + each × ops + op loops × latency]

The five numbers are fitted to the processes of the Run (`solve.mapped`) around what they were on
two other machines; the Run's first cells, which every calibration measures, thus set the pace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler import stats
from nnprof.profiler.costmodel import solve
from nnprof.types import Measurement

Array = NDArray[np.float64]

# Seconds of a process and of its op passes, inferences, seconds of each op, inferences for the ops:
# the medians of the processes of two Runs (Intel AVX-512, AMD AVX2).
_BEFORE = (0.8, 11.0, 0.9, 0.05, 20.0)


class Pace(NamedTuple):
    """How long a process takes; see the module. `latency`: measured over predicted, median."""

    start_s: float
    loops: float
    passes_s: float
    each_s: float
    op_loops: float
    latency: float = 1.0

    def process_s(self, predicted_s: Array, ops: NDArray[np.int64] | int) -> Array:
        """Seconds of one process of networks; `ops` that are timed in it, 0 where none are."""
        seconds = predicted_s * self.latency
        timed = np.minimum(ops, 1)
        return np.asarray(
            self.start_s
            + self.loops * seconds
            + self.passes_s * timed
            + self.each_s * ops
            + self.op_loops * seconds * timed
        )


def of_cells(cells: Sequence[Measurement], predicted_s: Sequence[float]) -> Pace:
    """The pace of measured cells, whose latencies were predicted as these.

    Without cells: that of other machines.
    """
    if not cells:
        return Pace(*_BEFORE)
    rows, walls = list[tuple[float, ...]](), list[float]()
    for cell in cells:
        latency_s = stats.latency_s(cell)
        ops = {one.process: 0 for one in cell.op_passes}
        for one in cell.op_passes:
            ops[one.process] = max(ops[one.process], len(one.ops))
        for number, process in enumerate(cell.processes):
            timed = number in ops
            loops_s = latency_s if timed else 0.0
            rows.append((1.0, latency_s, float(timed), float(ops.get(number, 0)), loops_s))
            walls.append(process.wall_s)
    found = solve.mapped(np.array(rows), np.maximum(walls, 1e-3), np.array(_BEFORE))
    ratios = [
        stats.latency_s(cell) / told
        for cell, told in zip(cells, predicted_s, strict=True)
        if np.isfinite(told) and told > 0
    ]
    return Pace(*map(float, found))._replace(latency=float(np.median(ratios)) if ratios else 1.0)
