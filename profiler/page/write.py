"""`nnprof report`: files read and written as one page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnprof.errors import NnprofError, UsageError
from nnprof.files import AnyPath, write_atomically
from nnprof.profiler import results
from nnprof.profiler.page.cells import Cell, cells_of
from nnprof.profiler.page.html import html
from nnprof.profiler.page.values import Page
from nnprof.profiler.page.views import Given, page
from nnprof.types import Run, TrainingRecord

if TYPE_CHECKING:
    from nnprof.profiler.costmodel.model import CostModel
    from nnprof.profiler.costmodel.prediction import Prediction
    from nnprof.profiler.diff.values import Diff
    from nnprof.profiler.trend import Trend


def write_report(
    runs: Iterable[AnyPath],
    path: AnyPath,
    *,
    model: CostModel | None = None,
    trainings: Iterable[AnyPath] = (),
    budget_s: float | None = None,
) -> Page:
    """One HTML file about these Runs, that needs no other file and no network.

    Args:
        runs: files of Runs.
        path: the file to write.
        model: whose predictions stand beside what was measured.
        trainings: folders that `nnprof train` wrote.
        budget_s: of an inference, or of an image where tiles are cut from one; that of each Run's
            plan where not given.

    Returns:
        What stands in it; `missing` are the views that there is nothing for, with the command that
        would give each.

    Raises:
        BadFile: a file is no Run, or a folder holds no training.
        UsageError: no cell of them was measured, or the file cannot be written.
    """
    told = {Path(run): results.load(Path(run)) for run in runs}
    if not told:
        raise UsageError("There is nothing to report.", "Name a Run that nnprof bench wrote.")
    found = page(_given(told, model, trainings)._replace(deadline_s=budget_s or 0.0))
    write_atomically(Path(path), html(found).encode())
    return found


def _given(
    told: Mapping[Path, Run], model: CostModel | None, trainings: Iterable[AnyPath]
) -> Given:
    """The Runs by name, with what a model and other files say of them."""
    names = _names(list(told))
    by_name = {names[one]: run for one, run in told.items()}
    predictions, why_not = _predicted(model, cells_of(by_name)) if model else ({}, [])
    return Given(
        runs=by_name,
        predictions=predictions,
        not_predicted=why_not,
        records=_records(trainings),
        difference=_difference(list(told.values())),
        trend=_trend(by_name),
    )


def _names(paths: list[Path]) -> dict[Path, str]:
    """The file's name, or its whole path where two have one name."""
    alike = [path.name for path in paths]
    return {path: path.name if alike.count(path.name) == 1 else str(path) for path in paths}


def _predicted(
    model: CostModel, cells: Sequence[Cell]
) -> tuple[Mapping[int, Prediction], list[str]]:
    """The prediction of each cell, by its number; and why others have none, each reason once."""
    from nnprof.profiler.costmodel.ask import predict

    found: dict[int, Prediction] = {}
    why: dict[str, int] = {}
    for number, cell in enumerate(cells):
        one = cell.one.workload.model
        try:
            (found[number],) = predict(model, [one.network or one.path], batches=[cell.batch])
        except NnprofError as error:
            why[error.reason] = why.get(error.reason, 0) + 1
    return found, [f"{count} cells have no prediction: {reason}" for reason, count in why.items()]


def _difference(runs: Sequence[Run]) -> Diff | str:
    """Two Runs, or the precisions of one, by ONNX node; or why there is none."""
    from nnprof.profiler.diff.differ import diff

    precisions = {one.workload.precision for run in runs for one in run.measurements}
    if len(runs) > 2 or (len(runs) == 1 and len(precisions) < 2):
        return ""
    if not all(any(one.ops for one in run.measurements) for run in runs):
        return "no op was timed"
    try:
        return diff(*runs)
    except NnprofError as error:
        return error.reason.rstrip(".")


def _trend(runs: Mapping[str, Run]) -> Trend | str:
    """The cells over several Runs; or why there is none."""
    from nnprof.profiler.trend import trend

    if len(runs) < 2:
        return ""
    try:
        return trend(list(runs.values()), list(runs))
    except NnprofError as error:
        return error.reason.rstrip(".")


def _records(folders: Iterable[AnyPath]) -> tuple[TrainingRecord, ...]:
    from nnprof.profiler.report.folders import records_of

    return tuple(records_of([Path(folder) for folder in folders]).values())
