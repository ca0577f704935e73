"""`nnprof fleet`: which boards answer, how they are, and which of them are alike."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import nnprof
from nnprof.cli import forms, progress
from nnprof.cli.bench import BackendName, On, Options, Threads
from nnprof.cli.places import Place
from nnprof.errors import UsageError
from nnprof.text import json_lines

Boards = Annotated[
    str, typer.Option("--device", help="all, or boards of your devices.toml, such as jetson,pi.")
]


def fleet(
    device: Boards = "all",
    backend: BackendName = None,
    on: On = None,
    threads: Threads = 1,
    option: Options = None,
    output: Annotated[str, forms.fixed("How to print it.", "table", "json")] = forms.TABLE,
) -> None:
    """Show which boards answer, and which are alike, so that they can share the cells of a Run."""
    names = nnprof.board_names(device)
    if names is None:
        raise UsageError(
            f"--device {device} is one place.", f"Look at it with nnprof devices {device}."
        )

    def target_of(name: str) -> nnprof.Target:
        return Place(backend, name, threads, option or [], on=on).target()

    with progress.shown():
        found = nnprof.board_status(names, target_of)
    if output == forms.JSON:
        sys.stdout.write(json_lines(found) + "\n")
    else:
        from nnprof.profiler.report import shown_fleet

        shown_fleet.print_status(found)
    raise typer.Exit(1 if any(one.away for one in found) else 0)
