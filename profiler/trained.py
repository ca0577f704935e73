"""Trainings of a folder as rows: one for each cell of a study, over its seeds and devices. Pure.

With a Run beside them, the same networks' speed stands in the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean, median, stdev
from typing import Any, NamedTuple

import msgspec

from nnprof.networks.counts import counted
from nnprof.networks.families import parse_network
from nnprof.networks.preconditions import GOALS_PERCENT
from nnprof.networks.studies.claims import Measure
from nnprof.profiler import stats
from nnprof.types import Epoch, Measurement, Run, TrainingRecord

COLUMNS = (
    *("cell", "network", "dataset", "subset", "varied", "seeds", "epochs", "unfinished"),
    *("test_accuracy", "test_accuracy_sd", "test_accuracy_low", "test_accuracy_high"),
    *("validation_accuracy", "validation_accuracy_sd", "training_accuracy"),
    *("test_loss", "test_loss_sd", "validation_loss", "training_loss"),
    *("cpu_s_per_epoch", "cuda_s_per_epoch", "first_epoch_s", "training_s", "at_once"),
    *(f"s_to_{goal}" for goal in GOALS_PERCENT),
    *("weights", "norm_weights", "mult_adds", "batch", "tiles_per_ms", "low", "high"),
)
CURVE_COLUMNS = (
    *("study", "cell", "network", "dataset", "seed", "device", "epoch", "loss"),
    *("training_accuracy", "validation_loss", "validation_accuracy", "seconds", "processor_s"),
)
Row = dict[str, Any]


class Cell(NamedTuple):
    """Trainings that only seeds and devices tell apart; `name` is the study's, or the network."""

    name: str
    records: tuple[TrainingRecord, ...]


def cells(records: Iterable[TrainingRecord]) -> tuple[Cell, ...]:
    """The trainings by cell, in the order in which they come."""
    groups: dict[bytes, list[TrainingRecord]] = {}
    for record in records:
        settings = {name: value for name, value in record.settings.items() if name != "device"}
        of = (record.study, record.cell, network_of(record), record.dataset, settings)
        groups.setdefault(msgspec.json.encode(of, order="sorted"), []).append(record)
    return tuple(
        Cell(group[0].cell or network_of(group[0]), tuple(group)) for group in groups.values()
    )


def network_of(record: TrainingRecord) -> str:
    """The network's name without its seed."""
    return msgspec.structs.replace(parse_network(record.network), seed=0).name


def rows(found: Iterable[Cell], run: Run | None = None) -> list[Row]:
    """One row per cell with the keys of COLUMNS; None for what is not known.

    Accuracies and losses are means over the seeds; "sd" is their standard deviation, "low" and
    "high" the least and the greatest of them, and of tiles/ms the interval. Validation is that of
    the kept epoch, training that of the last one. Seconds of an epoch are medians of wall time
    without the first epoch, which stands apart.
    """
    return [_row(cell, run) for cell in found]


def _row(cell: Cell, run: Run | None) -> Row:
    first = cell.records[0]
    spec = parse_network(first.network)
    count = counted(spec)
    return {
        "cell": cell.name,
        "network": network_of(first),
        "dataset": first.dataset,
        "subset": first.subset or None,
        "varied": ", ".join(f"{name} {value}" for name, value in first.varied.items()) or None,
        "seeds": len({record.seed for record in cell.records}),
        "epochs": max(len(record.epochs) for record in cell.records),
        "unfinished": sum(not record.finished for record in cell.records),
        **_spread("test_accuracy", values(cell.records, "test accuracy"), ends=True),
        **_spread("validation_accuracy", values(cell.records, "validation accuracy")),
        "training_accuracy": _mean(values(cell.records, "training accuracy")),
        **_spread("test_loss", values(cell.records, "test loss")),
        "validation_loss": _mean(values(cell.records, "validation loss")),
        "training_loss": _mean([one.epochs[-1].loss for one in cell.records if one.epochs]),
        **_times(cell.records),
        "weights": count.weights,
        "norm_weights": count.norm_weights,
        "mult_adds": count.mult_adds,
        **_speed(first, run),
    }


def values(records: Iterable[TrainingRecord], measure: Measure) -> list[float]:
    """What the trainings say of a measure, one value each; those that lack it are left out."""
    found = (_value(record, measure) for record in records if record.epochs)
    return [value for value in found if value is not None]


