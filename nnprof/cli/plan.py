"""`nnprof plan`: what to measure next, as a study for `nnprof bench --study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import nnprof
from nnprof.cli import progress
from nnprof.errors import UsageError

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL|RUN.json]...",
        help="What is known: a cost model, the Runs that there are, both, or nothing.",
    ),
]
Family = Annotated[
    str,
    typer.Option(
        help="The networks that matter: a family, or part of it, such as "
        "'mattsson(conv=1..3, depth=5..80/5, neurons=128|256)'."
    ),
]
Budget = Annotated[int, typer.Option(help="Ops to measure, at most.", min=1, max=100_000)]
Batches = Annotated[str, typer.Option(help="Batch sizes that matter.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="The study.")]


def plan(
    sources: Sources = None,
    family: Family = "mattsson",
    budget: Budget = 120,
    batch: Batches = "1,16,64,256,1024",
    out: Out = Path("plan.json"),
) -> None:
    """Choose the ops that would teach a cost model most."""
    from nnprof.cli.numbers import batch_sizes

    if out.suffix != ".json":
        raise UsageError(f"'{out}' is no name for a study.", "Give one that ends in .json.")
    with progress.shown():
        batches = batch_sizes(batch)
        found = nnprof.plan(sources or (), family=family, budget=budget, batches=batches)
    nnprof.save_study(found.study(out.stem), out)
    from nnprof.profiler.report import shown_plan

    shown_plan.print_planned(found, out)
