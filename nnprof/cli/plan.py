"""`nnprof plan`: what to measure next, as a study for `nnprof bench --study`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnprof.cli import progress
from nnprof.errors import UsageError
from nnprof.text import plain, shell_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnprof.profiler.costmodel.design import Choice, Measured
    from nnprof.profiler.costmodel.model import CostModel
    from nnprof.profiler.studies import StudyFile

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
    from nnprof.networks.spaces import parse_space
    from nnprof.profiler import studies
    from nnprof.profiler.costmodel import design, work

    if out.suffix != ".json":
        raise UsageError(f"'{out}' is no name for a study.", "Give one that ends in .json.")
    with progress.shown():
        model, known, lowering = _known(sources or [])
        space, batches = parse_space(family), batch_sizes(batch)
        whole = design.whole(space, batches, lowering, budget, model, known)
        left = budget - sum(choice.ops for choice in whole)
        value_bytes = model.value_bytes if model else work.VALUE_BYTES
        offered = design.candidates(space, batches, lowering, value_bytes)
        chosen = (*whole, *design.plan(offered, left, model, known))
    if not chosen:
        raise UsageError("Nothing is left to measure.", "Widen the family or the batches.")
    studies.save_study(_study(out.stem, chosen), out)
    for line in _lines(chosen, len(known.works)):
        sys.stdout.write(f"{plain(line)}\n")
    sys.stdout.write(f"Measure it with: nnprof bench --study {shell_word(out)}\n")


def _known(sources: Sequence[str]) -> tuple[CostModel | None, Measured, str]:
    """The model that was given, what the Runs measured, and how networks become ops there."""
    from nnprof.profiler import results
    from nnprof.profiler.costmodel import design
    from nnprof.profiler.costmodel.model import load

    runs = [Path(source) for source in sources if results.is_run(Path(source))]
    models = [load(source) for source in sources if Path(source) not in runs]
    if len(models) > 1:
        raise UsageError("There are several cost models.", "Give one, and all the Runs.")
    model = models[0] if models else None
    known = design.known([results.load(path) for path in runs], model)
    return model, known, model.lowering if model else known.lowering or "fused"


def _study(name: str, chosen: Sequence[Choice]) -> StudyFile:
    from nnprof.profiler.studies import Asked, StudyFile

    return StudyFile(
        name=name,
        cells=tuple(
            Asked(network=one.spec.name, batch=one.batch, why=f"{one.group}, {one.stage}")
            for one in chosen
        ),
    )


def _lines(chosen: Sequence[Choice], known: int) -> list[str]:
    ops = sum(one.ops for one in chosen)
    counts = Counter((one.group, one.stage) for one in chosen)
    lines = [f"{len(chosen)} cells, {ops} ops; {known} were measured already."]
    for group in dict.fromkeys(one.group for one in chosen):
        stages = [f"{count} {stage}" for (of, stage), count in counts.items() if of == group]
        lines.append(f"  {group}: {', '.join(stages)}")
    return lines
