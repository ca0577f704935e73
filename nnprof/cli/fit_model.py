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
    from collections.abc import Sequence

    from nnprof import OfTarget, Peaks


Runs = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN.json...",
        help="Runs with the times of ops. Of several boards, runtimes or precisions: a model of "
        "each.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "-o", "--output", help="The model file to write; of several -BOARD is added to each's name."
    ),
]
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
    """Fit a cost model to Runs, one for each board and precision; check it, print its equations."""
    peaks = _peaks(peak_gflops, peak_gbytes)
    with progress.shown():
        source = nnprof.load_cost_model(prior) if prior else None
        found = nnprof.fit_models(runs, name=name, peaks=peaks, prior=source)
        paths = [_path(output, one.name) for one in found]
        for one, path in zip(found, paths, strict=True):
            if one.made is not None:
                nnprof.save_cost_model(one.made, path)
    if form == forms.JSON:
        _print_json(found, paths)
    else:
        _print_tables(found, paths)
    _tell_missing(found)


def _path(output: Path, name: str) -> Path:
    """The file of one of several models, or of the only one, which has no name."""
    return output.with_name(f"{output.stem}-{name}{output.suffix}") if name else output


def _print_json(found: Sequence[OfTarget], paths: Sequence[Path]) -> None:
    """The file; of several a list of them."""
    made = [(one.made, path) for one, path in zip(found, paths, strict=True) if one.made]
    for model, _ in made:
        if model.doubt:
            sys.stderr.write(f"nnprof: {plain(model.doubt)}\n")
    texts = [path.read_text(encoding="utf-8") for _, path in made]
    text = texts[0] if len(found) == 1 else f"[\n{','.join(texts)}]"
    sys.stdout.write(shown_json(text) + "\n")


def _print_tables(found: Sequence[OfTarget], paths: Sequence[Path]) -> None:
    from nnprof.profiler.report import shown_model

    for one, path in zip(found, paths, strict=True):
        if one.made is not None:
            shown_model.print_model(one.made)
            sys.stdout.write(f"Model: {shell_word(path)}\n" + "\n" * (len(found) > 1))


def _tell_missing(found: Sequence[OfTarget]) -> None:
    """Of which targets there is no model, and why.

    Raises:
        Exit: 2, where one has none.
    """
    missing = [one for one in found if one.made is None]
    for one in missing:
        sys.stderr.write(f"nnprof: No model of {plain(one.name)}: {plain(str(one.error))}\n")
    if missing:
        raise typer.Exit(2)


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
