"""Whether a board works once all is installed: its tiles are right, and a first time."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from nnprof.errors import Unavailable
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.networks import bundled
from nnprof.profiler import inputs, stats, studies
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import CHAIN, Measure, Score
from nnprof.types import Plan, Target

_LIMIT_S = 600.0
_PLAN = Plan(processes=1, max_processes=1, op_method="none")


class Checked(NamedTuple):
    """What the bundled network did there.

    Attributes:
        right, tiles: how many of the bundled tiles got their label.
        right_here: how many do on this machine; None where the runtime is not here.
        latency_s: median of one process at batch 1; a first look, no measurement.
    """

    right: int
    tiles: int
    right_here: int | None
    latency_s: float

    @property
    def words(self) -> str:
        """For people, in milliseconds."""
        here = "" if self.right_here is None else f", and {self.right_here} here"
        same = ", as here" if self.right == self.right_here else here
        return (
            f"{self.right} of {self.tiles} tiles right{same}; one takes about "
            f"{self.latency_s * 1e3:.2g} ms, at first look"
        )


def check(target: Target) -> Checked:
    """Classify the bundled tiles, then time the network in one process.

    Raises:
        NnprofError: it does not work there.
    """
    (cell,) = studies.bundled_cells(target, (1,))
    labels = inputs.read_data(bundled.tiles_path())["labels"]
    score = Score(workload=cell.workload, target=target)
    right = hosts.run(score, _LIMIT_S).right
    job = Measure(
        workload=cell.workload,
        target=target,
        plan=_PLAN,
        floor=identity_model(),
        chain=chain_model(CHAIN),
        ops=False,
    )
    told = hosts.run(job, _LIMIT_S)
    own_s = stats.own_s(told.samples_s, told.waited_s, len(told.processors))
    return Checked(right, int(np.size(labels)), _right_here(score), median(own_s))


def _right_here(score: Score) -> int | None:
    here = replace(score, target=Target(backend=score.target.backend))
    try:
        return hosts.run(here, _LIMIT_S).right
    except Unavailable:
        return None
