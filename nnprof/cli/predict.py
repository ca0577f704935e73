"""`nnprof predict`: what networks will cost, from a cost model alone."""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from nnprof.cli.sides import BatchAxis, Dim, sides
from nnprof.text import json_lines

if TYPE_CHECKING:
    from nnprof.profiler.costmodel.model import CostModel
    from nnprof.profiler.costmodel.predict import Prediction


class Format(str, Enum):
    """What to print."""

    table = "table"
    json = "json"


ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A model that nnprof fit-model wrote, or gtx960-mattsson2016."
    ),
]
Networks = Annotated[
    list[str],
    typer.Argument(
        metavar="NETWORK|FILE.onnx...",
        help="What to predict, such as '1x28x28 conv20k5 pool2 fc10' or an ONNX file.",
    ),
]
Batches = Annotated[
    str | None,
    typer.Option(
        help="Batch sizes, such as 1,16,1024.",
        show_default="1,16,1024, or the one that a file is bound to",
    ),
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Sum the known ops where others are unknown.")
]
Detail = Annotated[bool, typer.Option("--ops", help="Show every term and every op.")]
Form = Annotated[Format, typer.Option("--format", help="How to print it.")]


def predict(
    model: ModelName,
    networks: Networks,
    batch: Batches = None,
    batch_axis: BatchAxis = None,
    dim: Dim = None,
    partial: Partial = False,
    ops: Detail = False,
    output: Form = Format.table,
) -> None:
    """Predict ms/tile and tiles/ms of networks that were never run."""
    from nnprof.cli.numbers import batch_sizes
    from nnprof.profiler.costmodel import graphs
    from nnprof.profiler.costmodel import model as models
    from nnprof.profiler.costmodel.predict import predict as one

    loaded, told = models.load(model), sides(batch_axis, dim)
    found = []
    sources = set()
    for text in networks:
        name, lowered = graphs.of_text(text, loaded, batch_sizes(batch), told)
        sources.add(lowered.source)
        for size, works in lowered.works.items():
            found.append(one(loaded, works, size, name))
    if not partial:
        _refuse(found)
    if output is Format.json:
        from nnprof.profiler.report import costmodel

        sys.stdout.write(json_lines(costmodel.records(found)) + "\n")
        return
    _print(loaded, found, ops=ops, source=", ".join(sorted(sources)))


def _refuse(found: list[Prediction]) -> None:
    """Nothing is predicted where an op is unknown.

    Raises:
        UsageError: names the ops.
    """
    from nnprof.errors import UsageError

    for one in found:
        if one.unknown:
            raise UsageError(
                f"The model has not seen {', '.join(one.unknown)} of {one.network}.",
                "Measure networks with it and fit again, or ask for the known part with --partial.",
            )


def _print(made: CostModel, found: list[Prediction], *, ops: bool, source: str) -> None:
    from nnprof.profiler.report import costmodel
    from nnprof.terminal import Console

    console = Console()
    console.say(costmodel.heading(made), "bold")
    console.print(costmodel.predictions(found))
    for one in found if ops else ():
        console.print()
        console.say(f"{one.network}, batch {one.batch}", "bold")
        for table in costmodel.breakdown(one):
            console.print(table)
            console.print()
    for line in costmodel.doubts(made, found, source):
        console.say(line, "yellow")
