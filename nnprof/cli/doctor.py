"""`nnprof doctor`: what would make numbers of a place untrustworthy or impossible."""

from __future__ import annotations

from typing import Annotated

import typer

import nnprof
from nnprof.cli import forms
from nnprof.cli.bench import BackendName, On
from nnprof.cli.places import Place

Where = Annotated[
    str,
    typer.Option(metavar="NAME", help="What to look at: cpu, jetson, a board, ssh://user@host."),
]
Threads = Annotated[int, typer.Option(help="Threads that would be measured with.")]
Form = Annotated[str, forms.fixed("How to print.", forms.TABLE, forms.JSON)]


def doctor(
    device: Where = "cpu",
    on: On = None,
    backend: BackendName = None,
    threads: Threads = 1,
    form: Form = forms.TABLE,
) -> None:
    """Say what would spoil numbers here, or on a board, why, and what to type against it.

    Looks for a few seconds and changes nothing. Exit code 0: nothing, or hints only; 1: numbers
    would be untrustworthy; 2: measuring is impossible.
    """
    from nnprof.profiler.report import shown_doctor

    told = nnprof.doctor(Place(backend, device, threads, on=on).target())
    if form == forms.JSON:
        shown_doctor.print_json(told)
    else:
        shown_doctor.print_diagnosis(told)
    raise typer.Exit(told.exit_code)
