"""A trained network and an exported file, printed to a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from nnprof.terminal import Console, Table
from nnprof.text import plain

if TYPE_CHECKING:
    from nnprof.profiler.run.exported import Exported
    from nnprof.types import Epoch, TrainingRecord


def print_trained(record: TrainingRecord, folder: Path) -> None:
    """How well the network trained in `folder` classifies, and how long training took."""
    table = Table("", plain(record.network), title_justify="left")
    if record.test_accuracy is not None:
        table.add_row("test accuracy", f"{record.test_accuracy:.2%}")
    if record.test_loss is not None:
        loss = record.settings.get("loss", "cross-entropy")
        table.add_row(f"test loss ({loss})", f"{record.test_loss:.4g}")
    if record.best_epoch is not None:
        kept = "last epoch" if record.settings.get("keep") == "last" else "best epoch"
        validation = _validation(record.epochs[record.best_epoch])
        table.add_row(kept, f"{record.best_epoch + 1} of {len(record.epochs)}, {validation}")
        table.add_row("training time", f"{record.epochs[-1].elapsed_s:.1f} s")
    for goal, reached in record.time_to.items():
        text = f"{reached[0]:.1f} s, {reached[1]:.2f} epochs" if reached else "not reached"
        table.add_row(f"to {goal} %", text)
    table.add_row("folder", str(folder))
    Console().print(table)


def print_trainings(records: Sequence[TrainingRecord], out: Path) -> None:
    """Several trainings in `out`: for each device mean, deviation and range over the seeds."""
    table = Table("device", "seeds", "of", "mean", "sd", "range", title_justify="left")
    for device in dict.fromkeys(_device(record) for record in records):
        of_device = [record for record in records if _device(record) == device]
        for name, values, form in (
            ("test accuracy", [one.test_accuracy for one in of_device], ".2%"),
            ("test loss", [one.test_loss for one in of_device], ".4g"),
            ("s per epoch", [_epoch_s(one) for one in of_device], ".3g"),
        ):
            known = [value for value in values if value is not None]
            if known:
                table.add_row(device, str(len(known)), name, *_spread(known, form))
    console = Console()
    console.print(table)
    console.print(f"Each in a folder of its own in {plain(str(out))}", markup=False)


def _device(record: TrainingRecord) -> str:
    return record.device.get("device", "cpu")


def _epoch_s(record: TrainingRecord) -> float | None:
    known = [epoch.seconds for epoch in record.epochs if epoch.seconds is not None]
    return mean(known) if known else None


def _spread(values: list[float], form: str) -> tuple[str, str, str]:
    """Mean, standard deviation (of one seed none) and range."""
    deviation = format(stdev(values), form) if len(values) > 1 else "one seed"
    return format(mean(values), form), deviation, f"{min(values):{form}} … {max(values):{form}}"


def _validation(epoch: Epoch) -> str:
    if epoch.validation_accuracy is not None:
        return f"validation {epoch.validation_accuracy:.2%}"
    if epoch.validation_loss is not None:
        return f"validation loss {epoch.validation_loss:.4g}"
    return "no finite validation loss"


def print_exported(written: Exported) -> None:
    """The ONNX file, and how closely it computes what torch computes."""
    model, agreement = written.model, written.agreement
    table = Table("", plain(model.name))
    table.columns[1].overflow = "fold"
    table.add_row("file", model.path)
    table.add_row("sha256", model.sha256)
    table.add_row("weights", model.weights)
    table.add_row("normalisation", model.normalisation)
    table.add_row(
        "precision", model.precision + (f": {model.conversion}" if model.conversion else "")
    )
    table.add_row(
        "agreement with torch",
        f"classes {agreement.top1_agreement:.2%}, outputs within {agreement.max_difference:.1e}\n"
        f"{agreement.tiles} tiles: {written.checked_on}; {agreement.runtime}",
    )
    Console().print(table, soft_wrap=True)
