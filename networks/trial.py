"""How long a training will take on this machine, from its first steps."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path

import msgspec
import numpy as np

from nnprof.networks import datasets, hardware, preconditions
from nnprof.networks.datasets import Dataset
from nnprof.networks.normalisation import statistics
from nnprof.networks.settings import TrainingSettings
from nnprof.networks.spec import NetworkSpec
from nnprof.networks.train import CHECK_TILES, CHECKS_PER_EPOCH, Sums, Trainer

_STEPS, _TRIED_S = 6, 0.2  # of a trial, at least
_MOST_STEPS = 100
_TESTED = 1000  # inputs


def trial_s(spec: NetworkSpec, dataset: Dataset, settings: TrainingSettings) -> float:
    """Seconds that the training takes at most; it keeps nothing.

    An early end makes it shorter, and other programs make it longer.

    Raises:
        BadShape, UsageError, Unavailable: as `train`.
    """
    hardware.require(settings.device)
    preconditions.check(spec, dataset, settings)
    begin_s = time.perf_counter()
    split = datasets.split(dataset, spec.seed, settings.validation)
    statistics(dataset.train_inputs[split.training], settings.normalisation, spec.input_shape)
    start_s = time.perf_counter() - begin_s
    each_s, tested_s = _timed(spec, dataset, settings, len(split.training))
    per_epoch = -(-len(split.training) // settings.batch)
    steps = min(per_epoch * settings.epochs, settings.steps or math.inf)
    checked = CHECKS_PER_EPOCH * CHECK_TILES if dataset.task == "classes" else 0
    tested = steps / per_epoch * (len(split.validation) + checked) + len(dataset.test_inputs)
    return start_s + steps * each_s + tested * tested_s


def step_s(spec: NetworkSpec, dataset: Dataset, settings: TrainingSettings) -> float:
    """Median seconds of a step, the first left out.

    Raises:
        BadShape, UsageError, Unavailable: as `train`.
    """
    hardware.require(settings.device)
    preconditions.check(spec, dataset, settings)
    return _timed(spec, dataset, settings, len(dataset.train_inputs))[0]


def _timed(
    spec: NetworkSpec, dataset: Dataset, settings: TrainingSettings, inputs: int
) -> tuple[float, float]:
    """Median seconds of a step, but for the first; seconds of testing one input."""
    count = min(inputs, _STEPS * settings.batch)
    part = dataclasses.replace(
        dataset,
        train_inputs=dataset.train_inputs[:count],
        train_targets=dataset.train_targets[:count],
        test_inputs=dataset.test_inputs[:_TESTED],
        test_targets=dataset.test_targets[:_TESTED],
    )
    whole = msgspec.structs.replace(settings, validation="test")
    record = preconditions.new_record(spec, part, whole, {}, {})
    with hardware.repeatable(settings.threads, settings.device):
        trainer = Trainer(spec, part, whole, Path(), record)
        steps: list[float] = []
        while len(steps) < _STEPS or (sum(steps) < _TRIED_S and len(steps) < _MOST_STEPS):
            start = len(steps) * settings.batch % count
            begin_s = time.perf_counter()
            trainer.timed_step(np.arange(start, min(start + settings.batch, count)), Sums())
            steps.append(time.perf_counter() - begin_s)
        begin_s = time.perf_counter()
        trainer.tested(trainer.network, part.test_inputs, part.test_targets)
        tested_s = (time.perf_counter() - begin_s) / len(part.test_inputs)
    return float(np.median(steps[1:])), tested_s
