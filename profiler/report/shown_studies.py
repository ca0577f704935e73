"""The studies, printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnprof.profiler.report.forms import written
from nnprof.terminal import Console, Table
from nnprof.text import duration

if TYPE_CHECKING:
    from nnprof.networks.studies.listed import Listed

TABLE = "table"
COLUMNS = ("study", "asks", "gives", "cells", "timed", "trainings", "training_s")


def print_studies(found: Sequence[Listed], form: str) -> None:
    """One row per study."""
    rows = [_row(one) for one in found]
    if form != TABLE:
        sys.stdout.write(written(form, rows, COLUMNS))
        return
    table = Table(title_justify="left", pad_edge=False)
    table.add_column("study", no_wrap=True)
    table.add_column("asks → gives", overflow="fold")
    for name in ("cells", "trainings", "about"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        about = "" if not row["trainings"] else "?"
        if row["training_s"]:
            about = duration(row["training_s"])
        said = f"{row['asks']} → {row['gives']}"
        trainings = str(row["trainings"] or "")
        table.add_row(row["study"], said, str(row["cells"]), trainings, about)
    console = Console()
    console.print(table)
    console.say(
        "about: a guess of all trainings on this machine, one at a time. "
        "nnprof train --study NAME --out DIR; nnprof bench --study NAME; nnprof show DIR [RUN]"
    )


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
    }
