"""The studies, printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box

from nnprof.profiler.report.forms import TABLE, written
from nnprof.terminal import Console, Table
from nnprof.text import duration

if TYPE_CHECKING:
    from nnprof.profiler.listed import Listed

COLUMNS = ("study", "asks", "gives", "cells", "timed", "trainings", "training_s", "timing_s")
_GUESSES = "Times are guesses for this machine: one training at a time, one thread, the usual plan."
_NO_PACE = (
    "No time is guessed: two small trainings would tell this machine's pace, and torch is missing. "
    "Try: pip install 'nnprof-embedded[train]'."
)


def print_studies(found: Sequence[Listed], form: str) -> None:
    """One row per study."""
    rows = [_row(one) for one in found]
    if form != TABLE:
        sys.stdout.write(written(form, rows, COLUMNS))
        return
    table = Table(title_justify="left", pad_edge=False, box=box.SIMPLE_HEAD)
    table.add_column("study", no_wrap=True)
    table.add_column("asks → gives", overflow="fold")
    table.add_column("trainings", justify="right", no_wrap=True)
    table.add_column("timed cells", justify="right", no_wrap=True)
    for row in rows:
        said = f"{row['asks']} → {row['gives']}"
        trained = _counted(row["trainings"], row["training_s"])
        table.add_row(row["study"], said, trained, _counted(row["timed"], row["timing_s"]))
    console = Console()
    console.print(table)
    unknown = all(one.timing_s is None for one in found)
    console.say(_NO_PACE if unknown else _GUESSES)
    console.say(
        "nnprof train --study NAME --out DIR; nnprof bench --study NAME; nnprof show DIR [RUN.json]"
    )


def _counted(count: int, seconds: float | None) -> str:
    """How many, and about how long; nothing where there are none."""
    about = "?" if seconds is None else duration(seconds)
    return f"{count}: {about}" if count else ""


def _row(one: Listed) -> dict[str, Any]:
    study = one.study
    return {
        "study": study.name,
        "asks": study.asks,
        "gives": study.gives,
        "cells": len(study.cells),
        "timed": len({(cell.network, cell.batch) for cell in study.cells}),
        "trainings": sum(len(cell.train.seeds) for cell in study.cells if cell.train),
        "training_s": one.training_s,
        "timing_s": one.timing_s,
    }
