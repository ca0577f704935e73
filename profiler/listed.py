"""All studies, each with a guess how long it takes on this machine to train it and to time it."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cache
from typing import NamedTuple

from nnprof import registry
from nnprof.errors import NnprofError, Unavailable
from nnprof.networks.counts import counted
from nnprof.networks.families import parse_network
from nnprof.networks.studies import guess
from nnprof.networks.studies.guess import Pace
from nnprof.networks.studies.study import Asked, Study, find
from nnprof.profiler.studies import BATCHES
from nnprof.types import Plan

# A step of training is a forward pass and a backward pass of twice its work.
_FORWARD = 1 / 3
_METHODS = 3  # of timing ops, and two inferences of each
_START = (sys.executable, "-c", "import nnprof.profiler.work.worker, onnx, numpy")


class Listed(NamedTuple):
    """A study, and about how many seconds it takes here; None where nothing is known.

    Attributes:
        training_s: of all its trainings, one at a time; 0 where it trains nothing.
        timing_s: of `nnprof bench --study` with the usual plan and one thread.
    """

    study: Study
    training_s: float | None
    timing_s: float | None


def studies_here() -> tuple[Listed, ...]:
    """Every registered study; without torch no time is guessed."""
    found = [find(name) for name in registry.names("study")]
    try:
        pace = guess.pace()
    except Unavailable:
        return tuple(Listed(study, None, None) for study in found)
    return tuple(Listed(one, guess.training_s(one, pace), _timing_s(one, pace)) for one in found)


def _timing_s(study: Study, pace: Pace) -> float | None:
    cells = {(cell.network, cell.batch): cell for cell in study.cells}
    try:
        return sum(_cell_s(cell, pace) for cell in cells.values())
    except NnprofError:
        return None


def _cell_s(cell: Asked, pace: Pace) -> float:
    """As many processes as most cells need: their start, warm-up and samples, and the op passes."""
    plan = Plan()
    count, total_s = counted(parse_network(cell.network)), 0.0
    for batch in (cell.batch,) if cell.batch else BATCHES:
        latency_s = batch * count.mult_adds * pace.mult_add_s * _FORWARD
        samples_s = max(plan.sample_s, plan.min_samples * latency_s)
        process_s = _start_s() + max(plan.warmup_s, latency_s) + samples_s
        ops_s = _METHODS * max(plan.op_s, 2 * latency_s)
        total_s += (plan.processes + plan.fresh) * process_s + plan.op_processes * ops_s
    return total_s


@cache
def _start_s() -> float:
    """How long a worker takes to start."""
    begin_s = time.perf_counter()
    subprocess.run(_START, check=False, capture_output=True)
    return time.perf_counter() - begin_s
