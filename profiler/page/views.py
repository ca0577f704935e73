"""All views of the page in their order, and what is said of those that there is nothing for. Pure.

The order is that of a decision: does it fit, how does it grow, where does the time go; then what
this rests on. What is read first is open, the rest is folded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from nnprof.errors import UsageError
from nnprof.profiler.costmodel.prediction import Prediction
from nnprof.profiler.diff.values import Diff
from nnprof.profiler.page import (
    accuracy,
    batches,
    course,
    grids,
    history,
    memory,
    nodes,
    ops,
    pauses,
    predicted,
    provenance,
    roofline,
    streams,
    sustained,
    trainings,
    verdict,
)
from nnprof.profiler.page.cells import Cell, cells_of, shared
from nnprof.profiler.page.values import Missing, Page, Part, View
from nnprof.profiler.trend import Trend
from nnprof.text import plain
from nnprof.types import Run, TrainingRecord


class Given(NamedTuple):
    """What a page is made of.

    Attributes:
        runs: by name.
        deadline_s: the budget of an inference, or of an image; 0: that of each Run's plan.
        predictions: of a model, by the number of the cell; and why others have none.
        records: of trainings.
        difference: of two Runs, or of two precisions of one, by ONNX node; or why there is none.
        trend: of the cells over the Runs; or why there is none.
    """

    runs: Mapping[str, Run]
    deadline_s: float = 0.0
    predictions: Mapping[int, Prediction] = {}
    not_predicted: Sequence[str] = ()
    records: Sequence[TrainingRecord] = ()
    difference: Diff | str = ""
    trend: Trend | str = ""


def page(given: Given) -> Page:
    """The page of these Runs.

    Raises:
        UsageError: none of them has a measured cell.
    """
    cells = cells_of(given.runs)
    if not cells:
        raise UsageError(
            "There is nothing to report: no cell of these Runs was measured.",
            "nnprof show RUN.json says why; measure again.",
        )
    views = _views(given, cells)
    return Page(
        title=_title(given.runs),
        about=_about(given.runs, cells),
        cells=tuple(cell.name for cell in cells),
        chosen=verdict.best(cells, verdict.judged(cells, given.deadline_s)),
        views=tuple(view for view in views if isinstance(view, View)),
        missing=tuple(view for view in views if isinstance(view, Missing)),
    )


def _views(given: Given, cells: Sequence[Cell]) -> list[View | Missing]:
    def each(of: Callable[[Cell], Part | None]) -> tuple[Part | None, ...]:
        return tuple(map(of, cells))

    difference = given.difference if isinstance(given.difference, Diff) else None
    points = [*accuracy.rated(cells), *trainings.rated(given.records, given.runs)]
    judged = verdict.judged(cells, given.deadline_s)
    budget_s = _budget_s(cells, judged)
    found: dict[str, tuple[Part | None, ...]] = {
        "verdict": tuple(
            verdict.part(cell, judged.get(number)) for number, cell in enumerate(cells)
        ),
        "latency": (batches.latency(cells, budget_s),),
        "waterfall": each(ops.waterfall),
        "ops": each(ops.table),
        "cells": (verdict.every(cells, judged),),
        "throughput": (batches.throughput(cells),),
        "roofline": each(roofline.part),
        "progression": each(lambda cell: course.progression(cell, course.most_samples(cells))),
        "sustained": each(lambda cell: sustained.part(cell, budget_s)),
        "distribution": each(
            lambda cell: course.distribution(cell, budget_s, course.most_steps(cells))
        ),
        "nodes": each(lambda cell: nodes.part(difference, cell, list(given.runs))),
        "accuracy": (accuracy.part(points, budget_s),),
        "predicted": (predicted.part(cells, given.predictions, given.not_predicted),),
        "idle": (pauses.idle(cells),),
        "streams": (streams.part(cells),),
        "memory": (memory.part(cells),),
        "grids": (grids.part(given.runs),),
        "history": (history.part(given.trend if isinstance(given.trend, Trend) else None),),
        "curves": (trainings.curves(given.records),),
        "provenance": (provenance.part(given.runs),),
    }
    return [_view(key, parts, _why(given, key)) for key, parts in found.items()]


def _budget_s(cells: Sequence[Cell], judged: verdict.Found) -> float:
    """The one budget of an inference, for figures; 0 where there are several, or one of images."""
    budgets = {one.budget_s for one in judged.values()}
    heated = {cell.one.plan.deadline_s for cell in cells if cell.one.plan.sustained_s}
    budgets |= heated - {0.0}
    cut = any(cell.one.workload.image for cell in cells)
    return budgets.pop() if len(budgets) == 1 and not cut else 0.0


def _why(given: Given, key: str) -> str:
    """Why a view is missing, where that is known better than by its key."""
    told = {"nodes": given.difference, "history": given.trend}.get(key)
    return told if isinstance(told, str) else ""


_FIRST = ("verdict", "latency", "waterfall", "ops")
_OPS = "nnprof bench NETWORK (without --ops none)"
# Each view by its key: title, why it can be missing, and the command that would give it.
_TEXTS: Mapping[str, tuple[str, str, str]] = {
    "verdict": ("Verdict", "", ""),
    "latency": ("Latency against batch", "", ""),
    "waterfall": ("Where the time goes", "no op was timed", _OPS),
    "ops": ("Ops", "no op was timed", _OPS),
    "cells": ("All cells", "there is one cell only", "nnprof bench NETWORK --batch 1,16,64"),
    "throughput": (
        "Throughput against batch",
        "all cells have one batch",
        "nnprof bench NETWORK --batch 1,16,64,256,1024",
    ),
    "roofline": (
        "Roofline",
        "it takes the times of ops and the measured limits of the device",
        "nnprof devices --measure, then nnprof bench NETWORK",
    ),
    "progression": (
        "Samples over time",
        "another tool measured, and gave no samples",
        "nnprof bench NETWORK",
    ),
    "sustained": (
        "Work without a rest",
        "no network was run for minutes",
        "nnprof bench NETWORK --batch 1 --for 10min",
    ),
    "distribution": ("Distribution", "", ""),
    "nodes": (
        "A/B by ONNX node",
        "one Run was given, of one precision",
        "nnprof report a.json b.json",
    ),
    "accuracy": (
        "Accuracy against latency",
        "no accuracy is known",
        "nnprof bench FOLDER --precision fp32,int8, or nnprof report RUN FOLDER of trainings",
    ),
    "predicted": (
        "Predicted against measured",
        "no cost model was given",
        "nnprof calibrate -o model.json, then nnprof report RUN model.json",
    ),
    "idle": (
        "Latency after pauses",
        "no pauses were asked for",
        "nnprof bench NETWORK --idle 0,1ms,10ms,100ms",
    ),
    "streams": (
        "Streams at the same time",
        "all cells have one number of streams",
        "nnprof bench NETWORK --streams 1,2,4",
    ),
    "memory": (
        "Memory and loading",
        "an older nnprof or another tool measured",
        "nnprof bench NETWORK",
    ),
    "grids": (
        "Grids",
        "the networks are not of a family of which two parameters vary",
        "nnprof bench --study group3",
    ),
    "history": (
        "Over many Runs",
        "one Run was given",
        "nnprof report bench_results/*.json",
    ),
    "curves": (
        "Trainings",
        "no folder of trainings was given",
        "nnprof train --study swietek --out FOLDER, then nnprof report RUN FOLDER",
    ),
    "provenance": ("Provenance", "", ""),
}


def _view(key: str, parts: tuple[Part | None, ...], why_not: str) -> View | Missing:
    """The view, or what is missing where no cell has anything for it."""
    title, why, command = _TEXTS[key]
    why = why_not or why
    if not any(parts):
        return Missing(title=title, why=why, command=command)
    lacking = f"Nothing for this cell: {why}. {command}" if why else ""
    return View(key=key, title=title, parts=parts, lacking=lacking, first=key in _FIRST)


def _title(runs: Mapping[str, Run]) -> str:
    names = [run.study.name for run in runs.values()]
    return plain(", ".join(dict.fromkeys(names)))


def _about(runs: Mapping[str, Run], cells: Sequence[Cell]) -> str:
    first = cells[0]
    target, device = first.one.target, first.run.environment.get("device") or {}
    model = device.get("board") or device.get("model") or target.device
    version = (first.run.environment.get("backend") or {}).get("version") or ""
    counted = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
    networks = shared(runs)
    backends = ", ".join(dict.fromkeys(cell.one.target.backend for cell in cells))
    words = (
        *([networks] if networks else []),
        counted,
        f"{backends} {version}".strip() if backends == target.backend else backends,
        f"{target.where}: {model}",
        first.run.study.created[:10],
    )
    return plain(", ".join(words))
