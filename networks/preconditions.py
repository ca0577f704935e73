"""What must hold before the first epoch, and the record to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from nnprof.errors import BadShape, UsageError
from nnprof.networks import checkpoint
from nnprof.networks.datasets import Dataset
from nnprof.networks.settings import DEFAULTS, VALUE_LOSSES, TrainingSettings
from nnprof.networks.spec import NetworkSpec
from nnprof.types import TrainingRecord

GOALS_PERCENT = (90, 95, 97)
TIMED = (
    "the steps of the optimiser: taking the inputs of a batch, normalising them, copying them to "
    "the device, forward and backward pass, update, reading the loss; validation, checks, saving "
    "and the start are left out; processor_s is the processor time of all threads in the same steps"
)


def check(spec: NetworkSpec, dataset: Dataset, settings: TrainingSettings) -> None:
    """Refuse a network or a loss that the data set does not suit.

    Raises:
        BadShape: the network does not fit the inputs or the targets.
        UsageError: the loss or the network's end does not fit the targets.
    """
    _check_fit(spec, dataset)
    _check_loss(spec, dataset, settings)


def _check_fit(spec: NetworkSpec, dataset: Dataset) -> None:
    one = dataset.train_inputs.shape[1:]
    if spec.input_shape not in (one, (int(np.prod(one)),)):
        raise BadShape(
            f"The network takes {'×'.join(map(str, spec.input_shape))}, but the inputs of "
            f"'{dataset.name}' are {'×'.join(map(str, one))}."
        )
    output = spec.shapes[-1]
    values = dataset.task == "values"
    fits = len(output) == 1 and output[0] >= dataset.outputs
    if not fits or (values and output[0] != dataset.outputs):
        wanted = f"{dataset.outputs} " + ("value(s) to give" if values else "classes")
        raise BadShape(
            f"The network gives {'×'.join(map(str, output))} values, but '{dataset.name}' has "
            f"{wanted}: end it with fc{dataset.outputs}{' linear' if values else ''}."
        )


def _check_loss(spec: NetworkSpec, dataset: Dataset, settings: TrainingSettings) -> None:
    if dataset.task == "classes":
        return
    if settings.loss not in VALUE_LOSSES:
        raise UsageError(
            f"'{dataset.name}' has values and no classes, so {settings.loss} cannot train on it.",
            f"Give one of these as --loss: {', '.join(VALUE_LOSSES)}.",
        )
    if getattr(spec.layers[-1], "activation", "") == "softmax":
        raise UsageError(
            "The network ends in a softmax, whose outputs always sum to 1: it gives no values.",
            f"End it with 'fc{dataset.outputs} linear'.",
        )


def new_record(
    spec: NetworkSpec,
    dataset: Dataset,
    settings: TrainingSettings,
    device: dict[str, str],
    told: dict[str, Any],
) -> TrainingRecord:
    """The record of a training that has not begun; `told`: its study, its cell, what is varied."""
    given = msgspec.structs.asdict(settings)
    goals = GOALS_PERCENT if dataset.task == "classes" else ()
    return TrainingRecord(
        network=spec.notation,
        dataset=dataset.name,
        subset=dataset.subset,
        normalisation=settings.normalisation,
        settings={**given, "learning_rate": settings.rate},
        seed=spec.seed,
        timed=TIMED,
        device=device,
        **told,
        time_to=dict.fromkeys(map(str, goals)),
    )


def check_same(found: TrainingRecord, asked: TrainingRecord, folder: Path) -> None:
    """Refuse to go on with another training than the one that was found.

    Raises:
        UsageError: network, data set or settings are others.
    """
    # A record from before a setting was there was trained with what is the default now.
    before = {**msgspec.structs.asdict(DEFAULTS), **found.settings}
    for name, old in (
        ("network", found.network),
        ("dataset", found.dataset),
        ("settings", before),
    ):
        if old != getattr(asked, name):
            raise UsageError(
                f"The training in '{folder}' has another {name}: {getattr(found, name)}.",
                "Resume it with the same arguments, or choose another folder.",
            )


def finished(folder: Path, asked: TrainingRecord, *, resume: bool) -> TrainingRecord | None:
    """The record of the training in `folder` if it has ended; None if there is work to do.

    Raises:
        BadFile: the record is corrupt.
        UsageError: the folder holds another training, or, without `resume`, one at all.
    """
    if resume and (folder / checkpoint.RECORD).is_file():
        record = checkpoint.load_record(folder)
        check_same(record, asked, folder)
        return record if record.finished else None
    if not resume and (folder / checkpoint.RECORD).exists():
        raise UsageError(
            f"'{folder}' already holds a training.",
            "Add --resume to go on with it, or choose another folder.",
        )
    return None
