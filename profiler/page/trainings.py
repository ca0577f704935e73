"""Trainings beside the Runs: their curves, and their accuracy against the speed of a Run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnprof.profiler import trained
from nnprof.profiler.page.accuracy import Rated
from nnprof.profiler.page.values import Axis, Column, Figure, Part, Series, Table
from nnprof.profiler.report.digits import digits
from nnprof.text import plain
from nnprof.types import Run, TrainingRecord

_MOST = 14  # cells in a picture, as `nnprof plot` has them


def rated(records: Sequence[TrainingRecord], runs: Mapping[str, Run]) -> list[Rated]:
    """The test accuracy of each cell of trainings whose network a Run timed; ends are of seeds."""
    points = []
    for source, run in runs.items():
        for row in trained.rows(trained.cells(records), run):
            if row["tiles_per_ms"] is None or row["test_accuracy"] is None:
                continue
            name = row["cell"] if len(runs) == 1 else f"{row['cell']} ({source})"
            points.append(
                Rated(
                    number=None,
                    name=plain(f"{name}, batch {row['batch']}"),
                    ms=1 / row["tiles_per_ms"],
                    right=row["test_accuracy"],
                    low=row["test_accuracy_low"],
                    high=row["test_accuracy_high"],
                    batch=row["batch"],
                )
            )
    return points


def curves(records: Sequence[TrainingRecord]) -> Part | None:
    """Validation accuracy by epoch, of values their loss; None where no epoch ended."""
    cells = [cell for cell in trained.cells(records) if any(one.epochs for one in cell.records)]
    if not cells:
        return None
    measure = "validation_accuracy"
    if not any(row[measure] is not None for row in trained.curves(records)):
        measure = "validation_loss"
    drawn = cells[:_MOST]
    series = [one for number, cell in enumerate(drawn) for one in _lines(cell, measure, number)]
    told = _told(cells, measure)
    figure = Figure(
        told=told,
        x=Axis(title="epoch"),
        y=Axis(title=measure.replace("_", " ")),
        series=tuple(series),
        table=_table(cells),
        wide=True,
    )
    left = len(cells) - len(drawn)
    notes = (f"{left} more cells are in the numbers only.",) if left > 0 else ()
    return Part(told=told, figures=(figure,), notes=notes)


def _lines(cell: trained.Cell, measure: str, colour: int) -> list[Series]:
    lines = []
    for at, record in enumerate(cell.records):
        rows = [row for row in trained.curves([record]) if row[measure] is not None]
        if rows:
            lines.append(
                Series(
                    name=plain(cell.name),
                    x=tuple(row["epoch"] for row in rows),
                    y=tuple(row[measure] for row in rows),
                    text=(plain(f"{cell.name}, seed {record.seed}"),) * len(rows),
                    colour=colour,
                    plain=at > 0,
                    marked=len(rows) == 1,
                )
            )
    return lines


def _told(cells: Sequence[trained.Cell], measure: str) -> str:
    rows = trained.rows(cells)
    count = sum(len(cell.records) for cell in cells)
    known = [row for row in rows if row["test_accuracy"] is not None]
    if measure == "validation_accuracy" and known:
        best = max(known, key=lambda row: row["test_accuracy"])
        return plain(
            f"Of {count} trainings of {len(cells)} cells {best['cell']} is the most accurate on "
            f"the test set: {best['test_accuracy']:.2%}."
        )
    losses = [row for row in rows if row["test_loss"] is not None]
    if not losses:
        return f"{count} trainings of {len(cells)} cells, none of which has ended."
    least = min(losses, key=lambda row: row["test_loss"])
    return plain(
        f"Of {count} trainings of {len(cells)} cells {least['cell']} has the least test loss: "
        f"{digits(least['test_loss'])}."
    )


def _table(cells: Sequence[trained.Cell]) -> Table:
    columns = (
        Column(title="cell", form="text"),
        Column(title="network", form="text"),
        Column(title="seeds"),
        Column(title="epochs"),
        Column(title="test accuracy", form="percent"),
        Column(title="test loss"),
        Column(title="training s"),
        Column(title="weights"),
        Column(title="mult-adds"),
    )
    rows = tuple(
        (
            plain(row["cell"]),
            plain(row["network"]),
            *(row["seeds"], row["epochs"], row["test_accuracy"], row["test_loss"]),
            *(row["training_s"], row["weights"], row["mult_adds"]),
        )
        for row in trained.rows(cells)
    )
    return Table(caption="Trainings by cell", columns=columns, rows=rows)