def _value(record: TrainingRecord, measure: Measure) -> float | None:
    kept = record.epochs[-1 if record.best_epoch is None else record.best_epoch]
    match measure:
        case "test accuracy":
            return record.test_accuracy
        case "validation accuracy":
            return kept.validation_accuracy
        case "training accuracy":
            return record.epochs[-1].training_accuracy
        case "test loss":
            return record.test_loss
        case "validation loss":
            return kept.validation_loss
        case "s per epoch":
            return _epoch_s(record)
        case "training s":
            return record.epochs[-1].elapsed_s


def _epoch_s(record: TrainingRecord) -> float | None:
    """Median wall seconds of the epochs but the first, which warms up; of one epoch its own."""
    seconds = [epoch.seconds for epoch in record.epochs if epoch.seconds is not None]
    return median(seconds[1:] or seconds) if seconds else None


def _times(records: Sequence[TrainingRecord]) -> Row:
    by_device = {
        device: _mean(values([one for one in records if device_of(one) == device], "s per epoch"))
        for device in ("cpu", "cuda")
    }
    first = [one.epochs[0].seconds for one in records if one.epochs]
    return {
        "cpu_s_per_epoch": by_device["cpu"],
        "cuda_s_per_epoch": by_device["cuda"],
        "first_epoch_s": _mean(first),
        "training_s": _mean(values(records, "training s")),
        "at_once": max((int(one.device.get("at_once", 1)) for one in records), default=1),
        **{f"s_to_{goal}": _mean(_to(records, goal)) for goal in GOALS_PERCENT},
    }


def _to(records: Sequence[TrainingRecord], goal: int) -> list[float | None]:
    """Seconds to a goal of each training; none of any where one did not reach it."""
    reached = [record.time_to.get(str(goal)) for record in records]
    return [one[0] for one in reached if one] if all(reached) else []


def device_of(record: TrainingRecord) -> str:
    """What trained: "cpu" or "cuda"."""
    return record.device.get("device", "cpu")


def _mean(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return mean(known) if known else None


def _spread(name: str, found: list[float], *, ends: bool = False) -> Row:
    row: Row = {
        name: mean(found) if found else None,
        f"{name}_sd": stdev(found) if len(found) > 1 else None,
    }
    if ends:
        row |= {f"{name}_low": min(found, default=None), f"{name}_high": max(found, default=None)}
    return row


def _speed(record: TrainingRecord, run: Run | None) -> Row:
    """The network's speed in the Run, at its largest batch; nothing where it is not there."""
    wanted = parse_network(record.network)
    same = [one for one in run.measurements if _is_of(one, wanted)] if run else []
    if not same:
        return dict.fromkeys(("batch", "tiles_per_ms", "low", "high"))
    one = max(same, key=lambda measurement: measurement.workload.batch)
    tiles_ms = one.workload.batch / 1e3
    bounds = stats.interval_s(one)
    return {
        "batch": one.workload.batch,
        "tiles_per_ms": tiles_ms / stats.latency_s(one),
        "low": tiles_ms / bounds[1] if bounds else None,
        "high": tiles_ms / bounds[0] if bounds else None,
    }


def _is_of(measurement: Measurement, wanted: Any) -> bool:
    network = measurement.workload.model.network
    if network is None:
        return False
    spec = parse_network(network)
    return bool(spec.layers == wanted.layers and spec.input_shape == wanted.input_shape)


def curves(records: Iterable[TrainingRecord]) -> list[Row]:
    """One row per training and epoch, counted from 1, with the keys of CURVE_COLUMNS."""
    return [
        _epoch_row(record, number, epoch)
        for record in records
        for number, epoch in enumerate(record.epochs, start=1)
    ]


def _epoch_row(record: TrainingRecord, number: int, epoch: Epoch) -> Row:
    return {
        "study": record.study or None,
        "cell": record.cell or None,
        "network": network_of(record),
        "dataset": record.dataset,
        "seed": record.seed,
        "device": device_of(record),
        "epoch": number,
        "loss": epoch.loss,
        "training_accuracy": epoch.training_accuracy,
        "validation_loss": epoch.validation_loss,
        "validation_accuracy": epoch.validation_accuracy,
        "seconds": epoch.seconds,
        "processor_s": epoch.processor_s,
    }
