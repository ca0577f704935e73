"""`nnprof train`: a network and a data set → a folder with weights and a record."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

import nnprof
from nnprof.cli import forms, progress
from nnprof.text import shown_json

if TYPE_CHECKING:
    from nnprof import NetworkSpec, TrainingRecord


class _Optimizer(str, Enum):
    sgd = "sgd"
    adam = "adam"


class _Normalisation(str, Enum):
    channel = "channel"
    pixel = "pixel"


_Network = Annotated[
    str,
    typer.Argument(
        help="What to train: '1x28x28 conv20k5 pool2 fc128 fc10', or 'mattsson(conv=1, fc=1)'."
    ),
]
_Out = Annotated[Path, typer.Option(help="Folder for weights.safetensors and record.json.")]
_Dataset = Annotated[
    str,
    typer.Option(
        help="mnist, fashion-mnist, digits, cifar10, 'reuters(words=10000)', "
        "'aapl(column=High, window=60, until=2020)', prices:FILE.csv, or a plug-in's."
    ),
]
_Epochs = Annotated[int, typer.Option(help="At most this many passes over the training tiles.")]
_Batch = Annotated[int, typer.Option(help="Tiles per step.")]
_Rate = Annotated[
    float | None, typer.Option(help="Length of a step.", show_default="0.03; with adam 0.001")
]
_Momentum = Annotated[float, typer.Option(help="Of sgd.")]
_Choice = Annotated[_Optimizer, typer.Option(help="Which optimiser.")]
_L2 = Annotated[float, typer.Option(help="Penalty on large weights: β of equation 11.")]
_Patience = Annotated[
    int, typer.Option(help="End after so many epochs without a better validation.")
]
_Norm = Annotated[_Normalisation, typer.Option(help="Mean and deviation per channel or per pixel.")]
_Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2**63 - 1,
        help="Of weights, split, order and dropout.",
        show_default="the network's, or 0",
    ),
]
_Resume = Annotated[bool, typer.Option("--resume", help="Go on with a training that was cut off.")]
_Threads = Annotated[int, typer.Option(help="Of torch. Other counts give slightly other weights.")]
_Output = Annotated[str, forms.fixed("json: the record, and nothing else.", "table", "json")]


def train(
    network: _Network,
    out: _Out,
    dataset: _Dataset = "mnist",
    epochs: _Epochs = 20,
    batch: _Batch = 64,
    learning_rate: _Rate = None,
    momentum: _Momentum = 0.0,
    optimizer: _Choice = _Optimizer.sgd,
    l2: _L2 = 0.0,
    patience: _Patience = 5,
    normalisation: _Norm = _Normalisation.channel,
    seed: _Seed = None,
    resume: _Resume = False,
    threads: _Threads = 1,
    format: _Output = forms.TABLE,
) -> None:
    """Train a network; the weights of the epoch that validates best are kept.

    The same arguments give the same weights. A folder that holds a training needs --resume.
    """
    spec = _seeded(nnprof.parse_network(network), seed)
    with progress.shown():
        settings = nnprof.TrainingSettings(
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            optimizer=optimizer.value,
            momentum=momentum,
            l2=l2,
            patience=patience,
            normalisation=normalisation.value,
            threads=threads,
        )
        record = nnprof.train(spec, out, dataset=dataset, settings=settings, resume=resume)
    if format == forms.JSON:
        sys.stdout.write(shown_json(msgspec.json.encode(record).decode()) + "\n")
    else:
        _print(record, out)


def _seeded(spec: NetworkSpec, seed: int | None) -> NetworkSpec:
    return spec if seed is None else msgspec.structs.replace(spec, seed=seed)


def _print(record: TrainingRecord, out: Path) -> None:
    from nnprof.profiler.report import shown_network

    shown_network.print_trained(record, out)
