"""`nnprof search`: networks that meet a time budget, and which of the trained ones are best."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nnprof
from nnprof.cli import deadlines, forms, images, progress
from nnprof.cli.numbers import within
from nnprof.text import plain
from nnprof.types import MOST_BATCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnprof import Candidate

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model.json, or the name of a published model.")
]
Least = Annotated[
    float | None, typer.Option("--min-tiles-per-ms", help="The budget, if not in frames.")
]
LeastFrames = Annotated[
    float | None,
    typer.Option(
        "--min-frames-per-s", help="With --image: the budget for all its tiles, cutting left out."
    ),
]
Family = Annotated[
    str,
    typer.Option(
        help="A family, or part of it: 'mattsson(conv=1..3, depth=5..80/5, neurons=128|256)'."
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        help="Tiles per inference.",
        show_default="1024; with --image the most that divide its tiles",
        min=1,
        max=MOST_BATCH,
    ),
]
Accuracy = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER",
        help="A folder that nnprof train wrote, or a folder of such; repeatable. The networks are "
        "then those that were trained, with the front of accuracy against predicted time.",
    ),
]
Form = Annotated[str, forms.of_rows("How to print it; all but the table have all.")]


def search(
    model: ModelName,
    least: Least = None,
    family: Family = "mattsson",
    batch: Batch = None,
    accuracy: Accuracy = None,
    image: images.Image = None,
    frames: LeastFrames = None,
    budget: deadlines.Kept = None,
    output: Form = forms.TABLE,
) -> None:
    """Find the networks that a cost model predicts to be fast enough."""
    for option, value in (("--min-tiles-per-ms", least), ("--min-frames-per-s", frames)):
        if value is not None:
            within(option, value, 0, 1e12, "a speed")
    budget_s = None if budget is None else deadlines.seconds("--budget", budget)
    with progress.shown():
        known = nnprof.load_cost_model(model)
        found = nnprof.search(
            known,
            min_tiles_per_ms=least,
            family=family,
            batch=batch,
            trained=accuracy or (),
            image=image or "",
            min_frames_per_s=frames,
            budget_s=budget_s,
        )
    doubts = [found.doubt] if found.doubt and output != forms.TABLE else []
    for note in (*found.notes, *doubts):
        sys.stderr.write(f"nnprof: {plain(note)}\n")
    if output != forms.TABLE:
        sys.stdout.write(_text(found.candidates, output))
        return
    from nnprof.profiler.report import shown_search

    shown_search.print_found(found, known.name, trained=bool(accuracy), budget_s=budget_s)


def _text(candidates: Sequence[Candidate], output: str) -> str:
    import msgspec

    from nnprof.profiler.report.forms import written

    found = [msgspec.structs.asdict(one) for one in candidates]
    columns = [field.name for field in msgspec.structs.fields(nnprof.Candidate)]
    return written(output, found, columns)
