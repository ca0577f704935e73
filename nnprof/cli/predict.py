"""`nnprof predict`: what networks will cost, from a cost model alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import nnprof
from nnprof.cli import deadlines, forms, images
from nnprof.cli.sides import BatchAxis, Dim, sides
from nnprof.errors import UsageError
from nnprof.text import json_lines, plain, shell_word

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL NETWORK|FILE.onnx...",
        help="A model that nnprof fit-model wrote, or gtx960-mattsson2016; with --all none. Then "
        "what to predict, such as '1x28x28 conv20k5 pool2 fc10' or an ONNX file.",
    ),
]
All = Annotated[
    bool,
    typer.Option(
        "--all",
        help="Ask all models here (--models: there): a table of boards, the best on top. With "
        "--budget: exit code 0 where a board FITS, 1 where each MISSES, else 3.",
    ),
]
Models = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER|FILE",
        help="With --all: where the models are; repeatable. Of several fits of the same in a "
        "folder the newest is asked.",
        show_default="this folder",
    ),
]
Batches = Annotated[
    str | None,
    typer.Option(
        help="Batch sizes, such as 1,16,1024.",
        show_default="1,16,1024; with --budget 1; with --image some that divide its tiles; or the "
        "one that a file is bound to",
    ),
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Sum the known ops where others are unknown.")
]
Detail = Annotated[bool, typer.Option("--ops", help="Show every term and every op.")]
Form = Annotated[str, forms.fixed("How to print it.", "table", "csv", "json")]


def predict(
    words: Words,
    every: All = False,
    models: Models = None,
    batch: Batches = None,
    batch_axis: BatchAxis = None,
    dim: Dim = None,
    partial: Partial = False,
    image: images.Image = None,
    budget: deadlines.Foretold = None,
    ops: Detail = False,
    output: Form = forms.TABLE,
) -> None:
    """Predict ms/tile and tiles/ms of networks that were never run."""
    from nnprof.cli.numbers import batch_sizes

    budget_s = None if budget is None else deadlines.seconds("--budget", budget)
    asked = {
        "batches": batch_sizes(batch),
        "sides": sides(batch_axis, dim),
        "partial": partial,
        "image": image or "",
    }
    if every:  # predict_all asks by itself, for it knows the budget
        if ops:
            raise UsageError("--ops shows one model.", "Name it, or leave --all or --ops out.")
        code = _by_all(models or [Path()], words, asked, budget_s, output)
    else:
        asked |= deadlines.usual(budget)
        code = _by_one(words, models, asked, budget_s, output, ops=ops)
    if budget_s is not None:
        raise typer.Exit(code)


def _by_one(
    words: list[str],
    models: list[Path] | None,
    asked: dict[str, Any],
    budget_s: float | None,
    output: str,
    *,
    ops: bool,
) -> int:
    """What one model says; the exit code of the budget."""
    if models:
        raise UsageError("--models says where the models of --all are.", "Add --all.")
    model, *networks = words
    if not networks:
        raise UsageError(
            f"'{plain(model)}' is one word, and a model and a network are needed.",
            f"Write nnprof predict MODEL NETWORK; or, to ask all models here: --all "
            f"{shell_word(model)}",
        )
    loaded = nnprof.load_cost_model(model)
    found = nnprof.predict(loaded, networks, **asked)
    if output == forms.TABLE:
        from nnprof.profiler.report import shown_model

        shown_model.print_predictions(loaded, found, ops=ops)
    else:
        from nnprof.profiler.report import costmodel

        if loaded.doubt:
            sys.stderr.write(f"nnprof: {plain(loaded.doubt)}\n")
        _print_records(costmodel.records(found, budget_s), output)
    if budget_s is None:
        return 0
    return deadlines.foretold(found, budget_s, shown=output == forms.TABLE)


def _by_all(
    places: list[Path],
    networks: list[str],
    asked: dict[str, Any],
    budget_s: float | None,
    output: str,
) -> int:
    """What all models say that are there; the exit code of the budget."""
    from nnprof.profiler.report import shown_across

    models = nnprof.kept_models(places)
    found = nnprof.predict_all(models.asked, networks, budget_s=budget_s, **asked)
    if output == forms.TABLE:
        shown_across.print_offers(found, models.left_out, budget_s)
    else:
        for line in models.left_out:
            sys.stderr.write(f"nnprof: {plain(line)}\n")
        _print_records(shown_across.records(found, budget_s), output)
    return 0 if budget_s is None else shown_across.exit_code(found)


def _print_records(records: list[dict[str, Any]], output: str) -> None:
    if output == forms.JSON:
        sys.stdout.write(json_lines(records) + "\n")
        return
    from nnprof.profiler.report import forms as written
    from nnprof.profiler.report import shown_across

    sys.stdout.write(written.written(output, *shown_across.flat(records)))
