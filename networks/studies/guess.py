"""About how long a study's trainings take on this machine, before any of them is tried."""

from __future__ import annotations

import logging
import math
from functools import cache
from typing import NamedTuple

import numpy as np

from nnprof.errors import NnprofError
from nnprof.networks.counts import counted
from nnprof.networks.datasets import Dataset
from nnprof.networks.families import parse_network
from nnprof.networks.settings import TrainingSettings
from nnprof.networks.studies.study import Asked, Study

_LOG = logging.getLogger(__name__)
# Inputs to train with, as the sources of the sets say; of another set nothing is guessed.
INPUTS = {
    "mnist": 60_000,
    "fashion-mnist": 60_000,
    "cifar10": 50_000,
    "reuters": 8_982,
    "aapl": 3_212,
}
# Two networks, of little and of more work, whose steps tell what a step and what the work costs.
_SMALL, _LARGE = "784 fc32 fc10", "1x28x28 conv20k5 pool2 conv50k5 pool2 fc500 fc10"


class Pace(NamedTuple):
    """Seconds of a step of training: a share for each layer, and one for each multiply-add."""

    layer_s: float
    mult_add_s: float


@cache
def pace() -> Pace:
    """This machine's, from two small trainings.

    Raises:
        Unavailable: torch is not installed.
    """
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
    return Pace(layer_s, rest_s / (64 * counted(large).mult_adds))


def training_s(study: Study, pace: Pace) -> float | None:
    """All trainings, one at a time; None where a data set or a network is not known."""
    times = [_cell_s(cell, pace) for cell in study.trained]
    return None if any(math.isnan(time) for time in times) else sum(times)


def _cell_s(cell: Asked, pace: Pace) -> float:
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
