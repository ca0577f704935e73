"""`nnprof train`: a network and a data set → a folder with weights and a record for each seed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

import nnprof
from nnprof.cli import forms, numbers, progress
from nnprof.errors import UsageError
from nnprof.text import shown_json

if TYPE_CHECKING:
    from nnprof import NetworkSpec, TrainingRecord, TrainingSettings


_Network = Annotated[
    str | None,
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
_Study = Annotated[
    str | None,
    typer.Option(help="Train the networks of a study (nnprof studies), or of a file of one."),
]
_Jobs = Annotated[int, typer.Option(min=1, max=256, help="Of a study, trainings at a time.")]
_Epochs = Annotated[int, typer.Option(help="At most this many passes over the training tiles.")]
_Batch = Annotated[int, typer.Option(help="Tiles per step.")]
_Rate = Annotated[
    float | None,
    typer.Option(help="Length of a step.", show_default="the optimiser's; 0.03 for sgd"),
]
_Momentum = Annotated[float, typer.Option(help="Of sgd.")]
_Choice = Annotated[str, typer.Option(help="sgd, adam, rmsprop, adadelta, adagrad or adamax.")]
_Defaults = Annotated[
    str, typer.Option(help="Whose rate, decay and epsilon an optimiser has: torch or keras.")
]
_Loss = Annotated[
    str,
    typer.Option(
        help="cross-entropy, kl, hinge, squared-hinge, mse, mae, rmse or huber; of values the last "
        "four."
    ),
]
_Init = Annotated[
    str,
    typer.Option(
        help="Initial weights: default (He or LeCun, by activation), he, xavier, xavier-uniform, "
        "lecun, 'normal(1,0.05)' or 'negative(0.05)'."
    ),
]
_Steps = Annotated[int | None, typer.Option(help="End after so many steps, if not before.")]
_Keep = Annotated[str, typer.Option(help="Weights of the best or the last epoch.")]
_Validation = Annotated[
    str, typer.Option(help="Share of the training set that validates, or 'test': the test set.")
]
_Device = Annotated[str, typer.Option(help="cpu, cuda, or both: one training on each.")]
_Seeds = Annotated[
    str | None,
    typer.Option(help="One training for each, in its own folder: 0..3, or 0,5,7."),
]
_L2 = Annotated[float, typer.Option(help="Penalty on large weights: β of equation 11.")]
_Patience = Annotated[
    str, typer.Option(help="End after so many epochs without a better validation, or 'none'.")
]
_Norm = Annotated[str, typer.Option(help="channel, pixel, unit (tiles / 255) or none.")]
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
    context: typer.Context,
    out: _Out,
    network: _Network = None,
    study: _Study = None,
    dataset: _Dataset = "mnist",
    epochs: _Epochs = 20,
    steps: _Steps = None,
    batch: _Batch = 64,
    learning_rate: _Rate = None,
    momentum: _Momentum = 0.0,
    optimizer: _Choice = "sgd",
    defaults: _Defaults = "torch",
    loss: _Loss = "cross-entropy",
    init: _Init = "default",
    l2: _L2 = 0.0,
    patience: _Patience = "5",
    keep: _Keep = "best",
    validation: _Validation = "0.1",
    normalisation: _Norm = "channel",
    device: _Device = "cpu",
    seed: _Seed = None,
    seeds: _Seeds = None,
    resume: _Resume = False,
    threads: _Threads = 1,
    jobs: _Jobs = 1,
    format: _Output = forms.TABLE,
) -> None:
    """Train a network; the weights of the epoch that validates best are kept.

    The same arguments give the same weights. A folder that holds a training needs --resume. With
    --study, options that are given take the place of the study's own.
    """
    given = locals()
    if study is None:
        _train_one(given)
    else:
        from nnprof.cli import study_trainings

        study_trainings.train(context, given)


def _train_one(given: dict[str, Any]) -> None:
    """Train a network with each seed on each device."""
    network, out, seeds = given["network"], given["out"], given["seeds"]
    if network is None:
        raise UsageError("There is nothing to train.", "Name a network, or give --study NAME.")
    spec = _seeded(nnprof.parse_network(network), given["seed"])
    with progress.shown():
        jobs = _jobs(spec, out, _settings(given), seeds, given["device"])
        records = [
            nnprof.train(
                one, folder, dataset=given["dataset"], settings=settings, resume=given["resume"]
            )
            for one, folder, settings in jobs
        ]
    _say(records, out, given["format"], several=len(jobs) > 1 or seeds is not None)


def _settings(given: dict[str, Any]) -> TrainingSettings:
    """The settings that the options name; the device is that of each training."""
    names = set(nnprof.TrainingSettings.__struct_fields__) - {"device"}
    values = {name: given[name] for name in names}
    return nnprof.TrainingSettings(**values | {"patience": numbers.patience(given["patience"])})


def _jobs(
    spec: NetworkSpec, out: Path, settings: TrainingSettings, seeds: str | None, device: str
) -> list[tuple[NetworkSpec, Path, TrainingSettings]]:
    """Each training with its folder: `out`, or one in it for each seed and device."""
    # "cuda" before "cpu": a GPU that is not here is told before hours of training.
    devices = sorted({word.strip() for word in device.split(",")}, reverse=True)
    chosen = numbers.seeds(seeds) if seeds is not None else (spec.seed,)
    placed = {one: msgspec.structs.replace(settings, device=one) for one in devices}
    if seeds is None and len(devices) == 1:
        return [(spec, out, placed[devices[0]])]
    return [
        (_seeded(spec, seed), out / f"seed{seed}{'' if one == 'cpu' else f'-{one}'}", placed[one])
        for one in devices
        for seed in chosen
    ]


def _seeded(spec: NetworkSpec, seed: int | None) -> NetworkSpec:
    return spec if seed is None else msgspec.structs.replace(spec, seed=seed)


def _say(records: list[TrainingRecord], out: Path, format: str, *, several: bool) -> None:
    from nnprof.profiler.report import shown_network

    if format == forms.JSON:
        said = msgspec.json.encode(records if several else records[0])
        sys.stdout.write(shown_json(said.decode()) + "\n")
    elif several:
        shown_network.print_trainings(records, out)
    else:
        shown_network.print_trained(records[0], out)
