"""What a trained network foretells on the test set of values, in the units of the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.files import AnyPath
from nnprof.networks import build, checkpoint, datasets, hardware, train
from nnprof.networks.datasets import Dataset
from nnprof.networks.pytorch import torch

Values = NDArray[np.float64]


class Foretold(NamedTuple):
    """The values of a test set, and what networks foretell of them, in the units of the file.

    Attributes:
        dataset: the name of the data set.
        what: what the values are, such as "High"; empty where that is not known.
        dates: when each was; None where the data set has no dates.
        true: the values (N,).
        today: the last value that each network is shown (N,): the forecast "tomorrow = today". None
            where the data set is no course of time.
        networks: what each network gives (N,).
    """

    dataset: str
    what: str
    dates: NDArray[np.datetime64] | None
    true: Values
    today: Values | None
    networks: tuple[Values, ...]


def foretell(folders: Sequence[AnyPath]) -> Foretold:
    """What the networks trained in the folders, all on one data set, give for its test set.

    Raises:
        BadFile: a folder holds no trained network.
        Unavailable: torch, or the data set, is not here.
        UsageError: the trainings are of several data sets, the targets are classes, or each input
            has several values to foretell.
    """
    kept = [checkpoint.load_checkpoint(Path(folder)) for folder in folders]
    names = list(dict.fromkeys(one.record.dataset for one in kept))
    if len(names) > 1:
        raise UsageError(
            f"These trainings are of {len(names)} data sets: {', '.join(names)}.",
            "Give trainings of one data set.",
        )
    dataset = datasets.load(names[0])
    _require_values(dataset)
    series = dataset.series
    return Foretold(
        dataset=dataset.name,
        what=series.column if series else "",
        dates=series.test_dates if series else None,
        true=_unscaled(dataset, dataset.test_targets),
        today=_unscaled(dataset, dataset.test_inputs[:, -1, :]) if series else None,
        networks=tuple(_unscaled(dataset, _given(one, dataset)) for one in kept),
    )


def rmse(given: Values, true: Values) -> float:
    """The root of the mean square of the differences."""
    return float(np.sqrt(np.mean((given - true) ** 2)))


def _require_values(dataset: Dataset) -> None:
    if dataset.task == "classes":
        raise UsageError(
            f"'{dataset.name}' has classes, so there is no value to draw a prediction against.",
            "Draw the predictions of a network trained on values, such as those of aapl.",
        )
    if dataset.outputs > 1:
        raise UsageError(
            f"Each input of '{dataset.name}' has {dataset.outputs} values to foretell, "
            "and one can be drawn."
        )


def _given(kept: checkpoint.Checkpoint, dataset: Dataset) -> NDArray[Any]:
    network = build.restore(kept.spec, kept.weights, "the folder of the training")
    mean, std = torch.from_numpy(kept.mean), torch.from_numpy(kept.std)
    with hardware.repeatable(1, "cpu"):
        return train.outputs(network, dataset.test_inputs, mean, std).numpy()


def _unscaled(dataset: Dataset, values: NDArray[Any]) -> Values:
    flat = values[:, 0].astype(np.float64)
    return dataset.series.unscaled(flat) if dataset.series else flat
