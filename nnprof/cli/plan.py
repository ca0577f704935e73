"""`nnprof plan`: what to measure next, as a study for `nnprof bench --study`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nnprof
from nnprof.cli import progress
from nnprof.errors import UsageError
from nnprof.text import plain, shell_word

if TYPE_CHECKING:
    from nnprof import Planned

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
    for line in _lines(found):
        sys.stdout.write(f"{plain(line)}\n")
    sys.stdout.write(f"Measure it with: nnprof bench --study {shell_word(out)}\n")


def _lines(found: Planned) -> list[str]:
    chosen = found.choices
    ops = sum(one.ops for one in chosen)
    counts = Counter((one.group, one.stage) for one in chosen)
    lines = [f"{len(chosen)} cells, {ops} ops; {found.known} were measured already."]
    for group in dict.fromkeys(one.group for one in chosen):
        stages = [f"{count} {stage}" for (of, stage), count in counts.items() if of == group]
        lines.append(f"  {group}: {', '.join(stages)}")
    return lines
