"""All studies, each with a guess how long its trainings take on this machine."""

from __future__ import annotations

import logging
import math
from functools import cache
from typing import NamedTuple

import numpy as np

from nnprof import registry
from nnprof.errors import NnprofError, Unavailable
from nnprof.networks.counts import counted
from nnprof.networks.datasets import Dataset
from nnprof.networks.families import parse_network
from nnprof.networks.settings import TrainingSettings
from nnprof.networks.studies.study import Asked, Study, find

_LOG = logging.getLogger(__name__)
# Inputs that the sets have, as their sources say; of another set nothing is guessed.
INPUTS = {
    "mnist": 60_000,
    "fashion-mnist": 60_000,
    "cifar10": 50_000,
    "reuters": 8_982,
    "aapl": 3_212,
}
# Two networks, of little and of more work, whose steps tell what a step and what the work costs.
_SMALL, _LARGE = "784 fc32 fc10", "1x28x28 conv20k5 pool2 conv50k5 pool2 fc500 fc10"


class Listed(NamedTuple):
    """A study and about how many seconds its trainings take here; None where nothing is known."""

    study: Study
    training_s: float | None


class _Pace(NamedTuple):
    """Seconds of a step: a share for each layer, and one for each multiply-add."""

    layer_s: float
    mult_add_s: float


def studies_here() -> tuple[Listed, ...]:
    """Every registered study."""
    found = [find(name) for name in registry.names("study")]
    try:
        pace = _pace()
    except Unavailable:  # no torch: there is nothing that could train
        pace = None
    return tuple(Listed(study, _training_s(study, pace) if pace else None) for study in found)


@cache
def _pace() -> _Pace:
    from nnprof.networks import trial

    _LOG.info("timing two small trainings, to guess how long others take")
    random = np.random.default_rng(0)
    times = []
    for text, shape in ((_SMALL, (784,)), (_LARGE, (1, 28, 28))):
        tiles = random.integers(0, 256, (640, *shape), dtype=np.uint8)
        classes = np.arange(640) % 10
        dataset = Dataset("trial", tiles, classes, tiles, classes)
        spec = parse_network(text)
        settings = TrainingSettings(batch=64)
        times.append((trial.step_s(spec, dataset, settings), spec))
    (small_s, small), (large_s, large) = times
    layer_s = small_s / len(small.layers)
    rest_s = max(large_s - layer_s * len(large.layers), 0.1 * large_s)
    return _Pace(layer_s, rest_s / (64 * counted(large).mult_adds))


def _training_s(study: Study, pace: _Pace) -> float | None:
    """The sum over cells and seeds; 0 where nothing is trained."""
    times = [_cell_s(cell, pace) for cell in study.trained]
    return None if any(math.isnan(time) for time in times) else sum(times)


def _cell_s(cell: Asked, pace: _Pace) -> float:
    training = cell.train
    if training is None:
        return 0.0
    settings, inputs = training.settings, INPUTS.get(training.dataset)
    if inputs is None:
        return math.nan
    try:
        spec = parse_network(cell.network)
    except NnprofError:
        return math.nan
    steps = -(-inputs // settings.batch) * settings.epochs
    steps = min(steps, settings.steps or steps)
    work_s = settings.batch * counted(spec).mult_adds * pace.mult_add_s
    return len(training.seeds) * steps * (pace.layer_s * len(spec.layers) + work_s)
