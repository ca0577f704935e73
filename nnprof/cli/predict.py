"""`nnprof predict`: what networks will cost, from a cost model alone."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import nnprof
from nnprof.cli import forms, images
from nnprof.cli.sides import BatchAxis, Dim, sides
from nnprof.text import json_lines, plain

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
        show_default="1,16,1024; with --image some that divide its tiles; or the one that a file "
        "is bound to",
    ),
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Sum the known ops where others are unknown.")
]
Detail = Annotated[bool, typer.Option("--ops", help="Show every term and every op.")]
Form = Annotated[str, forms.fixed("How to print it.", "table", "json")]


def predict(
    model: ModelName,
    networks: Networks,
    batch: Batches = None,
    batch_axis: BatchAxis = None,
    dim: Dim = None,
    partial: Partial = False,
    image: images.Image = None,
    ops: Detail = False,
    output: Form = forms.TABLE,
) -> None:
    """Predict ms/tile and tiles/ms of networks that were never run."""
    from nnprof.cli.numbers import batch_sizes

    loaded, told = nnprof.load_cost_model(model), sides(batch_axis, dim)
    asked = batch_sizes(batch)
    found = nnprof.predict(
        loaded, networks, batches=asked, sides=told, partial=partial, image=image or ""
    )
    if output == forms.JSON:
        from nnprof.profiler.report import costmodel

        if loaded.doubt:
            sys.stderr.write(f"nnprof: {plain(loaded.doubt)}\n")
        sys.stdout.write(json_lines(costmodel.records(found)) + "\n")
        return
    from nnprof.profiler.report import shown_model

    shown_model.print_predictions(loaded, found, ops=ops)
