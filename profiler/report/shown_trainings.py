"""Trainings of a folder, printed: a table of cells, the curves as rows, claims and failures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nnprof.networks.checkpoint import RECORD, load_record
from nnprof.networks.preconditions import GOALS_PERCENT
from nnprof.networks.studies.study import load_study
from nnprof.networks.studies.trainings import STUDY, failures
from nnprof.profiler import claims, trained
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.forms import TABLE, written
from nnprof.terminal import Console, Table

if TYPE_CHECKING:
    from nnprof.networks.studies.study import Study
    from nnprof.networks.studies.trainings import TrainingFailure
    from nnprof.profiler.trained import Cell, Row
    from nnprof.types import Run, TrainingRecord


def records_in(folder: Path) -> tuple[TrainingRecord, ...]:
    """The record of each training in and below a folder, in the order of its study's cells.

    Raises:
        BadFile: a record is corrupt.
    """
    found = [load_record(path.parent) for path in sorted(folder.rglob(RECORD))]
    study = _study(folder)
    if study:
        order = {cell.name: at for at, cell in enumerate(study.cells)}
        found.sort(key=lambda record: order.get(record.cell, len(order)))
    return tuple(found)


def print_folder(folder: Path, run: Run | None, form: str, *, curves: bool = False) -> None:
    """The trainings in a folder; with a Run, how fast the same networks classify."""
    records = records_in(folder)
    if curves or form != TABLE:
        rows = trained.curves(records) if curves else trained.rows(trained.cells(records), run)
        columns = trained.CURVE_COLUMNS if curves else trained.COLUMNS
        sys.stdout.write(written("csv" if form == TABLE else form, rows, columns))
        return
    study, found = _study(folder), trained.cells(records)
    console = Console()
    if study:
        console.say(f"{study.name}: {study.asks}")
        for name, value in study.changed.items():
            console.say(f"not as the study has it: {name} {value}")
    rows = trained.rows(found, run)
    for chosen in (_WHAT, _WHEN):
        table = _table(rows, chosen)
        if len(table.columns) > 1:
            console.print(table)
    for line in _notes(records, failures(folder)):
        console.say(line)
    if study:
        _print_verdicts(console, study, found)


def _study(folder: Path) -> Study | None:
    path = folder / STUDY
    return load_study(path) if path.is_file() else None


def _percent(row: Row, name: str) -> str:
    """Mean in percent, with the deviation where there are several seeds."""
    if row[name] is None:
        return ""
    deviation = row[f"{name}_sd"]
    return f"{row[name]:.2%}" + (f" ± {deviation * 100:.2f}" if deviation is not None else "")


def _loss(row: Row) -> str:
    """Only of networks that give values: of classes the accuracy says more."""
    if row["test_loss"] is None or row["test_accuracy"] is not None:
        return ""
    deviation = row["test_loss_sd"]
    return f"{row['test_loss']:.3g}" + (f" ± {deviation:.1g}" if deviation is not None else "")


def _validation(row: Row) -> str:
    """Nothing where the test set itself validated, and its kept epoch was tested."""
    same = row["validation_accuracy"] == row["test_accuracy"]
    return "" if same else _percent(row, "validation_accuracy")


def _reached(row: Row, goal: int) -> str:
    return _digits(row[f"s_to_{goal}"])


def _digits(value: float | None) -> str:
    return "" if value is None else digits(value)


# Title, and how a row gives the text; a column in which no row has any is left out.
_Column = tuple[str, Callable[["Row"], str]]
_WHAT: tuple[_Column, ...] = (
    ("cell", lambda row: row["cell"]),
    ("test", lambda row: _percent(row, "test_accuracy")),
    ("validation", _validation),
    ("test loss", _loss),
    ("weights", lambda row: f"{row['weights']:,}"),
    ("mult-adds", lambda row: f"{row['mult_adds']:,}"),
    ("tiles/ms", lambda row: _digits(row["tiles_per_ms"])),
)
_WHEN: tuple[_Column, ...] = (
    ("cell", lambda row: row["cell"]),
    ("epochs", lambda row: str(row["epochs"])),
    ("s/epoch", lambda row: _digits(row["cpu_s_per_epoch"])),
    ("on cuda", lambda row: _digits(row["cuda_s_per_epoch"])),
    ("first", lambda row: _digits(row["first_epoch_s"])),
    ("all s", lambda row: _digits(row["training_s"])),
    *((f"to {goal} %", partial(_reached, goal=goal)) for goal in GOALS_PERCENT),
)


def _table(rows: Sequence[Row], columns: Sequence[_Column]) -> Table:
    told = [[text(row) for row in rows] for _, text in columns]
    kept = [(name, cells) for (name, _), cells in zip(columns, told, strict=True) if any(cells)]
    table = Table(title_justify="left", pad_edge=False)
    for name, _ in kept:
        table.add_column(name, justify="left" if name == "cell" else "right", overflow="fold")
    for cells in zip(*(cells for _, cells in kept), strict=True):
        table.add_row(*cells)
    return table


def _notes(records: Sequence[TrainingRecord], failed: Sequence[TrainingFailure]) -> Iterable[str]:
    seeds = sorted({len({one.seed for one in cell.records}) for cell in trained.cells(records)})
    if seeds:
        yield (
            f"Means over {' to '.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seed(s), "
            "± standard deviation. Wall seconds; s/epoch: median without the first epoch."
        )
    at_once = {record.device.get("at_once", "1") for record in records} - {"1"}
    if at_once:
        yield f"{', '.join(sorted(at_once))} trainings ran at a time, which makes each slower."
    yield from sorted({f"{one.dataset}: {one.subset}" for one in records if one.subset})
    cut = [f"{one.cell or one.network} seed {one.seed}" for one in records if not one.finished]
    if cut:
        yield f"cut off, go on with --resume: {', '.join(cut)}"
    for reason in dict.fromkeys(f"{one.reason} {one.remedy}" for one in failed):
        of = [one for one in failed if f"{one.reason} {one.remedy}" == reason]
        names = ", ".join(f"{one.cell} seed {one.seed} ({one.device})" for one in of)
        yield f"failed: {names}: {reason}"


def _print_verdicts(console: Console, study: Study, found: Sequence[Cell]) -> None:
    """Each claim with what the trainings say; of several devices those of the first."""
    if not study.claims:
        return
    device = next((trained.device_of(cell.records[0]) for cell in found), "cpu")
    of_device = {
        cell.name: [one for one in cell.records if trained.device_of(one) == device]
        for cell in found
    }
    varied = {cell.name: cell.varied for cell in study.cells}
    table = Table("what the study says", "here", "by", title_justify="left", pad_edge=False)
    for verdict in claims.verdicts(study.claims, of_device, varied):
        table.add_row(verdict.says, verdict.found, verdict.why)
    console.print(table)
