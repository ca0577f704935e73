"""`nnprof fit-model`: Runs → a cost model that a person can read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nnprof
from nnprof.cli import forms, progress
from nnprof.cli.numbers import within
from nnprof.text import plain, shell_word, shown_json

if TYPE_CHECKING:
    from nnprof import Peaks


Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN.json...", help="Runs of one device, with the times of ops."),
]
Out = Annotated[Path, typer.Option("-o", "--output", help="The model file to write.")]
Name = Annotated[str, typer.Option(help="What tables call it.", show_default="the device")]
Prior = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Start from this model of another device: 10 to 12 measured ops are then enough.",
    ),
]
Flops = Annotated[
    float | None, typer.Option(help="Peak of the device in GFLOP/s, from its data sheet.")
]
Bytes = Annotated[
    float | None, typer.Option(help="Peak of its memory in GB/s, from its data sheet.")
]
Form = Annotated[str, forms.fixed("What to print: tables, or the file.", "table", "json")]


def fit_model(
    runs: Runs,
    output: Out = Path("model.json"),
    name: Name = "",
    prior: Prior = None,
    peak_gflops: Flops = None,
    peak_gbytes: Bytes = None,
    form: Form = forms.TABLE,
) -> None:
    """Fit a cost model to Runs, check it, and print its equations."""
    peaks = _peaks(peak_gflops, peak_gbytes)
    with progress.shown():
        source = nnprof.load_cost_model(prior) if prior else None
        made = nnprof.fit_model(runs, name=name, peaks=peaks, prior=source)
        nnprof.save_cost_model(made, output)
    if form == forms.JSON:
        if made.doubt:
            sys.stderr.write(f"nnprof: {plain(made.doubt)}\n")
        sys.stdout.write(shown_json(output.read_text(encoding="utf-8")) + "\n")
        return
    from nnprof.profiler.report import shown_model

    shown_model.print_model(made)
    sys.stdout.write(f"Model: {shell_word(output)}\n")


def _peaks(gflops: float | None, gbytes: float | None) -> Peaks | None:
    for option, value in (("--peak-gflops", gflops), ("--peak-gbytes", gbytes)):
        if value is not None:
            within(option, value, 1e-9, 1e12, "a rate")
    if gflops is None and gbytes is None:
        return None
    return nnprof.Peaks(
        flops_per_s=gflops * 1e9 if gflops else None,
        bytes_per_s=gbytes * 1e9 if gbytes else None,
        source="as given",
    )
